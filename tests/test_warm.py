"""What is compiled ahead is what runs ask for: a run after it compiles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
from mst_abm import load_scenario
from mst_abm.runs.simulation import Simulation
simulation = Simulation(load_scenario("quickstart.yaml"))
simulation.advance(1.0)
"""


def indexed(cache: Path) -> set[str]:
    return {str(p.relative_to(cache)) for p in cache.rglob("*.nbc")}


@pytest.mark.verify
def test_a_run_after_warming_compiles_nothing(tmp_path):
    env = os.environ | {"MST_ABM_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "mst_abm.runs.warm"], env=env, check=True)
    before = indexed(tmp_path)
    assert len(before) > 50
    configs = Path(__file__).parent.parent / "configs"
    subprocess.run([sys.executable, "-c", RUN], env=env, check=True, cwd=configs)
    assert indexed(tmp_path) == before


def test_warming_needs_numpy_and_numba_alone():
    code = (
        "import sys, mst_abm.runs.warm, mst_abm.runs.simulation; "
        "print([m for m in ('pint', 'pydantic', 'h5py', 'ruamel', 'click', 'matplotlib')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
