"""Quantities as people write them ("0.5 /day", "8 um", "15 %") to plain numbers in base units.

Base units: hour, micrometre, cell, umol/L, mg (doses), kg (bodies). pint knows the arithmetic of
units; it is imported when the first quantity with a unit is read, with a registry of its own, so
that only units which make sense in this field exist. No other room parses units.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, NamedTuple

from mst_abm.errors import UnitError, did_you_mean

DEFINITIONS = """
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = u- = µ- = μ-
milli- = 1e-3 = m-
centi- = 1e-2 = c-
kilo- = 1e3 = k-
hour = [time] = h = hr
minute = hour / 60 = min
second = hour / 3600 = s = sec
day = 24 * hour = d
week = 7 * day = wk
month = 30.4375 * day
year = 365.25 * day = y = yr
meter = [length] = m = metre
liter = 1e-3 * meter ** 3 = L = l = litre
deciliter = 0.1 * liter = dL
gram = [mass] = g
mole = [substance] = mol
molar = mole / liter = M
dalton = gram / mole = Da
international_unit = [activity] = IU = U
cell = [] = cells
percent = 0.01 = %
""".strip().splitlines()

# For suggestions only: what people write most.
COMMON = (
    *("h", "min", "s", "d", "day", "week", "y", "um", "mm", "cm", "m", "L", "mL", "uL", "dL"),
    *("mg", "g", "kg", "ug", "ng", "pg", "mol", "umol", "nmol", "uM", "IU", "cells", "%"),
)


class Kind(NamedTuple):
    """What a number measures: its base unit, how to ask for it, and its bounds."""

    unit: str
    words: str
    low: float = 0.0
    high: float = math.inf


KINDS = {
    "rate": Kind("1/hour", 'a rate such as "0.5 /day"'),
    "time": Kind("hour", 'a duration such as "7 d"'),
    "length": Kind("micrometer", 'a length such as "8 um"'),
    "volume": Kind("micrometer**3", 'a volume such as "5 L"'),
    "density": Kind("1/micrometer**3", 'a density such as "800 /mm^3"'),
    "concentration": Kind("micromole/liter", 'a concentration such as "8 umol/L"'),
    "diffusion": Kind("micrometer**2/hour", 'a diffusion constant such as "100 um^2/s"'),
    "molar mass": Kind("gram/mole", 'a molar mass such as "243.2 g/mol"'),
    "clearance": Kind("liter/hour", 'a clearance such as "10 L/h"'),
    "clearance per area": Kind("liter/hour/meter**2", 'a clearance such as "134 L/h/m^2"'),
    "age": Kind("year", 'an age such as "68 y"', 0.0, 130.0),
    "height": Kind("centimeter", 'a height such as "165 cm"', 20.0, 260.0),
    "weight": Kind("kilogram", 'a weight such as "62 kg"', 0.5, 400.0),
    "cells per kg": Kind(
        "1/kilogram", 'cells per kg of body weight such as "1.1e8 /kg"', 0.0, 1e11
    ),
    "number": Kind("", "a number such as 30"),
    "fraction": Kind("", 'a fraction such as 0.05 or "5 %"', 0.0, 1.0),
}

_NUMBER = re.compile(r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$", re.DOTALL)


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(DEFINITIONS)
    registry.autoconvert_offset_to_baseunit = False
    return registry


@lru_cache(maxsize=4096)
def _unit(text: str) -> Any:
    """One of the unit ``text`` ("/h", "mg/m^2/day") as a pint quantity."""
    text = re.sub(r"\bper\b", "/", text).strip()
    if not text:
        return _registry().Quantity(1.0, "")
    expression = "1" + text if text.startswith("/") else text
    words = re.findall(r"[A-Za-zµμ_]+", text)
    try:
        return _registry().Quantity(expression) * 1.0
    except Exception as error:  # pint raises many kinds, tokenizer errors among them
        unknown = [word for word in words if word not in _registry()]
        if unknown:
            tail = did_you_mean(unknown[0], COMMON, shown=30)
            raise UnitError(f"unknown unit '{unknown[0]}'{tail}") from error
        raise UnitError(f"a unit that cannot be read, '{text}'") from error


@lru_cache(maxsize=4096)
def factor(text: str, unit: str) -> float | None:
    """How many ``unit`` one ``text`` is, or None where the dimensions differ."""
    source, target = _unit(text), _unit(unit)
    if source.dimensionality != target.dimensionality:
        return None
    return float(source.to_root_units().magnitude / target.to_root_units().magnitude)


def split(value: object) -> tuple[float, str]:
    """A written quantity as (number, unit text); UnitError where there is no number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number, unit = float(value), ""
    else:
        match = _NUMBER.match(value) if isinstance(value, str) else None
        if match is None:
            raise UnitError("no number")
        number, unit = float(match[1].replace("_", "")), match[2]
    if math.isnan(number):
        raise UnitError("not a number")
    return number, unit


def quantity(value: object, kind: str) -> float:
    """A quantity as written, in the base unit of ``kind`` (a key of KINDS)."""
    wanted = KINDS[kind]
    number = _convert(value, wanted.unit, wanted.words)
    if not wanted.low <= number <= wanted.high or math.isinf(number):
        if math.isinf(wanted.high):
            bounds = "of 0 or more"
        else:
            bounds = f"between {wanted.low:g} and {wanted.high:g} {wanted.unit}".rstrip()
        raise UnitError(f"expected {wanted.words}, {bounds}, got {shown(value)}")
    return number


def quantity_in(value: object, unit: str, words: str = "") -> float:
    """A quantity as written, in ``unit``; a bare number is taken to be in that unit already."""
    words = words or (f'a quantity in {unit} such as "2 {unit}"' if unit != "1" else "a number")
    unit = "" if unit == "1" else unit
    return _convert(value, unit, words, is_bare_allowed=True)


def _convert(value: object, unit: str, words: str, is_bare_allowed: bool = False) -> float:
    try:
        number, written = split(value)
        if not written and (is_bare_allowed or number == 0.0):
            return number
        scale = 1.0 if written == unit else factor(written, unit)
    except UnitError as error:
        reason = "" if str(error) == "no number" else f" ({error})"
        raise UnitError(f"expected {words}, got {shown(value)}{reason}") from None
    if scale is None:
        missing = " without a unit" if not written else ""
        raise UnitError(f"expected {words}, got {shown(value)}{missing}")
    return number * scale


def shown(value: object) -> str:
    """A value as it looked in the file, short enough for a sentence."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
