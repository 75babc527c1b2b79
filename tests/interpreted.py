"""The kernels run by the interpreter, without the compiler.

Run as a program with NUMBA_DISABLE_JIT=1 it prints the digest of a small run. As a plugin,
``NUMBA_DISABLE_JIT=1 PYTHONPATH=tests python -m pytest -p interpreted``, it lets any test run so. What only the compiler understands is replaced: marks for it
become functions that do nothing, and records, which compiled code reads by attribute, get attributes.
"""

from __future__ import annotations

import sys
import threading
import warnings
from pathlib import Path

import numpy as np


class Record:
    """One record; its fields are attributes."""

    def __init__(self, row: np.void):
        object.__setattr__(self, "row", row)

    def __getattr__(self, name):
        return self.row[name]

    def __setattr__(self, name, value):
        self.row[name] = value


class Records(np.ndarray):
    """An array of records as compiled code sees it."""

    def __getitem__(self, key):
        found = super().__getitem__(key)
        return Record(found) if isinstance(found, np.void) else found


def readable(value):
    """The same tuple of arrays; those of records give records with attributes."""
    if not hasattr(value, "_asdict"):
        return value
    views = {
        name: array.view(Records)
        for name, array in value._asdict().items()
        if isinstance(array, np.ndarray) and array.dtype.names
    }
    return value._replace(**views)


def interpret() -> None:
    """Replace the marks for the compiler, and hand the kernels readable tables."""
    from mst_abm.engine import kernel

    for name, plain in (
        ("keep_apart", lambda: None),
        ("prefetch", lambda array, index: None),
        ("natural", lambda number: number),
    ):
        if hasattr(kernel, name):
            setattr(kernel, name, plain)
    # these import the marks above
    from mst_abm.engine import gate, pin

    lock = threading.Lock()

    def add_one(counters, i):
        with lock:
            counters[i] += 1
            return counters[i] - 1

    gate.add_one, gate.look, gate.give_way = add_one, lambda counters, i: counters[i], lambda: None
    pin.pin = lambda content: content
    from mst_abm.runs import fields, reservoirs, simulation, tiled

    def reading(function):
        return lambda *arguments: function(*map(readable, arguments))

    for room, name in (
        (simulation, "populate"),
        (simulation, "advance_bodies"),
        (tiled, "take_turns"),
        (tiled, "land_waiting"),
        (fields, "count_yields"),
        (fields, "read_levels"),
        (reservoirs, "send_probes"),
        (reservoirs, "live_apart"),
        (reservoirs, "hand_over"),
    ):
        setattr(room, name, reading(getattr(room, name)))


def pytest_load_initial_conftests() -> None:
    """Before any test file has imported a kernel."""
    interpret()


def pytest_configure(config) -> None:
    config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning")


def main(case: str) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)  # unsigned arithmetic wraps on purpose
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here.parent)]
    interpret()
    from test_twin import tiny
    from worlds import started

    sim = started(tiny(case), 1)
    sim.advance(sim.scenario.run.until_h)
    print(sim.digest(), sim.statistics["executed"])


if __name__ == "__main__":
    main(sys.argv[1])
