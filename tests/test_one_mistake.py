"""One mistake in a file gives one complaint, at its line; several mistakes are all named at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from everything import EVERYTHING
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from mst_abm.cli import main
from mst_abm.errors import Problem, ScenarioError
from mst_abm.scenario import load_scenario, load_scenario_text

ROOT = Path(__file__).parent.parent


def _with_its_cells(name: str, state: str) -> str:
    """A scenario that begins with a state of the patient's model, with the cells written out."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text("utf-8")
    model = (ROOT / "mst_abm" / "models" / "marrow.yaml").read_text("utf-8")
    cells = model.partition(f"\n  {state}:\n    initial:\n")[2].partition("\n\n")[0]
    assert f"start: {state}\n" in text and cells
    return text.replace(f"start: {state}\n", "") + "\ninitial:\n" + dedent(cells, "    ") + "\n"


def dedent(text: str, margin: str) -> str:
    return "\n".join(line.removeprefix(margin) for line in text.splitlines())


QUICKSTART = _with_its_cells("quickstart", "aml_at_diagnosis")


def problems_of(text: str) -> list[Problem]:
    try:
        load_scenario_text(text, name="file.yaml")
    except ScenarioError as error:
        return error.problems
    return []


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


#: (what is written, what is written instead, what the only complaint must say[, at which text])
IN_QUICKSTART = [
    ("model: marrow", "model: marow", "no model or file 'marow'; did you mean 'marrow'?"),
    ("model: marrow\n", "", "missing 'model'; expected the name of a model", "override:"),
    ("override:", "overide:", "unknown section 'overide'; did you mean 'override'?"),
    ("marrow.lattice.shape", "marow.lattice.shape", "has no 'marow'; did you mean 'marrow'?"),
    ("[48, 48, 48]", "[48, 48]", "expected a shape that goes with neighbours: 6, got [48, 48]"),
    ("[48, 48, 48]", "[48, 48, 48, 48]", "expected at most 3 items, got [48, 48, 48, 48]"),
    ("[48, 48, 48]", "[48, 48, 2]", "expected a number of at least 3, got 2"),
    ("[48, 48, 48]", "[48, 48, many]", 'expected a whole number, got "many"'),
    ("patches: 2", "patches: 2e8", "expected patches that fit stands_for"),
    ("share: 3e-7", "share: -3e-7", "between 0 and 1, got -3e-07"),
    ("patient:\n", "patiend:\n", "unknown section 'patiend'; did you mean 'patient'?"),
    ("  weight: 62 kg\n", "", "expected a patient with height and weight", "patient:"),
    ("height: 165 cm", "heigth: 165 cm", "unknown key 'heigth'; did you mean 'height'?"),
    ("weight: 62 kg", "weight: 62 mg", 'expected a weight such as "62 kg"'),
    ("weight: 62 kg", "weight: 62000 kg", "between 0.5 and 400 kilogram"),
    ("age: 68 y", "age: old", 'expected an age such as "68 y"'),
    ("age: 68 y", "age: 68", "got 68 without a unit"),
    ("hla: [A*02:01, A*24:02", "hla: [A02:01, A*24:02", "expected an HLA allele"),
    ("hla: [A*02:01, A*24:02", "hla: [A*02:01 A*24:02", "expected an HLA allele"),
    ("\n  age: 68 y", "\n\tage: 68 y", "a tab in the indentation; expected spaces only"),
    ("  weight: 62 kg", "  age: 62 y", "duplicate key 'age', already given in line"),
    ("weight: 62 kg", "weight 62 kg", "not YAML", "  hla: [A*02:01, A*24:02"),
    ("donor:  ", "doner:  ", "unknown section 'doner'; did you mean 'donor'?"),
    ("cd3_per_kg", "cd3_pr_kg", "unknown key 'cd3_pr_kg'; did you mean 'cd3_per_kg'?"),
    ("cd3_per_kg: 1.1e8", "cd3_per_kg: 1.1e30", "expected cells per kg of body weight"),
    ("cd3_per_kg: 1.1e8", "cd3_per_kg: plenty", "expected cells per kg of body weight"),
    ("cd3_per_kg: 1.1e8", "# nothing", "missing 'cd3_per_kg' (cells per kg)", "{at: 8 d"),
    ("protocol:\n", "protocl:\n", "unknown section 'protocl'; did you mean 'protocol'?"),
    ("give: cytarabine", "give: citarabine", "unknown drug 'citarabine'; did you mean"),
    ("150 mg/m^2/day", "150 mg/kg/day", "expected a dose in mg/m^2 (or per day with 'for')"),
    ("150 mg/m^2/day", "150 mg/m^2", "expected a dose per time beside 'for'"),
    ("150 mg/m^2/day", "-150 mg/m^2/day", "expected a dose of 0 or more"),
    ("150 mg/m^2/day", "15000 mg/m^2/day", "at most 6000 mg/m^2 of cytarabine a day, got 15000"),
    ("dose: 8 mg/m^2", "dose: 800 mg/m^2", "at most 80 mg/m^2 of mitoxantrone a day, got 800"),
    ("dose: 8 mg/m^2", "dose: 8 mgg/m^2", "unknown unit 'mgg'; did you mean 'mg'?"),
    ("dose: 8 mg/m^2", "doze: 8 mg/m^2", "unknown key 'doze'; did you mean 'dose'?"),
    ("dose: 8 mg/m^2, ", "", "missing 'dose'"),
    ("for: 7 d", "fro: 7 d", "unknown key 'fro'; did you mean 'for'?"),
    ("every: 1 d", "evry: 1 d", "unknown key 'evry'; did you mean 'every'?"),
    ("times: 3", "times: three", 'expected a whole number, got "three"'),
    ("{at: 8 d, infuse", "{att: 8 d, infuse", "unknown key 'att'; did you mean 'at'?"),
    ("{at: 8 d, infuse", "{at: 80 d, infuse", "expected a time before the end of the run at 42 d"),
    ("infuse: donor", "infuse: doner", "unknown graft 'doner'; did you mean 'donor'?"),
    (
        "infuse: donor",
        "infus: donor",
        "expected one of give, infuse and set, or when, got at, infus; for 'infus' did you mean 'infuse'?",
    ),
    ("run: {until", "rnu: {until", "unknown section 'rnu'; did you mean 'run'?"),
    ("until: 42 d", "until: 2 d", "expected an end after everything in the protocol, got 2 d"),
    ("until: 42 d", "until: forever", 'expected a duration such as "7 d", got "forever"'),
    ("seed: 2", "seed: -1", "expected a number of at least 0, got -1"),
    ("exchange: 30 min", "exchange: 0 min", "expected a duration above 0"),
    ("counts: 2 h", "count: 2 h", "unknown key 'count'; did you mean 'counts'?"),
    ("initial:\n", "inital:\n", "unknown section 'inital'; did you mean 'initial'?"),
    ("  blood:\n", "  blod:\n", "unknown compartment 'blod'; did you mean 'blood'?"),
    ("{cells: stroma", "{cells: strom", "unknown cell type or set 'strom'; did you mean 'stroma'"),
    ("{cells: stroma", "{cell: stroma", "unknown key 'cell'; did you mean 'cells'?"),
    ('"stem[phase=g1]"', '"stem[phase=g9]"', "axis 'phase' of 'stem' has no value 'g9'; there are"),
    ('"stem[phase=g1]"', '"stem[phases=g1]"', "'stem' has no axis 'phases'; did you mean 'phase'"),
    ('"stem[phase=g1]"', "stem[phase=g1]", "put quotes around a pattern with brackets"),
    ("90220 /mm^3", "9022000 /mm^3", "expected cells in at most 85% of the sites", "marrow:\n   "),
    ("fat, fraction: 0.01", "fat, fraction: 1.01", "between 0 and 1"),
    ("[0, 0.5339, ", "[0.5339, ", "expected 11 weights of 0 or more, for 0 to 10"),
    ("divisions_left: [0, 0.5339", "divisons_left: [0, 0.5339", "has no counter 'divisons_left'"),
    (
        "split: {class_i:",
        "split: {clas_i:",
        "'blast' has no axis 'clas_i'; did you mean 'class_i'?",
    ),
    ("{low: class_i_low}", "{lo: class_i_low}", "axis 'class_i' of 'blast' has no value 'lo'"),
    ("low: class_i_low", "low: clas_i_low", "unknown fraction 'clas_i_low'; did you mean"),
    ("low: class_i_low", "low: 0.7, normal: 0.5", "shares that add up to at most 1, got 1.2"),
    ("low: class_i_low", "low: 3 um", "expected a fraction such as"),
    ("fraction_of: hvg", "fraction_of: hvgg", "unknown fraction 'hvgg'; did you mean 'hvg'?"),
    ("spacing: 80 um", "spacing: 80 mg", "expected a length such as"),
    ("tubes: {", "tube: {", "unknown key 'tube'; did you mean 'tubes'?"),
]
IN_EVERYTHING = [
    ("die: leukaemia", "dei: leukaemia", "unknown key 'dei'; did you mean 'die'?"),
    ("rate: 12 /day", "rate: -12 /day", "of 0 or more"),
    ("rate: 12 /day", "rate: 12 um", "expected a rate"),
    ("rate: 12 /day", "speed: 12 /day", "unknown key 'speed'"),
    ("{signal: csf", "{signal: cfs", "unknown signal 'cfs'; did you mean 'csf'?"),
    ("half: 1 ng/mL", "half: 1 um", "a quantity in pg/mL"),
    ("switch: ifng", "switch: infg", "unknown switch 'infg'; did you mean 'ifng'?"),
    ("in: marrow, at", "in: marow, at", "unknown compartment 'marow'; did you mean 'marrow'?"),
    ("in: marrow, at", "in: blood, at", "expected a lattice compartment, 'blood' is mixed"),
    ("  - {name: settles", "  # - {name: settles", "would wait at the lattice", "{name: leaves"),
    ("from: outside", "from: inside", "expected outside"),
    ("unit: pg/mL", "unit: 7 pg/mL", "expected a unit such as"),
    ("fractions: [0.3, 0.7]", "fractions: [0.3, 0.7, 0]", "expected as many fractions"),
    ("half_lives: [10 min, 2.2 h]", "half_lives: [10 min, 2.2]", "without a unit"),
    ("mixed: {}, stands_for", "mixd: {}, stands_for", "unknown key 'mixd'; did you mean 'mixed'?"),
    ("share: marrow", "share: marow", "or the name of a lattice (marrow)"),
    ("[periodic, periodic, no-flux]", "[periodic, no-flux]", "no-flux or 3 of them"),
    ("patches: 2", "patches: true", "expected a number, got true"),
    ("axes: {phase: [g0, s]}", "axs: {phase: [g0, s]}", "unknown key 'axs'"),
    ("grafts:", "graft:", "unknown section 'graft'; did you mean 'grafts'?"),
    ("{per: cd3_per_kg", "{par: cd3_per_kg", "unknown key 'par'; did you mean 'per'?"),
    ("immunology:", "imunology:", "unknown section 'imunology'; did you mean 'immunology'?"),
    ("donor: {relation", "donner: {relation", "unknown section 'donner'; did you mean 'donor'?"),
]
ALL = [(QUICKSTART, *row) for row in IN_QUICKSTART] + [(EVERYTHING, *row) for row in IN_EVERYTHING]


