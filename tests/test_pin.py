"""Tuples handed on by address read as the tuples themselves."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pytest

from mst_abm.engine.pin import Pinned, pin

CELL = np.dtype([("site", "u2"), ("time", "f8")])


class Things(NamedTuple):
    number: int
    is_set: bool
    rate: float
    row: np.ndarray
    table: np.ndarray
    cells: np.ndarray


@numba.njit
def read(things, i):
    things.row[i] += things.number
    things.cells[i].site = 7
    first = things.table[1, i] if things.is_set else -1.0
    return first, things.rate, things.cells[i].time, things.row.shape[0]


@numba.njit
def by_value(things, i):
    return read(things, i)


@numba.njit
def by_address(things, i):
    return read(pin(things), i)


@numba.njit
def unknown_element(things):
    return pin(things).nothing


def things() -> Things:
    cells = np.zeros(4, CELL)
    cells["time"] = [1.0, 2.0, 3.0, 4.0]
    return Things(3, True, 0.25, np.arange(4), np.arange(8.0).reshape(2, 4), cells)


@pytest.mark.parametrize("is_set", [True, False])
def test_elements_and_changes_are_those_of_the_tuple(is_set):
    a, b = things()._replace(is_set=is_set), things()._replace(is_set=is_set)
    assert by_address(a, 2) == by_value(b, 2) == (6.0 if is_set else -1.0, 0.25, 3.0, 4)
    for mine, theirs in zip(a, b, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert a.row[2] == 5
    assert a.cells["site"][2] == 7


def test_what_is_not_an_element_is_refused_by_the_compiler():
    with pytest.raises(numba.TypingError, match="nothing"):
        unknown_element(things())


def test_tuples_of_other_types_are_other_types():
    plain = numba.typeof(things())
    other = numba.typeof(things()._replace(row=np.arange(4.0)))
    assert Pinned(plain) == Pinned(numba.typeof(things()))
    assert Pinned(plain) != Pinned(other)
    assert str(Pinned(plain)) != str(Pinned(other))
