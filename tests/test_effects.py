"""``levels`` and ``effects`` of a drug: they are the signals and rules one would write by hand."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from mangling import check_mangled, places

from mst_abm.errors import ScenarioError
from mst_abm.model.definition import Rule
from mst_abm.model.english import describe, number_classes
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario, load_scenario_text
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.document import read_file, read_text, write

MARROW = Path(__file__).parent.parent / "mst_abm" / "models" / "marrow.yaml"

WORLD = """
types:
  blast: {axes: {phase: [g0, s]}, counters: {hits: {max: 2, on_division: zero}}}
  t: {}
switches: {spare: on}
compartments:
  dish: {lattice: {shape: [6, 6, 6]}, stands_for: 1 mm^3}
  blood: {mixed: {}, stands_for: 5 L, share: dish}
rules:
  - {name: blasts divide, divide: blast -> blast + blast, rate: 0.1 /h, source: assumption}
  - {name: t cells die, die: t, rate: 0.1 /day, source: assumption}
initial:
  dish: {"blast[phase=s]": 50, t: 20}
patient: {height: 170 cm, weight: 70 kg}
run: {until: 1 d}
"""
DRUG = """
signals:
  csf: {unit: pg/mL, initial: 5, production: 2 /h, clearance: 1 /h, source: assumption}
drugs:
  x:
    molar_mass: 500 g/mol
    clearance: 10 L/h
    half_lives: [2 h]
    dosing: mg
    source: label of x
    levels:
      x_inside:
        half_life: 6 h
        loading: {saturates_at: 4 umol/L}
        shape: {hill: {half: 0.2, power: 2}, class: measured, source: a titration}
        class: assumption
        source: half-life of x inside
      x_late: {half_life: 30 h, source: assumption}
    effects:
      - kills: ["blast[phase=s]", t]
        rate: 2 /day
        level: x_inside
        class: calibrated
        source: day-16 blasts
        in: dish
      - name: x spares few
        kills: blast
        rate: 1 /day
        shape: {step: {at: 1 umol/L, below: 0, above: 1}}
        source: assumption
        modifiers: [{counter: hits, shape: {step: {at: 1}}, class: measured, source: a count}]
        switch: spare
      - {multiplies: [blasts divide, x kills t], level: x_late, shape: {inverse_hill: {half: 3 umol/L}}, source: a culture}
      - {adds_to: csf, rate: 3 pg/mL/h, shape: {linear: {slope: 0.5 L/umol}}, source: assumption}
protocol:
  - {at: 1 h, give: x, dose: 100 mg}
"""
BY_HAND = """
signals:
  csf: {unit: pg/mL, initial: 5, production: 2 /h, clearance: 1 /h, source: assumption}
  x_inside: {metabolite: {made_from: x, loading: {saturates_at: 4 umol/L}, half_life: 6 h}, class: assumption, source: half-life of x inside}
  x_late: {metabolite: {made_from: x, half_life: 30 h}, source: assumption}
  x_level: {concentration_of: x, source: label of x}
drugs:
  x: {molar_mass: 500 g/mol, clearance: 10 L/h, half_lives: [2 h], dosing: mg, source: label of x}
rules:
  - name: blasts divide
    divide: blast -> blast + blast
    rate: 0.1 /h
    source: assumption
    modifiers: [{signal: x_late, shape: {inverse_hill: {half: 3 umol/L}}, class: measured, source: a culture}]
  - name: x kills blast[phase=s]
    die: blast[phase=s]
    rate: 2 /day
    class: calibrated
    source: day-16 blasts
    in: dish
    modifiers: [{signal: x_inside, shape: {hill: {half: 0.2, power: 2}}, class: measured, source: a titration}]
  - name: x kills t
    die: t
    rate: 2 /day
    class: calibrated
    source: day-16 blasts
    in: dish
    modifiers:
      - {signal: x_inside, shape: {hill: {half: 0.2, power: 2}}, class: measured, source: a titration}
      - {signal: x_late, shape: {inverse_hill: {half: 3 umol/L}}, class: measured, source: a culture}
  - name: x spares few
    die: blast
    rate: 1 /day
    source: assumption
    modifiers:
      - {signal: x_level, shape: {step: {at: 1 umol/L, below: 0, above: 1}}}
      - {counter: hits, shape: {step: {at: 1}}, class: measured, source: a count}
protocol:
  - {at: 1 h, give: x, dose: 100 mg}
