"""Files to Model and Scenario: the values, the merging, the switches, and reading back."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

import pytest
from everything import EVERYTHING

from mst_abm.clinic.protocol import Dose
from mst_abm.model.definition import Modifier, Pattern, PatternTerm, Product, Shape
from mst_abm.model.english import count_assumptions, read_back
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import (
    document,
    json_schema,
    load_scenario,
    load_scenario_text,
    loading,
    shipped_models,
)
from mst_abm.scenario.definition import Scenario

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def everything() -> Scenario:
    return load_scenario_text(EVERYTHING)


def _rule(scenario: Scenario, name: str):
    return next(rule for rule in scenario.model.rules if rule.name == name)


def test_box_is_as_written() -> None:
    model = load_scenario("box").model
    prey = Pattern((PatternTerm("prey"),), "prey")
    divides, dies, moves, kills = model.rules
    assert (divides.verb, divides.actor, divides.rate) == ("divide", prey, 0.5)
    assert divides.outcomes[0].products == (Product("species", "prey", text="prey"),) * 2
    assert (dies.verb, dies.rate, dies.outcomes[0].products) == ("die", 0.05, ())
    assert (moves.verb, moves.compartments) == ("move", ("box",))
    assert kills.partner == prey
    assert [p.kind for p in kills.outcomes[0].products] == ["species", "empty"]
    box = model.compartments[0]
    assert (box.shape, box.neighbours, box.is_periodic) == ((3, 3), 4, (True, True))
    assert [(i.species[0][0].type, i.amount) for i in model.initial] == [("prey", 3), ("killer", 2)]


def test_types_and_counters(everything: Scenario) -> None:
    blast, t, sinusoid = everything.model.types
    assert blast.axes == {"phase": ("g0", "s")}
    assert [c.initial for c in blast.counters] == [(0.5, 0.25, 0.25), (0.25,) * 4]
    assert blast.counters[0].on_division == "zero"
    assert t.counters == ()
    assert sinusoid.is_static


def test_rules(everything: Scenario) -> None:
    assert _rule(everything, "dies").rate == 0.5
    assert _rule(everything, "dies").number_class == "assumption"
    assert _rule(everything, "dies").compartments == ("marrow",)
    pushes = _rule(everything, "pushes")
    assert (pushes.placement, pushes.push, pushes.rate) == ("push", 4, 1e-3)
    hits = _rule(everything, "hits")
    assert [o.probability for o in hits.outcomes] == [0.8, 0.1]
    assert hits.outcomes[1].products[1].counters == (("hits", "add", 1),)
    assert hits.outcomes[1].products[0].kind == "same"
    assert dict(hits.modifiers[0].shape.parameters)["half"] == pytest.approx(1000.0)  # pg/mL
    assert (hits.modifiers[1].source, hits.modifiers[1].within) == ("near", 4)
    leaves = _rule(everything, "leaves")
    assert (leaves.compartments, leaves.outcomes[0].destination) == (("blood",), "marrow")
    # a default never includes the compartment the cells go to
    assert _rule(everything, "sheds").compartments == ("marrow",)
    assert _rule(everything, "sheds").emits[2] == 30
    at_site = (("slope", 1.0), ("intercept", 0.0), ("low", 0.0), ("high", 1.0))
    expected = Modifier("site", Shape("linear", at_site), "sinusoid")
    assert _rule(everything, "settles").modifiers == (expected,)
    drips = _rule(everything, "drips")
    assert (drips.is_from_outside, drips.batch) == (True, 3)


def test_switches_drop_rules_and_modifiers() -> None:
    names = [rule.name for rule in load_scenario_text(EVERYTHING).model.rules]
    assert "walks" not in names
    other = load_scenario_text(EVERYTHING, overrides=["switches.spare=on", "switches.ifng=off"])
    assert _rule(other, "walks").swap_with.text == "blast"
    assert len(_rule(other, "hits").modifiers) == 1


OPTIONAL = """
types: {cell: {}, helper: {}}
switches: {help: off}
signals:
  helpers: {yields: [{of: b.helper, rate: 1 /h, relative_to: 1e9 cells}], switch: help, source: p}
  factor: {yields: [{of: b.helper, rate: 1 /h, relative_to: 1e9 cells, switch: help}], source: p}
observables:
  helper_cells: {of: b.helper, relative_to: 1 cell, switch: help, source: p}
  helper_level: {signal: helpers, times: 2, source: p}
