"""Compile all kernels ahead of the first run: ``python -m mst_abm.runs.warm``.

Two processes share the work; each finds in the cache what the other has compiled. Needs numpy, numba
and this package alone, so that it can run while the other libraries are still being installed.
Nothing depends on it: what is missing is compiled when it is first called.
"""

from __future__ import annotations

import subprocess
import sys

from mst_abm.clinic.protocol import Infusion, Reset
from mst_abm.engine.ahead import compile_advancing
from mst_abm.model.compile import compile_model
from mst_abm.model.definition import CellType, Compartment, InitialCells, Model, Product
from mst_abm.scenario.definition import Run, Scenario

CELL = Product("species", "cell")


def smallest_model() -> Model:
    """One cell on a lattice and one in a mixed compartment; no rules."""
    return Model(
        types=(CellType("cell"),),
        rules=(),
        signals=(),
        compartments=(
            Compartment("patch", "lattice", (3, 3, 3), is_periodic=(True, True, True)),
            Compartment("pot", "mixed"),
        ),
        initial=tuple(
            InitialCells(name, ((CELL, 1.0),), "number", 1.0) for name in ("patch", "pot")
        ),
    )


def compile_placing() -> None:
    """Kernels that put cells in place: start, infusion, reset."""
    from mst_abm.runs.simulation import Simulation

    Simulation(
        Scenario(
            name="smallest",
            model=smallest_model(),
            run=Run(until_h=1.0),
            infusions=(Infusion(0.0, "cells", (("pot", CELL, 1.0),)),),
            resets=(Reset(0.0, "pot", CELL, 1.0),),
        )
    )


def main() -> None:
    """Share the work between this process and another one."""
    compiled = compile_model(smallest_model())
    if sys.argv[1:] == ["half"]:
        compile_advancing(compiled.tables, compiled.geometry, "patch")
        compile_placing()
        return
    with subprocess.Popen([sys.executable, "-m", "mst_abm.runs.warm", "half"]):
        compile_advancing(compiled.tables, compiled.geometry, "mixed")


if __name__ == "__main__":
    main()
