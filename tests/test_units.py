"""Quantities as written to base units, and sentences about those that are none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mst_abm.errors import UnitError
from mst_abm.units import factor, quantity, quantity_in


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("0.5 /h", "rate", 0.5),
        ("12/day", "rate", 0.5),
        ("3 per day", "rate", 0.125),
        ("1e-3 /min", "rate", 0.06),
        (0, "rate", 0.0),
        ("7 d", "time", 168.0),
        ("30 min", "time", 0.5),
        ("8 um", "length", 8.0),
        ("0.1 mm", "length", 100.0),
        ("5 L", "volume", 5e15),
        ("800 /mm^3", "density", 8e-7),
        ("4e9 cells/L", "density", 4e-6),
        ("8 uM", "concentration", 8.0),
        ("243.2 g/mol", "molar mass", 243.2),
        ("134 L/h/m^2", "clearance per area", 134.0),
        ("100 mL/min", "clearance", 6.0),
        ("68 y", "age", 68.0),
        ("1.65 m", "height", 165.0),
        ("62000 g", "weight", 62.0),
        ("1.1e8 /kg", "cells per kg", 1.1e8),
        ("15 %", "fraction", 0.15),
        (0.15, "fraction", 0.15),
    ],
)
def test_quantity_in_base_units(text: object, kind: str, expected: float) -> None:
    assert quantity(text, kind) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("fast", "rate", 'expected a rate such as "0.5 /day", got "fast"'),
        (3, "rate", "got 3 without a unit"),
        ("1 um", "rate", 'got "1 um"'),
        ("-1 /h", "rate", "of 0 or more"),
        ("1 /dya", "rate", "unknown unit 'dya'; did you mean 'day'?"),
        ("2 h/", "time", "cannot be read"),
        (True, "rate", "got true"),
        (None, "time", "got nothing"),
        (float("nan"), "number", "expected a number"),
        ("inf", "time", "expected a duration"),
        ("120 %", "fraction", "between 0 and 1"),
        ("16500 cm", "height", "between 20 and 260"),
    ],
)
def test_refusals_say_what_was_expected(text: object, kind: str, words: str) -> None:
    with pytest.raises(UnitError) as error:
        quantity(text, kind)
    assert words in str(error.value)


def test_bare_numbers_count_in_the_unit_of_a_signal() -> None:
    assert quantity_in(4, "umol/L") == 4.0
    assert quantity_in("4 nmol/L", "umol/L") == pytest.approx(4e-3)
    assert quantity_in("2 L/mg", "1/(mg/L)") == pytest.approx(2.0)
    with pytest.raises(UnitError, match="umol/L"):
        quantity_in("4 mg", "umol/L")


def test_dimensions_that_differ_have_no_factor() -> None:
    assert factor("mg/kg", "mg/m^2") is None
    assert factor("g/m^2/day", "mg/m^2/hour") == pytest.approx(1000 / 24)


def test_import_is_light() -> None:
    code = "import sys, mst_abm.units, mst_abm.errors; assert 'pint' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