rules: [{name: dies, die: cell, rate: 1 /h, source: p, modifiers: [{signal: helpers, shape: {hill: {half: 1}}}]}]
compartments: {b: {mixed: {}}}
initial: {b: [{cells: cell, number: 5}, {cells: helper, number: 5, switch: help}]}
grafts: {donor: [{per: cd3_per_kg, into: b, cells: helper, switch: help}]}
patient: {weight: 60 kg}
donor: {cd3_per_kg: 1}
protocol: [{at: 1 h, infuse: donor}]
"""


@pytest.mark.parametrize("switch", ["on", "off"])
def test_what_an_optional_mechanism_needs_comes_and_goes_with_it(switch: str) -> None:
    scenario = load_scenario_text(OPTIONAL, overrides=[f"switches.help={switch}"])
    n = int(switch == "on")
    model = scenario.model
    assert [len(model.signals), len(model.initial)] == [1 + n, 1 + n]
    # what a laboratory reads of a signal goes with the signal
    assert len(scenario.observables) == 2 * n
    (factor,) = (s for s in model.signals if s.name == "factor")
    assert len(factor.yields) == n
    assert sum(len(infusion.cells) for infusion in scenario.infusions) == n
    # a modifier goes with the signal that it reads
    assert len(_rule(scenario, "dies").modifiers) == n
    assert Simulation(scenario, seed=1).counts["b"].sum() == 5 + 5 * n


DEFAULTS = """
types:
  root: {}
  stem: {axes: {phase: [g1, s], origin: [host, donor]}, defaults: {origin: host}}
  blood: {axes: {origin: [host, donor]}, defaults: {origin: host}}
  pot: {axes: {origin: [host, donor]}}
rules:
  - {name: sprouts, become: "root -> stem[phase=g1]", rate: 1 /h, source: p}
  - {name: cycles, become: "stem[phase=g1] -> stem[phase=s]", rate: 1 /h, source: p}
  - {name: divides, divide: "stem[phase=s] -> stem[phase=g1] + blood", rate: 1 /h, source: p}
