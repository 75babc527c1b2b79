"""Threads meet at every halt, and nobody waits for one that has gone."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from mst_abm.engine.gate import call_off, wait_at

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="compiled threads only"),
]
HALTS, THREADS = 200, 4


@numba.njit(nogil=True)
def walk(gate, seen, me, n_threads):
    """Phase by phase: note the phase, meet, and count threads that are not there yet."""
    behind = 0
    for halt in range(gate.shape[0] - 1):
        seen[me] = halt + 1
        wait_at(gate, halt, n_threads)
        for other in range(seen.shape[0]):
            if seen[other] < halt + 1:
                behind += 1
    return behind


@numba.njit(nogil=True)
def leave_after(gate, halts, n_threads):
    """Halts passed until somebody calls off; ``halts`` of its own, then it does so itself."""
    for halt in range(gate.shape[0] - 1):
        if halt == halts:
            call_off(gate)
            return halt
        if not wait_at(gate, halt, n_threads):
            return halt
    return gate.shape[0] - 1


def together(function, arguments):
    with ThreadPoolExecutor(len(arguments)) as pool:
        return [f.result() for f in [pool.submit(function, *a) for a in arguments]]


def walked(n_threads: int) -> int:
    gate, seen = np.zeros(HALTS + 1, np.int64), np.zeros(THREADS, np.int64)
    return sum(together(walk, [(gate, seen, me, n_threads) for me in range(THREADS)]))


def test_nobody_goes_on_before_all_have_arrived():
    walked(THREADS)  # compiles
    assert walked(THREADS) == 0
    # where each waits for itself alone, some are far ahead
    assert walked(1) > 0


@pytest.mark.parametrize("halts", [0, 1, 7])
def test_halts_before_the_one_called_off_are_passed_by_all(halts):
    for _ in range(50):
        gate = np.zeros(21, np.int64)
        arguments = [(gate, halts if me == 2 else 99, THREADS) for me in range(THREADS)]
        assert together(leave_after, arguments) == [halts] * THREADS


INTERRUPTED = """
import numpy as np
from mst_abm import Simulation, load_scenario
from mst_abm.runs import tiled

shape = "override.compartments.cube.lattice.shape=[16, 16, 16]"
settings = (shape, "run.mode=tiled", "run.tile=4")
sim = Simulation(load_scenario("reference", overrides=settings), threads=2)
sim.advance(1.0)
turns = tiled.take_turns


def interrupted(*arguments):
    if arguments[4] is sim.workers[0].scratch:
        raise KeyboardInterrupt
    return turns(*arguments)


tiled.take_turns = interrupted
try:
    sim.advance(2.0)
except KeyboardInterrupt:
    print("ended")
"""


def test_an_interruption_leaves_nobody_waiting():
    """One of two threads never sets out; without a word the other would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "ended\n", done.stderr
