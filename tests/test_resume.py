"""A run that is stopped anywhere and goes on is the run that was not stopped, in every dataset and every bit."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from busy_body import busy_body
from field_worlds import busy_field
from stopped import differences, random_hours, stopped_run
from test_react import BUSY
from test_reservoirs import body_of, reserve
from worlds import lattice, plain, rule, seed_of, world

from mst_abm.errors import RecordError
from mst_abm.records.checkpoint import Checkpoint, checkpoint_paths, read_checkpoint
from mst_abm.records.reader import open_run
from mst_abm.runs.freezing import freeze, thaw
from mst_abm.runs.keeping import Signals
from mst_abm.runs.resuming import put_at, resume
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario, load_scenario_text

pytestmark = pytest.mark.proof


def changed(scenario: Scenario, *overrides: str) -> Scenario:
    return load_scenario_text(scenario.resolved_text, name="world", overrides=overrides)


def busy() -> Scenario:
    return changed(busy_body(), "run.record.snapshots=5 h")


def tiles() -> Scenario:
    rules = [
        rule("divide", "a -> a + a", 0.2),
        rule("die", "a", 0.1),
        rule("move", "a", 5.0),
        rule("contact", "b + a -> b + empty", 1.0),
        rule("move", "b", 10.0),
    ]
    options = {"mode": "tiled", "tile": 8, "record": {"counts": "1 h", "snapshots": "2 h"}}
    return world(
        rules, {"box": lattice(32, 32, 16)}, {"box": {"a": 1500, "b": 200}}, until=6.0, types=plain("a", "b"),
        run_options=options,
    )  # fmt: skip


def fields() -> Scenario:
    space = lattice(8, 8, 8, boundary="no-flux", patches=2)
    return changed(busy_field(space, until=6.0), "run.record={counts: 1 h, snapshots: 2 h}")


def reservoirs() -> Scenario:
    rules = [rule("divide", "x -> x + x", 0.10), rule("die", "x", 0.12), rule("move", "x", 1.0)]
    return world(
        rules, {"box": body_of(12, 0.1)}, {"box": {"x": 25}}, until=24.0, record=3.0,
        reservoirs=reserve(), types={"x": {}},
    )  # fmt: skip


def reacting() -> Scenario:
    return load_scenario_text(BUSY, name="world")


#: World, replicates, and how often it is stopped.
WORLDS = {
    "busy": (busy, 3, 4),
    "tiles": (tiles, 2, 3),
    "fields": (fields, 2, 3),
    "reservoirs": (reservoirs, 6, 4),
    "reacting": (reacting, 12, 6),
}


@pytest.mark.parametrize("name", WORLDS)
def test_stopped_anywhere_and_gone_on(name: str, tmp_path: Path) -> None:
    make, n, stops = WORLDS[name]
    scenario = make()
    options = {"replicates": n, "first_replicate": 2, "seed": seed_of(3)}
    options |= {"snapshot_replicates": 2}
    run_to_file(scenario, tmp_path / "whole.h5", **options)
    hours = random_hours(scenario, stops, seed_of(5))
    stopped_run(scenario, tmp_path / "parts.h5", hours, threads=[1, 2, 3], **options)
    assert differences(tmp_path / "whole.h5", tmp_path / "parts.h5") == []
    with open_run(tmp_path / "parts.h5") as run:
        assert run.status == "complete" and len(run.digest) == 64
    # nothing is left beside the records
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parts.h5", "whole.h5"]


def test_what_these_worlds_do_is_seen_by_the_comparison(tmp_path: Path) -> None:
    """The control: an array of the state that is not put back must show."""
    scenario = reacting()
    whole = Simulation(scenario, replicates=12)
    whole.advance(100.0)
    kept = {name: np.array(array) for name, array in freeze(whole).items()}
    whole.advance(240.0)

    def again(arrays: dict[str, np.ndarray]) -> str:
        sim = Simulation(scenario, replicates=12)
        arrays = {name: array.copy() for name, array in arrays.items()}
        thaw(sim, arrays, int(np.searchsorted(sim.edges_h, 100.0)))
        sim.advance(240.0)
        return sim.digest() + str(sim.decisions)

    assert again(kept) == whole.digest() + str(whole.decisions)
    for name in ("courses/clinician/taken", "courses/decided/body", "state/body/signals"):
        assert kept[name].any(), name
    for name in ("courses/clinician/taken", "state/body/signals", "state/mixed/species"):
        wrong = kept | {name: np.roll(kept[name], 1, axis=-1)}
        assert again(wrong) != again(kept), name


def test_a_checkpoint_costs_what_it_may(tmp_path: Path) -> None:
    """Short runs write none; without a limit there are two, a day apart, and they are read back."""
    scenario = changed(busy_body(until=80.0), "run.checkpoint=20 h", "run.exchange=1 h")
    seen: list[list[str]] = []

    def watch(_: object) -> None:
        seen.append([p.name for p in checkpoint_paths(tmp_path / "a.h5")])

    run_to_file(scenario, tmp_path / "a.h5", progress=watch)
    assert not any(seen)
    seen.clear()
    times: list[float] = []

    def read(_: object) -> None:
        watch(_)
        times.extend(
            read_checkpoint(path).facts["time_h"] for path in checkpoint_paths(tmp_path / "a.h5")
        )

    run_to_file(scenario, tmp_path / "a.h5", force=True, progress=read, checkpoint_cost=math.inf)
    assert max(map(len, seen)) == 2
    assert sorted(set(times)) == [20.0, 40.0, 60.0]
    assert not checkpoint_paths(tmp_path / "a.h5")


def grid(side: int) -> Scenario:
    return load_scenario(
        "reference",
        overrides=[f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]", "run.until=8 h"],
    )  # fmt: skip


def test_going_on_holds_one_state(tmp_path: Path) -> None:
    """What a run that fills the memory leaves must be read within that memory."""
    signals = Signals()

    def stop(_: object) -> None:
        signals.stops = signals.keeps = True

    scenario, path = grid(100), tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        run_to_file(scenario, path, progress=stop, signals=signals)
    arrays = read_checkpoint(checkpoint_paths(path)[0]).arrays
    largest = max(arrays[name].nbytes for name in arrays)
    all_of_them = sum(arrays[name].nbytes for name in arrays)
    sim = Simulation(scenario)
    tracemalloc.start()
    try:
        put_at(sim, read_checkpoint(checkpoint_paths(path)[0]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert largest <= peak < largest + 1_000_000 < all_of_them


def test_a_state_of_another_size_is_refused(tmp_path: Path) -> None:
    kept = dict(freeze(Simulation(grid(5))))
    with pytest.raises(RecordError, match="does not fit the scenario .expected 'state/lattice/"):
        put_at(Simulation(grid(6)), Checkpoint(tmp_path / "x", {"interval": 0}, kept))


def test_off_means_none(tmp_path: Path) -> None:
    scenario = changed(busy_body(until=40.0), "run.checkpoint=0 h")
    seen: list[Path] = []
    run_to_file(
        scenario, tmp_path / "a.h5", checkpoint_cost=math.inf,
        progress=lambda _: seen.extend(checkpoint_paths(tmp_path / "a.h5")),
    )  # fmt: skip
    assert not seen
    with pytest.raises(RecordError, match="complete; there is nothing to go on with"):
        resume(tmp_path / "a.h5")


# ------------------------------------------------------------------ signals


LONG = ("run", "configs/quickstart.yaml", "--no-figure", "--set", "run.until=9 d")


def begun(path: Path, *more: str) -> subprocess.Popen:
    """The command line in a process of its own, once its record is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mst_abm", *LONG, *more, "-o", str(path)],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 300.0
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    return process


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quick") / "whole.h5"
    scenario = load_scenario(
        Path(__file__).parents[1] / "configs/quickstart.yaml", overrides=["run.until=9 d"]
    )
    run_to_file(scenario, path)
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_a_sentence(
    number: int, quick: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.h5"
    process = begun(path)
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert f"Go on with: mst-abm resume {path}" in told
    assert len(checkpoint_paths(path)) == 1
    resume(path)
    assert differences(quick, path) == []


def test_a_second_sigterm_is_the_first_heard_again() -> None:
    """A batch system sends it to all processes, its script to some of them once more; Ctrl-C twice is impatience."""
    with Signals() as signals:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            assert signals.stops and signals.keeps
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_warning_signal_leaves_a_checkpoint_and_the_run_goes_on(
    quick: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.h5"
    process = begun(path)
    os.kill(process.pid, signal.SIGUSR1)
    while not checkpoint_paths(path) and process.poll() is None:
        time.sleep(0.005)
    assert checkpoint_paths(path)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert differences(quick, path) == []
