"""Named states of a model, and the start of a run: cells taken over, multiplied, added, replaced."""

from __future__ import annotations

import pytest

from mst_abm.errors import ScenarioError
from mst_abm.scenario import load_scenario, load_scenario_text
from mst_abm.scenario.definition import Scenario

MODEL = """
types:
  a: {axes: {side: [left, right]}, counters: {age: {max: 3}}}
  b: {}
  wall: {static: true}
sets: {mine: ["a[side=left]", b]}
switches: {extra: off}
rules: [{name: a dies, die: a, rate: 1 /day, source: assumption}]
immunology: {alloreactive_full_mismatch: 0.5, minor_antigen_share: 0.1, source: assumption}
grafts: {cells: [{per: b_per_kg, into: pool, cells: b}]}
patient: {weight: 70 kg}
compartments:
  plate: {lattice: {shape: [20, 20]}}
  pool: {mixed: {}}
states:
  first:
    initial:
      plate:
        - {cells: wall, place: {tubes: {spacing: 64 um, radius: 8 um}}}
        - {cells: "a[side=left]", number: 40, counters: {age: 2}}
        - {cells: "a[side=right]", number: 20, switch: extra}
        - {mix: {"a[side=left]": 3, b: 1}, number: 16}
      pool: {b: 100, "a[side=left]": 10}
  second:
    like: first
    times: {plate.a: 0.5}
    add: {plate: [{cells: b, number: 9}]}
start: first
run: {until: 1 d}
"""


def load(more: str = "", *overrides: str) -> Scenario:
    """The model with other sections at its end."""
    text = MODEL.replace("start: first\n", "") if "start:" in more else MODEL
    return load_scenario_text(text + more, name="file.yaml", overrides=overrides)


def amounts(scenario: Scenario) -> dict[str, list[float]]:
    """Cells of the start in the order of the file, by compartment; vessels not among them."""
    found: dict[str, list[float]] = {"plate": [], "pool": []}
    for item in scenario.model.initial:
        if item.placement == "random":
            found[item.compartment].append(pytest.approx(item.amount))
    return found


