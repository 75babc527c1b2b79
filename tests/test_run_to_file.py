"""A run into a file is the run in memory, and the file's books balance to the cell."""

from __future__ import annotations

import numpy as np
import pytest

from mst_abm.records.reader import open_run
from mst_abm.runs.simulation import Simulation, simulate
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario import load_scenario, load_scenario_text

TRAFFIC = """
types: {cell: {axes: {state: [young, old]}}}
rules:
  - {name: divide, divide: "cell[state=young] -> cell[state=young] + cell[state=old]", rate: 0.3 /h, source: verification}
  - {name: leave, leave: "cell[state=old] -> blood", in: marrow, rate: 0.5 /h, source: verification}
  - {name: return, leave: cell -> marrow, in: blood, rate: 0.2 /h, source: verification}
  - {name: home, arrive: cell, in: marrow, rate: 1 /h, source: verification}
  - {name: die, die: "cell[state=old]", rate: 0.3 /h, source: verification}
compartments:
  marrow: {lattice: {shape: [6, 6, 6], neighbours: 6, boundary: periodic}}
  blood: {mixed: {}}
initial: {marrow: {"cell[state=young]": 40}, blood: {"cell[state=old]": 20}}
run: {until: 12 h, seed: 3, exchange: 30 min, record: {counts: 1 h, snapshots: 6 h}}
"""


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    path = tmp_path_factory.mktemp("traffic") / "run.h5"
    scenario = load_scenario_text(TRAFFIC, name="traffic")
    run_to_file(scenario, path, replicates=3, first_replicate=5)
    return scenario, path


def test_a_file_holds_the_run_in_memory(traffic):
    scenario, path = traffic
    twin = simulate(scenario, replicates=3, first_replicate=5)
    with open_run(path) as run:
        assert run.status == "complete"
        assert run.digest == twin.digest()
        for name, counts in twin.counts.items():
            assert np.array_equal(run.counts(name)[:, -1], counts)
        assert np.array_equal(run.events().sum(axis=1), twin.tally)
        last = run.snapshot(-1)
        agents = twin.agents()
        for name, values in last.columns.items():
            assert np.array_equal(values, agents[name]), name


def test_the_scenario_in_the_file_gives_the_run_again(traffic):
    _, path = traffic
    with open_run(path) as run:
        scenario = load_scenario_text(run.scenario_text, name="again")
        seed = int(run.attributes["seed"])
        assert simulate(scenario, seed=seed, replicates=3, first_replicate=5).digest() == run.digest


def test_every_change_of_a_count_is_booked(traffic):
    _, path = traffic
    with open_run(path) as run:
        changes, n_species = run.stoichiometry, len(run.species["species"])
        events = run.events()
        arrived = 0
        for m, name in enumerate(run.compartment_names):
            matrix = np.zeros((events.shape[2], n_species), "i8")
            here = changes["compartment"] == m
            where = changes["channel"][here], changes["species"][here]
            np.add.at(matrix, where, changes["cells"][here])
            booked = events[:, 1:] @ matrix
            if run.compartments["kind"][m] == "mixed":
                booked = booked + run.received(name)[:, 1:]
            else:
                rows = run.channels["verb"] == "arrive"
                arrived = events[:, :, rows].sum(axis=2)
                received = run.received(name).sum(axis=2)
                waits = np.cumsum(received - arrived, axis=1)
                assert np.array_equal(run.waiting(name), waits)
            found = np.diff(run.counts(name), axis=1)
            assert np.array_equal(found[:, :, 1:], booked[:, :, 1:]), name
        assert arrived.sum() > 20


def test_threads_and_batches_change_no_bit_of_the_file(tmp_path, traffic):
    scenario, path = traffic
    run_to_file(scenario, tmp_path / "two.h5", replicates=2, first_replicate=6, threads=2)
    with open_run(path) as whole, open_run(tmp_path / "two.h5") as part:
        for name in whole.compartment_names:
            assert np.array_equal(whole.counts(name)[1:], part.counts(name))
        assert np.array_equal(whole.events()[1:], part.events())


def test_ctrl_c_between_intervals_leaves_the_records_so_far(tmp_path):
    scenario = load_scenario("box", overrides=["run.until=6 h"])

    def stop(progress):
        if progress.time_h == 3.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_file(scenario, tmp_path / "run.h5", progress=stop)
    twin = Simulation(scenario)
    with open_run(tmp_path / "run.h5") as run:
        assert (run.status, run.n_records) == ("interrupted", 4)
        for k, time_h in enumerate(run.times_h):
            twin.advance(float(time_h))
            assert np.array_equal(run.counts("box")[:, k], twin.counts["box"])


def test_a_model_whose_rules_are_all_off_is_recorded(tmp_path):
    text = """
types: {walker: {}}
switches: {walking: off}
rules: [{name: walk, move: walker, rate: 1 /h, switch: walking, source: test}]
compartments: {box: {lattice: {shape: [8, 8], spacing: 10 um}}}
initial: {box: {walker: 5}}
run: {until: 1 d, record: {counts: 12 h}}
"""
    path = tmp_path / "still.h5"
    run_to_file(load_scenario_text(text, name="still"), path)
    with open_run(path) as run:
        assert run.status == "complete"
        assert run.events().shape == (1, 3, 0)
        assert run.counts_by("box", "type")[("walker",)].tolist() == [[5, 5, 5]]
