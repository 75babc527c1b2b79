"""Every mistake named with file, line, column, what was expected and what was found."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from everything import EVERYTHING
from mangling import check_mangled, places

from mst_abm.errors import ScenarioError
from mst_abm.scenario import load_scenario, load_scenario_text
from mst_abm.scenario.document import read_text


def _messages(text: str, **options) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        load_scenario_text(text, name="file.yaml", **options)
    assert str(error.value).splitlines() == [str(p) for p in error.value.problems]
    return str(error.value).splitlines()


#: (what is written, what is written instead, what the message must contain)
MISTAKES = [
    ("place: {push: 4}", "plaec: {push: 4}", "unknown key 'plaec'; did you mean 'place'?"),
    ("seed: 7", "sede: 7", "run.sede: unknown key 'sede'; did you mean 'seed'?"),
    ("patient_defaults", "patient_default", "unknown section 'patient_default'; did you mean"),
    ("dose: 100 mg/m^2", "dose: 2 mg/kg", "expected a dose in mg/m^2 (or per day with 'for')"),
    ("rate: 12 /day", "rate: -12 /day", 'such as "0.5 /day", of 0 or more, got "-12 /day"'),
    ("rate: 12 /day", "rate: 12 um", 'expected a rate such as "0.5 /day", got "12 um"'),
    ("rate: 12 /day", "rate: no", 'got "no"'),
    ("rate: 12 /day, ", "", "missing 'rate'"),
    ("source: assumption, in: marrow", "in: marrow", "missing 'source'; expected where"),
    ("die: leukaemia", "die: leukemia", "unknown cell type or set 'leukemia'; did you mean"),
    ("die: leukaemia", "die: blast -> t", "without '->'"),
    ("die: leukaemia", "move: sinusoid", "'sinusoid' is static"),
    ("[leukaemia, ", "[leukemia, ", "sets.targets.0: unknown cell type or set 'leukemia'"),
    ("leukaemia: [blast]", "leukaemia: [targets]", "sets that do not contain themselves"),
    (
        'near: "t[status=eff]"',
        'near: "t[state=eff]"',
        "has no axis 'state'; did you mean 'status'?",
    ),
    ('near: "t[status=eff]"', 'near: "t[status=ef]"', "has no value 'ef'; did you mean 'eff'?"),
    ("in: blood, rate", "in: blod, rate", "unknown compartment 'blod'; did you mean 'blood'?"),
    ("leave: t -> marrow", "leave: t -> marow", "unknown compartment 'marow'"),
    ("{signal: csf", "{signal: cfs", "unknown signal 'cfs'; did you mean 'csf'?"),
    ("give: cytarabine", "give: citarabine", "unknown drug 'citarabine'; did you mean"),
    ("concentration_of: cytarabine", "concentration_of: araC", "unknown drug 'araC'"),
    ("made_from: cytarabine", "made_from: araC", "unknown drug 'araC'"),
    ("partner: {hits: +1}", "partner: {hit: +1}", "no axis or counter 'hit'; did you mean 'hits'?"),
    ("{signal: csf, shape", "{counter: hits, shape", "'t' has no counter 'hits'"),
    ("switch: ifng", "switch: infg", "unknown switch 'infg'; did you mean 'ifng'?"),
    ("at: 2 d, infuse", "at: 4 d, infuse", "expected a time before the end of the run at 4 d"),
    ("times: 2", "times: 4", "number 4 of 4, 4 d"),
    ("infuse: donor", "infuse: dono", "unknown graft 'dono'; did you mean 'donor'?"),
    (", cd3_per_kg: 1e8", "", "missing 'cd3_per_kg' (cells per kg)"),
    ("cd3_per_kg: 1e8", "cd34_per_kg: 1e8", "unknown key 'cd34_per_kg'; did you mean"),
    ("fraction: 0.1", "fraction: 0.9", "occupancy 1.07"),
    ("fraction: 0.1", "fraction: 1.9", "between 0 and 1"),
    ("fraction_of: gvh", "fraction_of: gvx", "unknown fraction 'gvx'; did you mean 'gvh'?"),
    ("probability: 0.8", "probability: 0.95", "probabilities of at most 1 in all, got 1.05"),
    ("push: 4", "push: 5", "expected a push of 1 to 4 sites, got 5"),
    ("within: 4", "within: 6", "expected a number of at most 5, got 6"),
    ("n: {max: 3", "n: {max: 40000", "fit into 16 bits together, got 18"),
    ("initial: uniform", "initial: 4", "expected a number from 0 to 3, got 4"),
    ("initial: [2, 1, 1]", "initial: [2, 1]", "expected 3 weights"),
    ("arrive: t, in", 'arrive: "t[status=eff]", in', "t[status=rest] would wait at the lattice"),
    ("{half: 2}", "{half: 2, bottom: -0.5}", "this one reaches -0.5"),
    ("{half: 2}", "{half: 0}", "expected 'half' above 0"),
    ("inverse_hill: {half: 2}", "linear: {slope: -1, low: -1}", "this one reaches -1"),
    ("inverse_hill: {half: 2}", "table: {x: [0, 1], y: [1, -1]}", "y of 0 or more"),
    ("inverse_hill: {half: 2}", "table: {x: [1, 0], y: [1, 1]}", "expected x to increase"),
    ("half: 1 ng/mL", "half: 1 um", "a quantity in pg/mL"),
    ("within: 4, shape", "gradient: x, shape", "'gradient' (a factor from a gradient) is not"),
    ("block: 5", "block: 4", "divides every side of 'marrow' (1, 2, 5, 10), got 4"),
    ("in: marrow\n    block", "in: blood\n    block", "expected a lattice, 'blood' is mixed"),
    ("100 um^2/s", "100 um/s", "expected a diffusion constant"),
    ("half: 0.1 ng/mL/um", "half: 0.1 ng/mL", "expected a gradient such as"),
    ("strength: 0.5", "strength: 5", "expected a number of at most 1.0, got 5"),
    (
        "{field: scent, strength",
        "{field: sent, strength",
        "unknown field 'sent'; did you mean 'scent'?",
    ),
    ("at: 30 pg/mL", "at: 30 um", "a quantity in ng/mL"),
    ("{at: 2 d, infuse", "{when: {anc: 1}, infuse", "unknown observable 'anc'"),
    ("fractions: [0.3, 0.7]", "fractions: [0.3, 0.6]", "fractions that add up to 1, got 0.9"),
    ("molar_mass: 243.2 g/mol", "molar_mass: 243.2", "expected a molar mass"),
    ("[A*02:01]", "[A2]", 'expected an HLA allele such as "A*02:01", got "A2"'),
    ("stands_for: 1 mm^3", "stands_for: 1 um^3", "expected at least the"),
    (", stands_for: 5 L", "", "'stands_for: 5 L' in compartment 'blood'"),
    ("[10, 10, 10]", "[10, 10, 2]", "expected a number of at least 3, got 2"),
    ("blood.t[status=rest]", "marrow.t[status=rest]", "'marrow' is a lattice"),
    ("name: dies", "name: hits", "expected a name of its own, 'hits' is taken"),
    ("weight: 80 kg", "weight: 80 mg", "expected a weight"),
    ("identity: on", "identity: maybe", "expected on or off"),
    ("below: 2,", "below: 20,", "expected more than 'below', 20 cells, got 8"),
    ('rare: {cells: "t', 'rare: {cells: "tt', "unknown cell type or set 'tt'"),
    ('rare: {cells: "t[status=rest]"', "rare: {cells: sinusoid", "got the static type 'sinusoid'"),
    ('[status=rest]", in: marrow', '[status=rest]", in: marow', "unknown compartment 'marow'"),
    ("on: [empty, blast], ", "on: [empty, blas], ", "unknown cell type or set 'blas'"),
    ("at: {next_to: sinusoid}, switch", "at: {next_to: t}, switch", "expected a static cell type"),
    ("above: 8,", "abov: 8,", "unknown key 'abov'; did you mean 'above'?"),
]


@pytest.mark.parametrize(("good", "bad", "words"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_each_mistake_is_named_where_it_stands(good: str, bad: str, words: str) -> None:
    assert good in EVERYTHING
    messages = _messages(EVERYTHING.replace(good, bad, 1))
    hits = [message for message in messages if words in message]
    assert hits, "\n".join(messages)
    match = re.match(r"file\.yaml:(\d+):(\d+): ", hits[0])
    assert match, hits[0]
    assert len(messages) == 1, "\n".join(messages)


def test_line_and_column_are_those_of_the_value() -> None:
    text = EVERYTHING.replace("die: leukaemia", "die: leukemia")
    line = next(i for i, t in enumerate(text.splitlines(), 1) if "leukemia," in t)
    column = text.splitlines()[line - 1].index("leukemia,") + 1
    assert _messages(text)[0].startswith(f"file.yaml:{line}:{column}: rules.dies.die: unknown")


def test_all_mistakes_at_once_in_order() -> None:
    text = EVERYTHING
    for good, bad in (
        ("rate: 12 /day", "rate: -12 /day"),
        ("die: leukaemia", "die: leukemia"),
        ("push: 4", "push: 9"),
        ("seed: 7", "sede: 7"),
    ):
        text = text.replace(good, bad)
    messages = _messages(text)
    assert len(messages) == 4
    lines = [int(message.split(":")[1]) for message in messages]
    assert lines == sorted(lines)


def test_a_broken_definition_is_reported_once_not_at_every_use() -> None:
    messages = _messages(EVERYTHING.replace("blast:\n    axes: {phase", "blast:\n    axs: {phase"))
    assert any("unknown key 'axs'; did you mean 'axes'?" in message for message in messages)
    messages = _messages(EVERYTHING.replace("max: 2, initial: [2, 1, 1]", "max: 2, initial: [1]"))
    assert len(messages) == 1


def test_tab_duplicate_key_and_syntax() -> None:
    (tab,) = _messages("types:\n\tblast: {}\n")
    assert tab == "file.yaml:2:1: a tab in the indentation; expected spaces only"
    doubled = _messages("types: {a: {}}\nrun: {seed: 1, seed: 2}\ntypes: {}\n")
    assert doubled == [
        "file.yaml:2:16: duplicate key 'seed', already given in line 2",
        "file.yaml:3:1: duplicate key 'types', already given in line 1",
    ]
    (syntax,) = _messages("rules:\n  - {name: a, die: blast[phase=s], rate: 1 /h}\n")
    assert syntax.startswith("file.yaml:2:")
    assert "put quotes around a pattern" in syntax
    assert _messages("") == ["file.yaml: the file is empty"]
    assert "expected sections" in _messages("- a\n")[0]


def test_missing_files_and_models(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file"):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(ScenarioError, match="did you mean 'marrow'"):
        load_scenario("marow")
    file = tmp_path / "mine.yaml"
    file.write_text("run: {until: 1 d}\nmodel: bax\n")
    with pytest.raises(ScenarioError, match=r"mine\.yaml:2:8: model: no model or file 'bax'"):
        load_scenario(file)


def test_mistakes_in_the_model_file_name_that_file(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(EVERYTHING.replace("push: 4", "push: 7"))
    (tmp_path / "mine.yaml").write_text("model: model.yaml\nrun: {sede: 1}\n")
    with pytest.raises(ScenarioError) as error:
        load_scenario(tmp_path / "mine.yaml")
    assert {Path(p.file).name for p in error.value.problems} == {"model.yaml", "mine.yaml"}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("run.until", "expected NAME=VALUE"),
        ("rum.until=1 d", "unknown section 'rum'; did you mean 'run'?"),
        ("rules.prey dyes.rate=1 /h", "'rules' has no 'prey dyes'; did you mean 'prey dies'?"),
        ("rules.prey dies.rate=-1 /h", "rules.prey dies.rate: expected a rate"),
        ("compartments.bx.patches=2", "'compartments' has no 'bx'; did you mean 'box'?"),
        ("run.sede=1", "unknown key 'sede'"),
        ("run.seed=[1", "not YAML"),
    ],
)
def test_overrides_are_checked_and_named(override: str, words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load_scenario("box", overrides=[override])
    message = str(error.value)
    assert message.startswith(f"--set {override}")
    assert words in message


def test_any_mangled_file_ends_in_a_scenario_error() -> None:
    base, draw = read_text(EVERYTHING, "x").plain(), random.Random(5)
    paths = draw.sample(list(places(base)), 120)
    assert check_mangled(base, paths, draw) > 60


def test_a_switch_that_nothing_hangs_on_is_a_slip(tmp_path) -> None:
    """In a scenario or on the command line; a model may declare one before it needs it."""
    with pytest.raises(ScenarioError, match=r"--set switches.rvtt=on.*did you mean 'rvt'\?"):
        load_scenario("marrow", overrides=["switches.rvtt=on"])
    path = tmp_path / "slip.yaml"
    path.write_text("model: marrow\nswitches: {gvt: off}\n")
    with pytest.raises(ScenarioError, match=r"slip.yaml:2:12: switches.gvt: unknown switch 'gvt'"):
        load_scenario(path)
    load_scenario("marrow", overrides=["switches.rvt=on"])