def refused(more: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        load(more, *overrides)
    return str(error.value).splitlines()


def test_a_run_begins_with_the_named_state() -> None:
    scenario = load()
    assert amounts(scenario) == {"plate": [40, 16], "pool": [100, 10]}
    assert scenario.start == "first" and scenario.model.initial[1].counters
    assert amounts(load("", "start=second")) == {"plate": [20, 10, 9], "pool": [100, 10]}
    assert amounts(load("start: {state: second}\n")) == amounts(load("", "start=second"))


def test_a_state_like_another_multiplies_what_it_takes_over_and_not_what_it_adds() -> None:
    scenario = load("start: second\n")
    mix = next(item for item in scenario.model.initial if len(item.species) == 2)
    assert [weight for _, weight in mix.species] == [1.5, 1]  # a is halved, b is as it was
    assert mix.amount == pytest.approx(16 * 2.5 / 4)


@pytest.mark.parametrize(
    ("times", "plate", "pool"),
    [
        ("plate.b: 3", [40, 24], [100, 10]),
        ("mine: 0.5", [20, 8], [50, 5]),
        ('"*": 2', [80, 32], [200, 20]),
        ("plate: {a: 0.1}, b: 0", [4, 1.2], [10]),
        ('"pool.a[side=left]": 50 %', [40, 16], [100, 5]),
        ('pool.a: 2, "a[side=left]": 2', [80, 28], [100, 40]),
    ],
)
def test_factors_go_to_the_cells_that_fit(times: str, plate: list, pool: list) -> None:
    scenario = load(f"start: {{state: first, times: {{{times}}}}}\n")
    assert amounts(scenario) == {"plate": plate, "pool": pool}


def test_factors_from_the_command_line_reach_below_a_plain_name() -> None:
    assert amounts(load("", "start.times.plate.a=0.5")) == {"plate": [20, 10], "pool": [100, 10]}
    changed = load("", "start.times.plate.a[side=left]=0.5", "start.times.b=0")
    assert amounts(changed) == {"plate": [20, 6], "pool": [10]}
    assert amounts(load("", "states.first.initial.pool.b=7"))["pool"] == [7, 10]
    assert amounts(load("start: second\n", "initial.plate.1.times=0.25"))["plate"] == [10, 10, 9]


def test_initial_replaces_compartments_of_the_start(tmp_path) -> None:
    scenario = load("initial: {plate: {b: 5}}\n")
    assert amounts(scenario) == {"plate": [5], "pool": [100, 10]}
    (tmp_path / "model.yaml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("model: model.yaml\nstart: {times: {a: 2}}\n")
    mine = load_scenario(tmp_path / "mine.yaml")
    assert mine.start == "first" and amounts(mine)["pool"] == [100, 20]


def test_the_resolved_text_has_the_cells_and_no_states() -> None:
    scenario = load("start: {state: second, times: {plate.a: 0.1}}\n")
    assert "states" not in scenario.resolved_text and "start" not in scenario.resolved_text
    again = load_scenario_text(scenario.resolved_text)
    assert again.model == scenario.model and again.resolved_text == scenario.resolved_text


def test_without_a_donor_nobody_is_foreign() -> None:
    more = "start: first\ninitial: {pool: [{cells: b, number: 100, fraction_of: %s}]}\n"
    assert amounts(load(more % "hvg"))["pool"] == []
    assert amounts(load(more % "rest_hvg"))["pool"] == [100]
    donor = "donor: {relation: sibling}\n"
    assert amounts(load(more % "hvg" + donor))["pool"] == [10]
    given = "protocol: [{at: 0 h, infuse: cells, b_per_kg: 1}]\n"
    assert amounts(load(more % "rest_hvg" + given))["pool"] == [90]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("start: frist\n", "start.state: unknown state 'frist'; did you mean 'first'?"),
        ("start: {state: first, tims: {a: 1}}\n", "unknown key 'tims'; did you mean 'times'?"),
        ("start: {times: {plat.a: 1}}\n", "unknown compartment 'plat'; did you mean 'plate'?"),
        ("start: {state: first, times: {c: 1}}\n", "unknown cell type or set 'c'"),
        ("start: {state: first, times: {plate: {a: -1}}}\n", "of 0 or more, got -1"),
        ("start: {state: first, times: {a: 2 h}}\n", 'got "2 h"'),
        (
            "start: {state: first, times: 3}\n",
            "start.times: expected a mapping (key: value), got 3",
        ),
        ("start: {state: first, add: {pot: []}}\n", "unknown compartment 'pot'"),
        (
            "start: {state: first, add: {pool: [{cells: b, number: 1}]}}\n",
            "expected a list of cells",
        ),
        (
            "start: {state: first, times: {plate.a: 20}}\n",
            "initial.plate: expected cells in at most",
        ),
        (
            'start: {state: first, times: {"pool.a[side=right]": 2}}\n',
            "expected cells that are there at the start, no a[side=right] in 'pool'",
        ),
    ],
)
def test_a_mistake_in_the_start_is_one_sentence(more: str, message: str) -> None:
    messages = refused(more)
    assert len(messages) == 1 and message in messages[0], messages


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("like: first", "like: fist", "states.second.like: unknown state 'fist'; did you mean"),
        ("like: first", "like: second", "expected another state, 'second' is like itself"),
        ("times: {plate.a: 0.5}", "times: {plate.c: 0.5}", "unknown cell type or set 'c'"),
        ("number: 9", "numbr: 9", "unknown key 'numbr'; did you mean 'number'?"),
        ("add: {plate", "add: {plat", "unknown compartment 'plat'; did you mean 'plate'?"),
    ],
)
@pytest.mark.parametrize("start", ["first", "second"])
def test_mistakes_of_a_state_are_found_whoever_begins(written, instead, message, start) -> None:
    text = MODEL.replace(written, instead).replace("start: first", f"start: {start}")
    if "itself" in message and start == "first":
        load_scenario_text(text)  # nobody begins with it
        return
    with pytest.raises(ScenarioError) as error:
        load_scenario_text(text, name="file.yaml")
    assert len(error.value.problems) == 1 and message in str(error.value), str(error.value)


def test_a_model_of_states_wants_a_start() -> None:
    text = MODEL.replace("start: first\n", "")
    with pytest.raises(ScenarioError, match=r"missing 'start'; .* \(first, second\)"):
        load_scenario_text(text)
