"""The same bits whatever the circumstances, and nothing lost or gained on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from busy_body import busy_body
from worlds import started

import mst_abm
from mst_abm import load_scenario
from mst_abm.engine.state import enlarge_mixed, make_outbox, make_pool
from mst_abm.runs.simulation import Simulation

pytestmark = pytest.mark.proof

HERE = Path(__file__).parent
PACKAGE = Path(mst_abm.__file__).parent
UNTIL = 12.0


def run(sim: Simulation, *stops: float) -> Simulation:
    for stop in stops or (UNTIL,):
        sim.advance(stop)
    return sim


@pytest.fixture(scope="module")
def usual() -> Simulation:
    """Four replicates in one thread and one go."""
    return run(started(busy_body(until=UNTIL), 4))


def test_everything_happens(usual: Simulation) -> None:
    """The model of these proofs is one: every line of its table of events is booked."""
    booked = usual.tally.sum(axis=0)
    missing = [t for t, n in zip(usual.compiled.tallies, booked, strict=True) if n == 0]
    # which species meets which may be rare; every rule must have acted
    assert {t.rule for t in missing} - {
        t.rule for t, n in zip(usual.compiled.tallies, booked, strict=True) if n
    } == set()


def test_replicates_differ_and_seeds_matter(usual: Simulation) -> None:
    digests = {usual.digest(r) for r in range(4)}
    assert len(digests) == 4
    other = run(started(busy_body(until=UNTIL), 1, seed=6))
    assert other.digest(0) not in digests


def test_alone_or_among_others(usual: Simulation) -> None:
    for r in (0, 3):
        alone = run(started(busy_body(until=UNTIL), 1, first_replicate=r))
        assert alone.digest(0) == usual.digest(r)


@pytest.mark.parametrize("threads", [2, 3])
def test_number_of_threads(usual: Simulation, threads: int) -> None:
    assert run(started(busy_body(until=UNTIL), 4, threads=threads)).digest() == usual.digest()


@pytest.mark.parametrize(
    "stops", [(2.0, 4.0, 8.0, 12.0), tuple(np.arange(0.5, 12.5, 0.5)), (11.5, 12.0)]
)
def test_stops_on_edges(usual: Simulation, stops: tuple[float, ...]) -> None:
    assert run(started(busy_body(until=UNTIL), 4), *stops).digest() == usual.digest()


def test_another_process(usual: Simulation) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}, {str(HERE)!r}]\n"
        "from busy_body import busy_body\nfrom worlds import started\n"
        f"sim = started(busy_body(until={UNTIL}), 4); sim.advance({UNTIL}); print(sim.digest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == usual.digest()


def shrink(sim: Simulation) -> None:
    """As little room as the cells of time zero take."""
    state, tab = sim.state, sim.tables
    used = state.mixed.bounds[:, : len(state.mixed.first) - 1, -1].max(axis=0)
    (slots,) = used  # one mixed compartment
    old = state.mixed
    columns = {name: getattr(old, name)[:, :slots] for name in ("species", "counters", "identity")}
    state.mixed = old._replace(
        first=np.array([0, slots]), **{k: v.copy() for k, v in columns.items()}
    )
    n, patches = state.pool.n.shape
    state.pool = make_pool(tab, n, patches, 1)
    state.outbox = make_outbox(tab, n, patches, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_room_at_the_start_does_not_matter(usual: Simulation, threads: int) -> None:
    """Every table is enlarged in the middle of intervals, again and again."""
    tight = started(busy_body(until=UNTIL), 4, threads=threads)
    shrink(tight)
    before = (
        tight.state.mixed.first[-1],
        tight.state.pool.cells.shape[2],
        tight.state.outbox.cells.shape[2],
    )
    run(tight)
    after = (
        tight.state.mixed.first[-1],
        tight.state.pool.cells.shape[2],
        tight.state.outbox.cells.shape[2],
    )
    assert all(a > b for a, b in zip(after, before, strict=True)), (before, after)
    assert tight.digest() == usual.digest()
    wide = started(busy_body(until=UNTIL), 4, threads=threads)
    enlarge_mixed(wide.tables, wide.state, np.array([5000]))
    n, patches = wide.state.pool.n.shape
    wide.state.pool = make_pool(wide.tables, n, patches, 500)
    wide.state.outbox = make_outbox(wide.tables, n, patches, 500)
    assert run(wide).digest() == usual.digest()


def test_identity_does_not_change_the_run(usual: Simulation) -> None:
    plain = run(started(busy_body(until=UNTIL, identity=False), 4))
    for name, counts in usual.counts.items():
        assert np.array_equal(plain.counts[name], counts)
    assert np.array_equal(plain.tally, usual.tally)


def test_identities_are_unique(usual: Simulation) -> None:
    for r in range(4):
        ids = usual.agents(r)["id"]
        assert np.all(ids > 0)
        assert len(np.unique(ids)) == len(ids)


def check_conservation(sim: Simulation, initial: dict[str, np.ndarray]) -> None:
    """counts = initial + stoichiometry . tally + received; a lattice receives through its pool."""
    n_compartments, n_species = sim.geometry.spaces.shape[0], sim.tables.n_species
    change = np.zeros((sim.replicates, n_compartments, n_species), np.int64)
    for tally, compartment, species, gain in sim.compiled.stoichiometry:
        change[:, compartment, species] += gain * sim.tally[:, tally]
    landed = np.zeros_like(change)
    for i, line in enumerate(sim.compiled.tallies):
        if line.verb == "arrive":
            for compartment, species, gain in line.changes:
                landed[:, compartment, species] += gain * sim.tally[:, i]
    for m, (name, counts) in enumerate(sim.counts.items()):
        gained = counts - initial[name] - change[:, m]
        if sim.geometry.spaces[m]["is_lattice"]:
            sites = counts.sum(axis=1)
            assert np.all(sites == sites[0])
            assert np.all(gained[:, 1:] == 0), name
            waiting = sim.received[:, m] - landed[:, m]
            assert np.all(waiting >= 0)
            assert np.array_equal(waiting.sum(axis=1), sim.waiting[name])
        else:
            assert np.array_equal(gained[:, 1:], sim.received[:, m, 1:]), name


def check_counts(sim: Simulation) -> None:
    """Counts kept by the kernels are those of the cells there are."""
    for r in range(sim.replicates):
        agents = sim.agents(r)
        for m, (name, counts) in enumerate(sim.counts.items()):
            mine = agents["species"][agents["compartment"] == m]
            assert np.array_equal(
                np.bincount(mine, minlength=counts.shape[1])[1:], counts[r, 1:]
            ), name


def check_lists(sim: Simulation) -> None:
    """Every acting cell stands once in the list of its class, and the back pointers point back."""
    tab, geo, lattice = sim.tables, sim.geometry, sim.state.lattice
    for r in range(sim.replicates):
        for k, (m, first, last, _) in enumerate(geo.patches):
            species = lattice.species[r, first:last].astype(int)
            class_of = tab.rows["class_of"][m * tab.n_species + species]
            for c in range(tab.n_classes):
                a, b = lattice.bounds[r, k, c], lattice.bounds[r, k, c + 1]
                sites = lattice.order[r, first + a : first + b]
                assert np.array_equal(np.sort(sites), np.nonzero(class_of == c)[0])
                assert np.array_equal(lattice.where[r, first + sites], np.arange(a, b))


def test_nothing_is_lost() -> None:
    sim = started(busy_body(until=UNTIL), 4)
    initial = sim.counts
    for stop in (2.0, 6.0, 12.0):
        sim.advance(stop)
        check_conservation(sim, initial)
        check_counts(sim)
        check_lists(sim)


def test_nothing_is_lost_in_a_patient() -> None:
    """Ten days of the quickstart in small patches: chemotherapy, then the infusion."""
    scenario = load_scenario(
        PACKAGE.parent / "configs" / "quickstart.yaml",
        overrides=("run.until=10 d", "override.compartments.marrow.lattice.shape=[20, 20, 20]"),
    )
    scenario = replace(scenario, run=replace(scenario.run, snapshots_every_h=0.0))
    assert scenario.infusions and scenario.infusions[0].at_h < 240.0
    sim = started(scenario, 2, threads=2)
    initial = sim.counts
    for stop in (24.0, 191.0, 192.0, 240.0):
        sim.advance(stop)
        check_conservation(sim, initial)
        check_counts(sim)
        check_lists(sim)
    assert sim.received.sum() > 0
    again = started(scenario, 1, first_replicate=1)
    again.advance(240.0)
    assert again.digest(0) == sim.digest(1)


# kernel cache

TELL = "from mst_abm.engine import kernel; print(kernel.cache_directory())"
RUN = "from mst_abm.engine import rng; print(rng.philox_words((0, 0, 0, 0), (0, 0))[0])"


def copied(tmp_path: Path) -> Path:
    """A copy of the package of its own."""
    goal = tmp_path / "mst_abm"
    ignored = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(PACKAGE, goal, ignore=ignored)
    return goal


def ask(code: str, folder: Path, **environment: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "MST_ABM_CACHE"}
    variables |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=variables,
        cwd=folder,
    )
    return told.stdout.strip()


def test_an_edited_kernel_gets_another_cache(tmp_path: Path) -> None:
    package = copied(tmp_path)
    cache = {"MST_ABM_CACHE": str(tmp_path / "cache")}
    before = ask(TELL, tmp_path, **cache)
    assert before == ask(TELL, tmp_path, **cache)
    assert Path(before).parent == tmp_path / "cache"
    source = package / "engine" / "numbers.py"  # called from kernels of other files only
    source.write_text(source.read_text().replace("LN2 =", "# edited\nLN2 ="))
    assert ask(TELL, tmp_path, **cache) != before


def test_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    """No room beside the package, none in the home: kernels are kept in a temporary place.

    A file where a directory should be stops even a user who may write anywhere.
    """
    package = copied(tmp_path)
    (package / "engine" / "__pycache__").write_text("")
    barred = tmp_path / "home"
    barred.write_text("")
    place = Path(ask(TELL, tmp_path, HOME=str(barred), TMPDIR=str(tmp_path)))
    assert place.parent == tmp_path and place.name.startswith("mst_abm-")
    assert ask(RUN, tmp_path, HOME=str(barred), TMPDIR=str(tmp_path)) == str(0x6627E8D5)


def test_home_comes_after_the_package(tmp_path: Path) -> None:
    package = copied(tmp_path)
    assert Path(ask(TELL, tmp_path)).parent == package / "engine" / "__pycache__"
    shutil.rmtree(package / "engine" / "__pycache__")
    (package / "engine" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.mkdir()
    assert Path(ask(TELL, tmp_path, HOME=str(home))).is_relative_to(home)