@pytest.mark.parametrize("row", ALL, ids=[f"{row[1]}-{row[2]}".strip() for row in ALL])
def test_one_mistake_is_one_complaint_at_its_line(row: tuple[str, ...]) -> None:
    text, good, bad, words, *where = row
    assert good in text
    wrong = text.replace(good, bad, 1)
    found = problems_of(wrong)
    assert len(found) == 1, "\n".join(map(str, found))
    assert words in str(found[0])
    start = len(text[: text.index(good)]) + len(bad) - len(bad.lstrip())
    line = line_of(wrong, where[0]) if where else wrong[:start].count("\n") + 1
    assert found[0].line == line, str(found[0])
    assert found[0].column >= 1
    assert "\n" not in str(found[0])


def test_names_defined_wrongly_are_one_complaint_with_all_lines_of_their_use() -> None:
    found = problems_of(EVERYTHING.replace("  blast:\n", "  blats:\n"))
    (message,) = map(str, found)
    assert message.endswith(
        "'blast'; did you mean 'blats'? (also in lines 16, 41, 43, 53, 57, 67, 71, 73)"
    )


def test_several_mistakes_are_all_named_at_once() -> None:
    """Every third of the quickstart's mistakes together; none of these touches another's line."""
    chosen = [
        ("height: 165 cm", "heigth: 165 cm"),
        ("age: 68 y", "age: 68"),
        ("cd3_per_kg: 1.1e8", "cd3_per_kg: plenty"),
        ("give: cytarabine", "give: citarabine"),
        ("times: 3", "times: three"),
        ("infuse: donor", "infuse: doner"),
        ("seed: 2", "seed: -1"),
        ("{cells: stroma", "{cells: strom"),
        ("[0, 0.5339, ", "[0.5339, "),
        ("fraction_of: hvg", "fraction_of: hvgg"),
    ]
    text, lines = QUICKSTART, []
    for good, bad in chosen:
        lines.append(line_of(text, good))
        text = text.replace(good, bad, 1)
    assert sorted(lines) == [problem.line for problem in problems_of(text)]