compartments: {b: {mixed: {}}}
initial: {b: {root: 3, "stem[phase=g1]": 5, "stem[phase=g1,origin=donor]": 2}}
"""


def test_an_axis_with_a_default_goes_without_saying() -> None:
    host = ["empty", "root", "stem[phase=g1]", "stem[phase=s]", "blood"]
    both = load_scenario_text(DEFAULTS)
    names = Simulation(both).compiled.species_names
    donor = ["stem[phase=g1, origin=donor]", "stem[phase=s, origin=donor]", "blood[origin=donor]"]
    assert set(names) == {*host, *donor}
    # what is made of a donor's cell is the donor's; what comes from a type without the axis has the default
    made = {(t.rule, t.actor): t.products for t in Simulation(both).compiled.tallies}
    assert made["divides", "stem[phase=s, origin=donor]"].endswith("blood[origin=donor]")
    assert made["sprouts", "root"] == "stem[phase=g1]"
    alone = load_scenario_text(DEFAULTS.replace(', "stem[phase=g1,origin=donor]": 2', ""))
    assert Simulation(alone).compiled.species_names == host


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        (
            "defaults: {origin: host}}\n  blood",
            "defaults: {origin: guest}}\n  blood",
            "expected one of host, donor, got .guest.",
        ),
        (
            "defaults: {origin: host}}\n  blood",
            "defaults: {source: host}}\n  blood",
            "expected one of phase, origin, got .source.",
        ),
        ("root: 3", "root: 3, pot: 1", "leaves the axis 'origin' of 'pot' open"),
    ],
)
def test_mistakes_in_defaults_are_named(good: str, bad: str, words: str) -> None:
    assert good in DEFAULTS
    with pytest.raises(ValueError, match=words):
        load_scenario_text(DEFAULTS.replace(good, bad))


def test_signals(everything: Scenario) -> None:
    csf, plasma, ctp = everything.model.signals
    assert (csf.unit, csf.production, csf.clearance) == ("pg/mL", 2.0, 1.0)
    assert csf.yields[0][0] == pytest.approx(3000.0)
    assert (csf.yields[0][1].measure, csf.yields[0][1].relative_to) == ("cells", 1e9)
    assert csf.clearances[0][0] == pytest.approx(1.0)
    assert csf.clearances[0][1].relative_to == pytest.approx(4e-6)  # per um^3
    assert (csf.saturable_maximum, csf.saturable_half) == (1.0, 3.0)
    assert (plasma.kind, plasma.drug, plasma.unit) == ("drug", "cytarabine", "umol/L")
    assert (ctp.kind, ctp.saturates_at) == ("metabolite", 8.1)
    assert ctp.clearance == pytest.approx(math.log(2) / 3.5)


def test_spaces(everything: Scenario) -> None:
    marrow, blood = everything.model.compartments
    assert marrow.is_periodic == (True, True, False)
    assert marrow.volume == pytest.approx(1e9)
    assert marrow.share == pytest.approx(2 * 1000 * 512 / 1e9)
    assert blood.share == marrow.share
    tubes, mix, t, in_blood = everything.model.initial
    assert (tubes.placement, tubes.spacing, tubes.radius) == ("tubes", 40.0, 8.0)
    assert [weight for _, weight in mix.species] == [2.0, 1.0]
    assert mix.counters[0] == ("hits", pytest.approx((1 / 3,) * 3))
    # the donor, homozygous, shows the host nothing foreign: the floor of minor antigens remains
    assert t.amount == pytest.approx(8e-5 * (1 - 1e-5))
    assert (in_blood.measure, in_blood.amount) == ("number", 60.0)


def test_patient_and_protocol(everything: Scenario) -> None:
    patient = everything.patient
    assert (patient.age_y, patient.weight_kg, patient.bsa_m2) == (30.0, 80.0, 2.0)
    assert everything.doses == tuple(Dose("cytarabine", 24.0 * i, 1.0, 200.0) for i in (1, 2))
    infusion = everything.infusions[0]
    assert (infusion.at_h, infusion.label) == (48.0, "donor")
    # 1e8 per kg, 80 kg, half of them, one of two host alleles is foreign to the donor
    assert infusion.cells[0][2] == pytest.approx(1e8 * 80 * 0.5 * 0.05)
    reset = everything.resets[0]
    assert (reset.at_h, reset.compartment, reset.number) == (5.0, "blood", 7.0)
    run = everything.run
    assert (run.until_h, run.seed, run.exchange_h) == (96.0, 7, 0.5)
    assert (run.counts_every_h, run.snapshots_every_h, run.records_identity) == (2.0, 24.0, True)


def test_resolved_text_gives_the_same_scenario(everything: Scenario) -> None:
    again = load_scenario_text(everything.resolved_text)
    assert again == everything
    assert "protocol" not in everything.model_text


def test_overrides_by_name(tmp_path: Path) -> None:
    sets = [
        "rules.prey dies.rate=0.1 /h",
        "override.compartments.box.lattice.shape=[5, 4]",
        "initial.box.prey=5",
        "run.record.snapshots=1 h",
    ]
    scenario = load_scenario("box", overrides=sets)
    assert scenario.model.rules[1].rate == 0.1
    assert scenario.model.compartments[0].shape == (5, 4)
    assert scenario.model.initial[0].amount == 5
    assert scenario.run.snapshots_every_h == 1.0
    file = tmp_path / "mine.yaml"
    file.write_text(
        "model: box\noverride: {rules.killer kills.rate: 3 /h}\nrun: {until: 2 h}\n"
        "rules:\n  - {name: prey dies, die: prey, rate: 0.2 /h, source: t}\n"
        "  - {name: killer dies, die: killer, rate: 0.3 /h, source: t}\n"
    )
    scenario = load_scenario(file)
    assert [r.rate for r in scenario.model.rules] == [0.5, 0.2, 2.0, 3.0, 0.3]
    assert (scenario.name, scenario.run.until_h, scenario.run.exchange_h) == ("mine", 2.0, 1.0)


def test_yaml_1_2_is_read_properly() -> None:
    text = EVERYTHING.replace("rate: 1e-3 /h", "rate: 0.001 /h")
    assert load_scenario_text(text).model == dataclasses.replace(
        load_scenario_text(EVERYTHING).model,
        rules=load_scenario_text(text).model.rules,
    )
    # a bare 1e-3 is a number and "no" a word, not false
    text = EVERYTHING.replace("share: marrow", "share: 1e-3").replace("[g0, s]", "[g0, s, no]")
    scenario = load_scenario_text(text)
    assert scenario.model.compartments[1].share == 1e-3
    assert scenario.model.types[0].axes["phase"] == ("g0", "s", "no")


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_load_and_read_back(name: str) -> None:
    scenario = load_scenario(name)
    assert load_scenario_text(scenario.resolved_text, name=name).model == scenario.model
    assert len(read_back(scenario.model)) == len(scenario.model.rules) + len(
        scenario.model.signals
    ) + len(scenario.model.hazards)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_configs_load(path: Path) -> None:
    assert load_scenario(path).name == path.stem


def test_english(everything: Scenario) -> None:
    sentences = {s.name: s for s in read_back(everything.model)}
    assert str(sentences["dies"]) == "dies: every leukaemia dies in marrow at 12 /day. [assumption]"
    assert "pushing up to 4 cells aside" in sentences["pushes"].text
    assert "with probability 0.8 the first becomes status=eff, the second vanishes" in str(
        sentences["hits"]
    )
    assert "else (0.1) nothing happens" in sentences["hits"].text
    assert "within 4 sites" in sentences["hits"].text
    assert "releases 30 t[status=eff] into blood" in sentences["sheds"].text
    assert "3 t[status=rest] enter blood from outside" in sentences["drips"].text
    assert "plasma level of cytarabine" in sentences["plasma"].text
    # assumptions: one rule, one signal and one field; 9 rules, 3 signals, 4 modifiers, a bias and a field in all
    assert count_assumptions(everything.model) == (3, 18)


def test_json_schema_knows_every_section() -> None:
    schema = json_schema()
    json.dumps(schema)
    assert {"types", "rules", "compartments", "protocol", "run"} <= set(schema["properties"])
    rule = schema["$defs"]["RuleSection"]
    assert {"name", "rate", "source"} == set(rule["required"])
    assert "in" in rule["properties"]


def test_a_large_model_is_read_quickly(monkeypatch) -> None:
    """From its file, not as the other tests get it."""
    monkeypatch.setattr(loading, "read_file", document.read_file)
    load_scenario("box")
    start = time.process_time()
    load_scenario("marrow")
    assert time.process_time() - start < 1.5
