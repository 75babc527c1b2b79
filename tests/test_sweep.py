"""Sweeps: designs and indices against closed forms, through the whole machinery too, and the mistakes of a file."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dishes import times
from sweeps import RANGES, READINGS, sweep_file, swept
from thresholds import SWEEP

from mst_abm.cli import main
from mst_abm.clinic import designs
from mst_abm.clinic.designs import (
    Index,
    contrasts,
    differences_from_first,
    indices,
    subsets,
    unit_points,
)
from mst_abm.errors import MissingPackageError, ScenarioError
from mst_abm.report.sweep import sweep_text, write_sweep
from mst_abm.runs.campaign import seed_of
from mst_abm.runs.sweep import plan_sweep
from mst_abm.scenario import load_scenario
from mst_abm.scenario.sweep import load_sweep
from mst_abm.scenario.trial import load_trial

STUDIES = sorted((Path(__file__).parent.parent / "configs" / "studies").glob("*.yaml"))
COHORT = """
cohort:
  patients: 3
  parameters: [{name: f, lognormal: {sd_log: 0.5}, times: [signals.level.initial], source: assumption}]
"""
GRID = "parameters: {initial.pot.a: {values: [10, 30], name: cells}}\n"


def by_name(found: list[Index] | tuple[Index, ...], index: str) -> dict[str, Index]:
    return {i.of: i for i in found if i.index == index}


def holds(index: Index, value: float) -> bool:
    """Whether a value is within the interval, widened to the threshold of the proof."""
    return abs(index.value - value) <= (index.high - index.value) * SWEEP["z"] / 1.96


# ------------------------------------------------------------------ closed forms


def ishigami(points: np.ndarray, a: float = 7.0, b: float = 0.1) -> np.ndarray:
    x = np.pi * (2.0 * points - 1.0)
    return np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])


def of_ishigami(a: float = 7.0, b: float = 0.1) -> tuple[dict[str, float], dict[str, float]]:
    """First-order and total indices (Ishigami and Homma 1990)."""
    one = 0.5 * (1 + b * np.pi**4 / 5) ** 2
    two, both = a * a / 8, b * b * np.pi**8 * (1 / 18 - 1 / 50)
    whole = one + two + both
    first = {"x": one / whole, "y": two / whole, "z": 0.0}
    return first, {"x": (one + both) / whole, "y": two / whole, "z": both / whole}


@pytest.mark.parametrize("a", [7.0, SWEEP["other_a"]])
def test_sobol_of_a_function_whose_indices_are_known(a: float) -> None:
    """The negative control holds the indices of one function against those of another."""
    pytest.importorskip("SALib")
    points = unit_points("sobol", 3, SWEEP["size"], 4, 1)
    assert points.shape == (SWEEP["size"] * 5, 3)
    found = indices("sobol", "xyz", points, ishigami(points), 4)
    right = [
        holds(by_name(found, index)[name], value)
        for index, known in zip(("first order", "total"), of_ishigami(a), strict=True)
        for name, value in known.items()
    ]
    assert all(right) == (a == 7.0)


def test_sobol_gives_what_the_library_gives_for_its_own_example() -> None:
    pytest.importorskip("SALib")
    from SALib.analyze import sobol
    from SALib.test_functions import Ishigami

    points = unit_points("sobol", 3, 64, 4, 1)
    values = Ishigami.evaluate(np.pi * (2.0 * points - 1.0))
    assert ishigami(points) == pytest.approx(values)
    problem = {"num_vars": 3, "names": list("xyz"), "bounds": [[0, 1]] * 3}
    known = sobol.analyze(problem, values, calc_second_order=False, seed=1)
    found = indices("sobol", "xyz", points, values, 4)
    assert [i.value for i in found if i.index == "total"] == pytest.approx(list(known["ST"]))
    assert [i.value for i in found if i.index == "first order"] == pytest.approx(list(known["S1"]))


def test_morris_of_a_plane_is_its_slopes() -> None:
    pytest.importorskip("SALib")
    points = unit_points("morris", 3, 5, 4, 1)
    assert points.shape == (20, 3)
    found = indices("morris", "xyz", points, 3.0 * points[:, 0] - 2.0 * points[:, 1], 4)
    assert [i.value for i in by_name(found, "mu*").values()] == pytest.approx([3, 2, 0])
    assert [i.value for i in by_name(found, "mu").values()] == pytest.approx([3, -2, 0])
    assert [i.value for i in by_name(found, "sigma").values()] == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_hypercube_has_a_point_in_every_row_and_ranks_tell_what_matters() -> None:
    points = unit_points("latin hypercube", 3, 40, 4, 1)
    assert (np.sort(np.floor(points * 40), axis=0) == np.arange(40)[:, None]).all()
    found = by_name(
        indices("latin hypercube", "xyz", points, points[:, 0] ** 3 + 0.2 * points[:, 1], 4),
        "rank correlation",
    )
    assert found["x"].low > 0.5
    assert found["z"].low < 0.0 < found["z"].high


def test_the_same_seed_gives_the_same_design_and_the_same_intervals() -> None:
    pytest.importorskip("SALib")
    for method in ("latin hypercube", "sobol", "morris"):
        one, again, other = (unit_points(method, 2, 8, 4, seed) for seed in (1, 1, 2))
        assert (one == again).all() and not (one == other).all()
        values = one[:, 0] + 0.3 * one[:, 1] ** 2
        # as texts: what has no interval has nan
        first, second = (str(indices(method, "xy", one, values, 4)) for _ in range(2))
        assert first == second


def test_contrasts_of_mechanisms_that_are_known() -> None:
    """x adds 1, y adds 2, both together 5 more, z nothing; patients differ by what cancels."""
    off = [off for _, off in subsets("xyz")]
    assert len(off) == len(set(off)) == 8
    of_patient = np.array([0.0, 10.0, 20.0, np.nan])
    rows = [1.0 * ("x" not in s) + 2.0 * ("y" not in s) + 5.0 * (not s & set("xy")) for s in off]
    found = contrasts("xyz", np.array(rows)[:, None] + of_patient)
    assert {i.of: i.value for i in found if i.index == "out"} == {"x": 6, "y": 7, "z": 0}
    assert {i.of: i.value for i in found if i.index == "alone"} == {"x": 1, "y": 2, "z": 0}
    pairs = {i.of: i.value for i in found if i.index == "pair"}
    assert pairs == {"x, y": -5, "x, z": 0, "y, z": 0}
    assert all((i.low, i.high, i.n) == (i.value, i.value, 3) for i in found)


def test_points_are_what_they_are_less_the_first_in_the_same_patients() -> None:
    of_patient = np.array([0.0, 10.0, 20.0, np.nan])
    found = differences_from_first("xyz", np.array([1.0, 4.0, -1.0])[:, None] + of_patient)
    assert [(i.of, i.value, i.low, i.high, i.n) for i in found] == [
        ("y", 3.0, 3.0, 3.0, 3),
        ("z", -2.0, -2.0, -2.0, 3),
    ]


def test_a_sweep_is_no_scenario_and_no_trial_nor_the_other_way_round(tmp_path: Path) -> None:
    sweep = sweep_file(tmp_path, f"{GRID}{READINGS}")
    trial = tmp_path / "trial.yaml"
    trial.write_text("arms: {one: {scenario: line.yaml}}\n", encoding="utf-8")
    scenario = tmp_path / "line.yaml"
    load_scenario(scenario), load_trial(trial), load_sweep(sweep)
    for load, file, command in (
        (load_scenario, sweep, "sweep"),
        (load_trial, sweep, "sweep"),
        (load_sweep, scenario, "run"),
        (load_sweep, trial, "trial"),
    ):
        with pytest.raises(ScenarioError, match=f"use mst-abm {command}$") as error:
            load(file)
        assert len(str(error.value).splitlines()) == 1


# ------------------------------------------------------------------ through the whole machinery


def test_sobol_of_a_straight_line_through_campaign_records_and_readings(tmp_path: Path) -> None:
    """start explains 4/5 of the variance, rise 1/5; what does nothing holds 0, what matters does not."""
    pytest.importorskip("SALib")
    plan, (end,) = swept(tmp_path, f"method: sobol\nsize: 64\n{RANGES}{READINGS}")
    assert end.values.shape == (64 * 5, 1)
    values = [dict(spot.values) for spot in plan.spots]
    line = [
        float(v["signals.level.initial"])
        + 240.0 * float(v["signals.level.production"].removesuffix(" /h"))
        for v in values
    ]
    assert end.values[:, 0] == pytest.approx(line, rel=1e-6)
    total, first = (by_name(end.indices, kind) for kind in ("total", "first order"))
    for found in (total, first):
        assert holds(found["start"], 0.8) and holds(found["rise"], 0.2)
        assert found["idle"].low <= 0.0 <= found["idle"].high
        assert found["rise"].low > 0.0
    text = sweep_text(plan, [end])
    assert "Paired: at every point the same random numbers" in text
    assert "| rise  |" in text and "total" in text


def test_morris_and_hypercube_of_the_same_line(tmp_path: Path) -> None:
    pytest.importorskip("SALib")
    _, (end,) = swept(tmp_path, f"method: morris\nsize: 4\n{RANGES}{READINGS}", "morris")
    assert [i.value for i in by_name(end.indices, "mu*").values()] == pytest.approx(
        [2, 1, 0], abs=1e-5
    )
    plan, (end,) = swept(
        tmp_path, f"method: latin hypercube\nsize: 30\n{RANGES}{READINGS}", "hypercube"
    )
    assert not plan.campaign.is_paired
    ranks = by_name(end.indices, "rank correlation")
    assert ranks["start"].low > 0.0 and ranks["idle"].low < 0.0 < ranks["idle"].high
    assert [path.name for path in write_sweep(plan, [end], tmp_path)] == [
        "points.csv", "indices.csv", "figure.png",
    ]  # fmt: skip


def test_attribution_finds_mechanisms_that_stand_in_for_one_another(tmp_path: Path) -> None:
    """One and two both kill all twenty cells, three kills none: neither is missed alone, both are."""
    text = "method: attribution\nswitches: [one, two, three]\nreplicates: 2\n"
    text += "readings: {left: {of: blast_cells, at: 10 d}}\nset: {rules.a dies.rate: 1e-12 /h}\n"
    plan, (left,) = swept(tmp_path, text)
    assert len(plan.spots) == 8 and plan.campaign.is_paired
    found = {(i.index, i.of): i.value for i in left.indices}
    assert [found["out", name] for name in ("one", "two", "three")] == [0, 0, 0]
    assert [found["alone", name] for name in ("one", "two", "three")] == [-20, -20, 0]
    assert found["pair", "one, two"] == -20
    assert found["pair", "one, three"] == found["pair", "two, three"] == 0
    files = write_sweep(plan, [left], tmp_path)
    assert len(list(csv.reader(files[1].open()))) == 1 + 3 + 3 + 3


def test_patients_of_a_cohort_go_through_every_point_with_their_random_numbers(
    tmp_path: Path,
) -> None:
    text = f"{GRID}{COHORT}endpoints: [leukaemia_log_kill]\n{READINGS}"
    plan, (kill, end) = swept(tmp_path, text)
    seeds = np.array([point.seed for point in plan.campaign.points])[plan.rows]
    assert (seeds == [seed_of(1, patient, False) for patient in range(3)]).all()
    assert kill.values.shape == end.values.shape == (2, 3)
    assert (end.values[0] == end.values[1]).all()  # the patient's signal, whatever the cells
    assert len(set(end.values[0])) == 3
    text = sweep_text(plan, [kill, end])
    assert "the same patients" in text
    nowhere = replace(kill, values=np.full((2, 3), np.nan), indices=())
    silent = "No run has a number of leukaemia_log_kill; true_NAME is the truth"
    assert silent in sweep_text(plan, [nowhere, end]) and silent not in text
    ((of, value, low, high),) = [(i.of, i.value, i.low, i.high) for i in end.indices]
    assert (of, value, low, high) == ("30", 0.0, 0.0, 0.0)  # though patients differ


def test_points_of_one_value_and_one_stream_are_run_once(tmp_path: Path) -> None:
    pytest.importorskip("SALib")
    two = "parameters: {signals.level.initial: {values: {low: 1, high: 3}}}\n"
    plan, (end,) = swept(tmp_path, f"method: sobol\nsize: 8\n{two}{READINGS}")
    assert len(plan.spots) == 24 and len(plan.campaign.points) == 2
    assert set(end.values[:, 0].round(6)) == {2.2, 4.2}


def test_a_grid_with_named_points_from_the_command_line_runs_only_what_is_missing(
    tmp_path: Path,
) -> None:
    named = "points: {slow: {set: {rules.a dies.rate: 0.001 /h}}, fast: {like: slow, set: {rules.a dies.rate: 1 /h}}}\n"
    text = f"replicates: 4\n{GRID}{named}endpoints: [os_event]\nreadings: {{left: {{of: blast_cells, at: 10 d}}}}\n"
    path = sweep_file(tmp_path, text.replace("endpoints: [os_event]\n", ""))
    command = ["sweep", str(path), "-o", str(tmp_path / "out")]
    planned = CliRunner().invoke(main, [*command, "--plan"])
    assert planned.exit_code == 0 and "0 of 16 replicates are there" in planned.output
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "| set  | cells | left, mean" in result.output
    assert "| fast | 30    | 0 (0 to 0), n = 4" in result.output
    assert (tmp_path / "out" / "figure.png").stat().st_size > 1000
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open()))
    assert [row["initial.pot.a"] for row in rows] == ["10", "30", "10", "30"]
    plan = plan_sweep(load_sweep(path), tmp_path / "out")
    before = list(times(plan.campaign))
    plan.campaign.record(plan.campaign.shards[1]).unlink()
    again = CliRunner().invoke(main, command)
    assert again.output == result.output
    after = list(times(plan.campaign))
    assert [i for i, pair in enumerate(zip(before, after, strict=True)) if len(set(pair)) > 1] == [
        1
    ]
    other = CliRunner().invoke(main, [*command, "--replicates", "3"])
    assert other.exit_code == 2 and "holds a campaign that differs in" in other.output


def test_the_engine_is_that_of_the_file_and_belongs_to_the_campaign(tmp_path: Path) -> None:
    text = f"engine: mean-field\n{GRID}readings: {{left: {{of: blast_cells, at: 10 d}}}}\n"
    plan, (left,) = swept(tmp_path, text)
    decayed = np.exp(-0.01 * 240.0)
    assert left.values[:, 0] == pytest.approx([10 * decayed, 30 * decayed], rel=0.01)
    assert "engine: mean-field" in sweep_text(plan, [left])
    path = sweep_file(tmp_path, text.replace("mean-field", "cells"))
    result = CliRunner().invoke(main, ["sweep", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2 and "differs in its engine" in result.output


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("method: grids\n", "did you mean 'grid'"),
        (f"{READINGS}", "expected 'parameters'"),
        (f"{GRID}", "missing 'endpoints' or 'readings'"),
        (f"method: sobol\nsize: 12\n{RANGES}{READINGS}", "expected a power of 2 with sobol, got 12"),
        (f"method: morris\nlevels: 3\n{RANGES}{READINGS}", "expected an even number, got 3"),
        (f"parameters: {{initial.pot.a: {{uniform: {{low: 1, high: 2}}}}}}\n{READINGS}", "expected 'values' with the method grid"),
        (f"size: 4\n{GRID}{READINGS}", "grid has as many points as it takes"),
        (f"method: attribution\n{READINGS}", "expected the names of one or more switches"),
        (f"switches: [one]\n{GRID}{READINGS}", "with the method attribution only"),
        (f"method: attribution\npaired: off\nswitches: [one]\n{READINGS}", "compares the same patients"),
        (f"method: morris\nparameters: {{initial.pot.a: {{normal: {{mean: 5, sd: 1}}}}}}\n{READINGS}", "expected 'low' and 'high'"),
        (f"method: sobol\nparameters: {{initial.pot.a: {{loguniform: {{low: 0, high: 1}}}}}}\n{READINGS}", "expected 'low' above 0"),
        (f"parameters: {{initial.pot.a: {{values: 3}}}}\n{READINGS}", "expected a list of values"),
        (f"parameters: {{initial.pot.a: {{}}}}\n{READINGS}", "expected one of values, uniform"),
        (f"points: {{x: {{like: y}}}}\n{READINGS}", "expected a point above, got 'y'"),
        (f"{GRID}endpoints: [remision]\n", "there is no 'remision'"),
        (f"{GRID}readings: {{x: {{of: levels, at: 1 d}}}}\n", "no observable 'levels'; did you mean 'level'"),
        (f"{GRID}readings: {{leukaemia_log_kill: {{of: level, at: 1 d}}}}\n", "this is an endpoint's name"),
        (f"method: attribution\nswitches: [ones]\n{READINGS}", "unknown switch 'ones'; did you mean"),
        (f"parameters: {{signals.levle.initial: {{values: [1]}}}}\n{READINGS}", "did you mean 'level'"),
    ],
)  # fmt: skip
def test_mistakes_are_said_before_anything_runs(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence) as error:
        plan_sweep(load_sweep(sweep_file(tmp_path, text)), tmp_path / "out")
    assert "sweep.yaml" in str(error.value) and len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_salib_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(module: str, extra: str, what: str) -> None:
        raise MissingPackageError(what, module.partition(".")[0], extra)

    monkeypatch.setattr(designs, "needs", absent)
    path = sweep_file(tmp_path, f"method: sobol\n{RANGES}{READINGS}")
    with pytest.raises(MissingPackageError, match=r"sobol needs the package SALib.*\[designs\]"):
        plan_sweep(load_sweep(path), tmp_path / "out")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_load_with_their_first_and_last_point(path: Path) -> None:
    from mst_abm.runs.sweep import spots_of

    sweep = load_sweep(path)
    spots, _ = spots_of(sweep, 1)
    for spot in (spots[0], spots[-1]):
        patient = sweep.cohort.overrides(0) if sweep.cohort else ()
        own = tuple(f"{name}={text}" for name, text in spot.values)
        load_scenario(sweep.scenario, overrides=(*sweep.overrides, *patient, *own))