"""


def merged(*texts: str, **changes: Any) -> dict[str, Any]:
    """Several texts as one document; rules with a known name replace those before."""
    document: dict[str, Any] = {}
    for text in texts:
        for key, value in read_text(text, "x").plain().items():
            if key == "rules" and key in document:
                mine = {rule["name"]: rule for rule in value}
                kept = [mine.pop(rule["name"], rule) for rule in document[key]]
                document[key] = kept + list(mine.values())
            else:
                document[key] = value
    return document | changes


def loaded(*texts: str, **changes: Any) -> Scenario:
    return load_scenario_text(write(merged(*texts, **changes)))


def by_name(scenario: Scenario) -> dict[str, Rule]:
    return {rule.name: rule for rule in scenario.model.rules}


# ------------------------------------------------------------------ what a block stands for


def test_a_block_is_what_one_would_write_by_hand() -> None:
    block, hand = loaded(WORLD, DRUG), loaded(WORLD, BY_HAND)
    assert block.model.rules == hand.model.rules
    first, *others = block.model.signals
    assert tuple(others) == hand.model.signals[1:]
    # what a drug adds to a signal has no other way to be written
    (source,) = first.inputs
    assert (source.signal, source.rate, source.number_class) == ("x_level", 3.0, "assumption")
    assert (block.drugs, block.doses) == (hand.drugs, hand.doses)


def test_a_block_gives_the_bits_of_what_is_written_by_hand() -> None:
    def course(text: str) -> str:
        document = merged(WORLD, text)
        for drug in document["drugs"].values():
            drug["effects"] = [e for e in drug.get("effects", []) if "adds_to" not in e]
        simulation = Simulation(load_scenario_text(write(document)))
        simulation.advance("1 d")
        return simulation.digest()

    assert course(DRUG) == course(BY_HAND)
    assert course(DRUG.replace("rate: 2 /day", "rate: 3 /day")) != course(BY_HAND)


def shipped_as_blocks() -> dict[str, Any]:
    """The shipped model with the rules of its two oldest drugs moved into their blocks."""
    document = read_file(MARROW).plain()
    for drug, signal in (("cytarabine", "ara_ctp"), ("mitoxantrone", "mitoxantrone_level")):
        rules = [r for r in document["rules"] if r["name"].startswith(f"{drug} kills")]
        assert len(rules) in (8, 9)
        effects = []
        for rule in rules:
            law, *others = rule["modifiers"]
            shape = law["shape"] | {"class": law["class"], "source": law["source"]}
            effect = {key: rule[key] for key in ("name", "rate", "class", "source")}
            effect |= {"kills": rule["die"], "level": signal, "shape": shape, "modifiers": others}
            effects.append(effect)
        document["drugs"][drug]["effects"] = effects
        document["rules"] = [r for r in document["rules"] if r not in rules]
    document["patient"] = {"height": "170 cm", "weight": "70 kg"}
    document["protocol"] = [
        {"at": "0 h", "give": "cytarabine", "dose": "100 mg/m^2", "over": "1 h"},
        {"at": "0 h", "give": "mitoxantrone", "dose": "8 mg/m^2"},
    ]
    return document


def test_rules_of_the_shipped_drugs_as_blocks_are_the_same_rules() -> None:
    before = by_name(load_scenario("marrow"))
    scenario = load_scenario_text(write(shipped_as_blocks()))
    assert by_name(scenario) == before
    assert scenario.model.signals == load_scenario("marrow").model.signals
    # negative control: one number of one effect
    document = shipped_as_blocks()
    document["drugs"]["cytarabine"]["effects"][3]["rate"] = "10.1 /day"
    assert by_name(load_scenario_text(write(document))) != before


# ------------------------------------------------------------------ given or not


def test_drugs_that_are_not_given_leave_no_trace() -> None:
    document = read_file(MARROW).plain()
    full = load_scenario_text(write(document)).model
    for drug in document["drugs"].values():
        drug.pop("effects", None), drug.pop("levels", None)
    assert load_scenario_text(write(document)).model == full
    without = loaded(WORLD, DRUG, protocol=[])
    assert [rule.name for rule in without.model.rules] == ["blasts divide", "t cells die"]
    assert [signal.name for signal in without.model.signals] == ["csf"]
    assert not without.model.signals[0].inputs


def test_rules_may_name_the_level_of_a_drug_that_is_not_given() -> None:
    synergy = (
        DRUG
        + """
rules:
  - name: t cells die
    die: t
    rate: 1 /day
    source: assumption
    modifiers: [{signal: x_late, shape: {linear: {slope: 1, intercept: 1}}}]
