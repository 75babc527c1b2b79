"""What a run is said to need is about what it takes, and what cannot be had is refused before it is begun."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_faults import OPTIONS, scenario

from mst_abm.errors import ModelError, RecordError
from mst_abm.model.compile import compile_model
from mst_abm.records.checkpoint import checkpoint_paths
from mst_abm.report.check import check_text
from mst_abm.runs.needs import (
    MEMORY_FILES,
    PROGRAM,
    Needs,
    _left_of_limits,
    memory_left,
    needs_of,
)
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario.loading import load_scenario

#: How far a prediction may be off, as a factor, where cells do not multiply.
FACTOR = 4.0


def test_a_prediction_is_about_right(tmp_path: Path) -> None:
    dish = load_scenario(
        Path(__file__).parents[1] / "configs/killer_dish.yaml",
        overrides=["run.until=12 h", "run.checkpoint=2 h", "run.record.snapshots=3 h"],
    )
    needs = needs_of(dish, compile_model(dish.model, dish.entering, None))
    seen: list[int] = []

    def look(_: object) -> None:
        seen.append(sum(p.stat().st_size for p in checkpoint_paths(tmp_path / "run.h5")))

    run_to_file(dish, tmp_path / "run.h5", checkpoint_cost=math.inf, progress=look)
    size = (tmp_path / "run.h5").stat().st_size
    print("record", size, needs.record, "checkpoints", max(seen), needs.checkpoints)
    assert size / FACTOR < needs.record < size * FACTOR
    assert max(seen) < needs.checkpoints < max(seen) * FACTOR
    assert "disc: about " in check_text(dish) and "of checkpoints while it runs" in check_text(dish)


def test_memory_counts_what_is_there_for_a_moment() -> None:
    def needs(side: int, *more: str) -> Needs:
        shape = f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]"
        off = ("run.checkpoint=0 h", "run.record.snapshots=0 h")
        big = load_scenario("reference", overrides=[shape, *off, *more])
        return needs_of(big, compile_model(big.model, big.entering, None))

    bare = needs(100)
    assert bare.passing == 4 * 100**3  # vacant sites, while cells are placed
    assert bare.memory == PROGRAM + bare.state + bare.passing
    kept = needs(100, "run.checkpoint=1 d")
    assert bare.passing < kept.passing < kept.state
    # half a million cells: kept until written, and once more on the way
    taken = needs(100, "run.record.snapshots=1 h").passing
    assert taken == pytest.approx(500_000 * 48 + 2**20 * 19, rel=0.01)
    identities = needs(100, "run.record.snapshots=1 h", "run.identity=true").passing
    assert identities > taken + 500_000 * 2 * 36


def test_what_cannot_be_had_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mst_abm.runs.needs.memory_left", lambda: 1e4)
        with pytest.raises(ModelError, match="of memory for this run, got 10 kB; use a smaller"):
            Simulation(scenario())
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr("mst_abm.runs.needs.shutil.disk_usage", lambda _: full)
    with pytest.raises(RecordError, match="on the disc for this run, got 1 kB; free some space"):
        run_to_file(scenario(), tmp_path / "run.h5", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_memory_is_what_the_system_tells() -> None:
    assert memory_left(lambda: "MemTotal: 9 kB\nMemAvailable:  7 kB\n") == 7 * 1024.0
    assert memory_left(lambda: "nothing") > 1e6


@pytest.mark.parametrize("kind", ["", "memory"])
def test_memory_ends_at_the_limit_of_a_job(tmp_path: Path, kind: str) -> None:
    """The smallest of the groups a process is in; files that were read do not count."""
    limit, used, idle = MEMORY_FILES[kind]
    told = tmp_path / "cgroup"
    told.write_text(f"1:cpu:/other\n4:{kind}:/job/step\n")
    assert _left_of_limits(tmp_path, told) == math.inf
    for name, most in (("job", "1000000"), ("job/step", "max")):
        group = tmp_path / kind / name
        group.mkdir(parents=True)
        (group / limit).write_text(most + "\n")
        (group / used).write_text("600000\n")
        (group / "memory.stat").write_text(f"anon 5\n{idle} 100000\n")
    assert _left_of_limits(tmp_path, told) == 500_000
    (group / limit).write_text("620000\n")
    assert _left_of_limits(tmp_path, told) == 120_000