# ---------------------------------------------------------------------- every key, every value


def _scalars(
    node: Node, path: tuple[str, ...] = ()
) -> Iterator[tuple[bool, tuple[str, ...], Node]]:
    """(is a key, address, node) of every key and every value of a text."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield True, (*path, key.value), key
            yield from _scalars(value, (*path, key.value))
    elif isinstance(node, SequenceNode):
        for i, child in enumerate(node.value):
            yield from _scalars(child, (*path, str(i)))
    else:
        yield False, path, node


SCALARS = list(_scalars(YAML(typ="safe", pure=True).compose(EVERYTHING)))
#: Sections whose keys are names: misspelt there, they are missed where they are used.
NAMES = re.compile(
    r"(types|sets|switches|signals|fields|drugs|compartments|grafts)\.[^.]+|types\.\w+\.(axes|counters)\.\w+"
)


@pytest.mark.parametrize("how", ["a letter too many", "another word"])
def test_every_key_misspelt_is_one_complaint(how: str) -> None:
    n_found = 0
    for is_key, path, node in SCALARS:
        key = str(node.value)
        if not is_key or "[" in key:
            continue
        bad = {
            "a letter too many": key + key[-1],
            "another word": "xyzzy",
        }[how]
        text = EVERYTHING[: node.start_mark.index] + bad + EVERYTHING[node.end_mark.index :]
        found = problems_of(text)
        assert len(found) <= 1, f"{'.'.join(path)}: " + "\n".join(map(str, found))
        n_found += len(found)
        if found and not NAMES.fullmatch(".".join(path)):
            assert found[0].line == node.start_mark.line + 1, str(found[0])
    assert n_found > 120


@pytest.mark.parametrize("bad", ["xyzzy", "-7", "[]"])
def test_every_value_replaced_is_at_most_one_complaint(bad: str) -> None:
    n_found = 0
    for is_key, path, node in SCALARS:
        if is_key:
            continue
        text = EVERYTHING[: node.start_mark.index] + bad + EVERYTHING[node.end_mark.index :]
        found = problems_of(text)
        assert len(found) <= 1, f"{'.'.join(path)}: " + "\n".join(map(str, found))
        n_found += len(found)
    assert n_found > 100


# ---------------------------------------------------------------------- who set it last


@pytest.mark.parametrize(
    ("model", "line", "words"),
    [
        ("reference", "compartments.cube.lattice.shape: [30, 30]", "goes with neighbours: 6"),
        ("box", "compartments.box.lattice.neighbours: 6", "expected 4 or 8 in 2 dimensions, got 6"),
        ("box", "initial.box.prey: 8", "expected cells in at most 85% of the sites"),
        ("marrow", "compartments.marrow.patches: 200000000", "expected patches that fit"),
    ],
)
def test_what_a_scenario_sets_against_its_model_is_its_own_mistake(
    model: str, line: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"model: {model}\noverride:\n  {line}\n")
    with pytest.raises(ScenarioError) as error:
        load_scenario(file)
    (problem,) = error.value.problems
    assert (Path(problem.file).name, problem.line) == ("mine.yaml", 3)
    assert words in problem.message
    with pytest.raises(ScenarioError) as error:
        load_scenario(model, overrides=[line.replace(": ", "=", 1)])
    (problem,) = error.value.problems
    assert problem.file.startswith("--set ")


def test_with_a_mistake_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(QUICKSTART.replace("weight: 62 kg", "weight: 62 mg"))
    result = CliRunner().invoke(main, ["run", "mine.yaml"])
    assert result.exit_code == 2
    assert result.output.startswith("mine.yaml:12:11: patient.weight: expected a weight")
    assert result.output.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