"""
    )
    scenario = loaded(WORLD, synergy, protocol=[])
    assert [signal.name for signal in scenario.model.signals] == ["csf", "x_late"]
    assert loaded(WORLD, synergy).model.signals[2].name == "x_late"


def test_a_drug_is_added_by_a_scenario_and_by_an_override(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(WORLD)
    (tmp_path / "laid_over.yaml").write_text(f"model: model.yaml\n{DRUG}")
    laid_over = load_scenario(tmp_path / "laid_over.yaml")
    assert laid_over.model.rules == loaded(WORLD, DRUG).model.rules
    head, _, block = DRUG.partition("drugs:\n  x:\n")
    block, _, tail = block.partition("protocol:")
    moved = f"model: model.yaml\n{head}override:\n  drugs.x:\n{block}protocol:{tail}"
    (tmp_path / "override.yaml").write_text(moved)
    assert load_scenario(tmp_path / "override.yaml").model == laid_over.model
    sets = [
        "drugs.x.effects.0.rate=5 /day",
        "drugs.x.effects.x spares few.rate=7 /day",
        "drugs.x.levels.x_inside.half_life=12 h",
        "switches.spare=off",
    ]
    changed = load_scenario(tmp_path / "laid_over.yaml", overrides=sets)
    assert by_name(changed)["x kills t"].rate == pytest.approx(5 / 24)
    assert "x spares few" not in by_name(changed)
    switched_on = load_scenario(tmp_path / "laid_over.yaml", overrides=sets[:3])
    assert by_name(switched_on)["x spares few"].rate == pytest.approx(7 / 24)
    inside = next(s for s in changed.model.signals if s.name == "x_inside")
    assert inside.clearance == pytest.approx(0.6931472 / 12)


def test_the_resolved_text_keeps_the_block() -> None:
    scenario = loaded(WORLD, DRUG)
    again = load_scenario_text(scenario.resolved_text)
    assert again == scenario
    assert "effects" in scenario.model_text and "x kills t" not in scenario.model_text.replace(
        "[blasts divide, x kills t]", ""
    ).replace('["blasts divide", "x kills t"]', "")


def test_read_back_as_english() -> None:
    lines = describe(loaded(WORLD, DRUG).model)
    text = "\n".join(lines)
    assert "x kills t: every t dies in dish at 2 /day" in text
    assert "plus 3 pg/mL/h times a factor 0 +0.5 per umol/L" in text
    assert "x_late: follows the plasma level of x at 0.0231 /h." in text
    # 5 rules, 6 modifiers, 4 signals and an input
    assert len(number_classes(loaded(WORLD, DRUG).model)) == 16


# ------------------------------------------------------------------ mistakes

#: (what is written, what is written instead, what the only complaint must say)
MISTAKES = [
    ("kills: blast\n", "kils: blast\n", "x spares few.kils: unknown key 'kils'; did you mean 'kills'"),
    ("kills: blast\n", "kills: blst\n", "x spares few.kills: unknown cell type or set 'blst'"),
    ("phase=s]\", t]", "phase=x]\", t]", "effects.0.kills.0: axis 'phase' of 'blast' has no value"),
    ("rate: 2 /day", "rate: 2 um", "drugs.x.effects.0.rate: expected a rate"),
    ("rate: 2 /day", "rate: -2 /day", "drugs.x.effects.0.rate: expected a rate"),
    ("        rate: 2 /day\n", "", "drugs.x.effects.0: missing 'rate' beside kills"),
    ("level: x_inside", "level: x_insid", "effects.0.level: unknown level 'x_insid'; did you mean"),
    ("hill: {half: 0.2", "hill: {half: 0", "levels.x_inside.shape.hill: expected 'half' above 0"),
    ("hill: {half: 0.2", "hil: {half: 0.2", "levels.x_inside.shape.hil: unknown key 'hil'"),
    ("half_life: 6 h", "half_life: 0 h", "levels.x_inside.half_life: expected a 'half_life' above 0"),
    ("x_late: {half_life: 30 h, ", "x_late: {", "levels.x_late: expected a 'half_life' above 0, got none"),
    ("half: 3 umol/L}", "half: 3 um}", "effects.2.shape.inverse_hill.half: expected a quantity in umol/L"),
    (", shape: {inverse_hill: {half: 3 umol/L}}", "", "effects.2: missing 'shape', here or in the level"),
    ("[blasts divide,", "[blasts devide,", "effects.2.multiplies.0: unknown rule 'blasts devide'; did"),
    ("adds_to: csf", "adds_to: cfs", "effects.3.adds_to: unknown signal 'cfs'; did you mean 'csf'?"),
    ("adds_to: csf", "adds_to: x_late", "expected a signal that is made and cleared, 'x_late' is"),
    ("adds_to: csf,", "adds_to: csf, level: csf,", "effects.3.level: expected a level of a drug"),
    ("rate: 3 pg/mL/h", "rate: -3 pg/mL/h", "effects.3.rate: expected a rate of 0 or more"),
    ("rate: 3 pg/mL/h", "rate: 3 um/h", 'effects.3.rate: expected "2 /h" or "2 pg/mL/h"'),
    ("{multiplies:", "{rate: 1 /h, multiplies:", "effects.2.rate: expected 'rate' only beside kills or"),
    ("{adds_to: csf,", "{kills: t, adds_to: csf,", "effects.3: expected one of kills, multiplies, adds_to"),
    ("name: x spares few", "name: t cells die", "'t cells die' is taken in line"),
    ("in: dish", "in: dsh", "effects.0.in: unknown compartment 'dsh'; did you mean 'dish'?"),
    ("counter: hits", "counter: hit", "modifiers.0.counter: 'blast' has no counter 'hit'"),
    ("switch: spare", "switch: spar", "x spares few.switch: unknown switch 'spar'"),
    ("class: calibrated", "class: fitted", "effects.0.class: expected measured, derived, calibrated or"),
    ("        source: day-16 blasts\n", "", "drugs.x.effects.0: missing 'source'"),
]  # fmt: skip


def problems_of(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        load_scenario_text(text, name="file.yaml")
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("is_given", [True, False], ids=["given", "not given"])
@pytest.mark.parametrize(("good", "bad", "words"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_a_mistake_is_said_once_at_its_line(
    good: str, bad: str, words: str, is_given: bool
) -> None:
    text = WORLD + (DRUG if is_given else DRUG[: DRUG.index("protocol:")])
    assert good in text
    at = text.index(good)
    text = text.replace(good, bad, 1)
    (message,) = problems_of(text)
    assert words in message, message
    line = int(message.split(":")[1])
    assert line > text[: text.index("drugs:")].count("\n")
    if "\n" not in good:
        assert line == text[: at + 1].count("\n") + 1


def test_several_kills_have_no_name_in_common_and_all_mistakes_are_said() -> None:
    text = WORLD + DRUG.replace(
        '- kills: ["blast[phase=s]", t]', '- name: both\n        kills: ["blast[phase=s]", t]'
    ).replace("level: x_late", "level: x_lat").replace("adds_to: csf", "adds_to: cfs")
    messages = problems_of(text)
    assert "expected 'name' only where one pattern is killed" in messages[0]
    assert any("unknown level 'x_lat'" in message for message in messages)
    assert any("unknown signal 'cfs'" in message for message in messages)


def test_a_plasma_level_written_by_hand_is_that_of_the_block() -> None:
    hand = DRUG.replace("drugs:", "  x_level: {concentration_of: x, source: hand}\ndrugs:")
    scenario = loaded(WORLD, hand)
    assert [s.name for s in scenario.model.signals] == ["csf", "x_level", "x_inside", "x_late"]
    other = DRUG.replace("drugs:", "  x_level: {initial: 1, source: hand}\ndrugs:")
    (message,) = problems_of(WORLD + other)
    assert "expected a signal of its own, 'x_level' is taken in line" in message


def test_a_level_may_not_have_the_name_of_a_signal() -> None:
    (message,) = problems_of(WORLD + DRUG.replace("x_late", "csf"))
    assert "drugs.x.levels.csf: expected a signal of its own, 'csf' is taken in line" in message


def test_an_effect_may_hang_on_any_signal() -> None:
    text = DRUG.replace(
        "level: x_late, shape: {inverse_hill: {half: 3 umol/L}}",
        "level: csf, shape: {inverse_hill: {half: 3 pg/mL}}",
    )
    divides = by_name(loaded(WORLD, text))["blasts divide"]
    assert [m.target for m in divides.modifiers] == ["csf"]


def test_two_drugs_may_not_share_a_level() -> None:
    document = merged(WORLD, DRUG)
    document["drugs"]["y"] = copy.deepcopy(document["drugs"]["x"])
    document["drugs"]["y"]["effects"] = []
    del document["drugs"]["y"]["levels"]["x_inside"]
    (message,) = problems_of(write(document))
    assert "drugs.y.levels.x_late: expected a signal of its own, 'x_late' is taken" in message


def test_any_mangled_block_ends_in_a_scenario_error() -> None:
    base = merged(WORLD, DRUG)
    paths = list(places(base["drugs"], ("drugs",)))
    assert check_mangled(base, paths, random.Random(5)) > len(paths) / 2
