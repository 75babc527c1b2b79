"""The table of deliberate faults fits the sources; `make mutants` runs it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutant_table import FAULTS, Fault
from mutants import Missing, mutated

HERE = Path(__file__).parent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_fault_has_its_place(fault: Fault) -> None:
    """Its line is there exactly once, what replaces it is Python, and the tests named exist."""
    ast.parse(mutated(fault))
    assert "\n" not in fault.anchor and fault.anchor != fault.replacement
    assert fault.bits and fault.laws
    for test in (*fault.bits, *fault.laws):
        file, _, name = test.partition("::")
        assert not name or f"def {name.partition('[')[0]}(" in (HERE / file).read_text(), test


def test_names_are_unique() -> None:
    assert len({f.name for f in FAULTS}) == len(FAULTS) >= 24


def test_a_lost_place_is_told() -> None:
    lost = FAULTS[0]._replace(file="grid.py")
    with pytest.raises(Missing, match="expected .* once in .*grid.py, found it 0 times"):
        mutated(lost)
