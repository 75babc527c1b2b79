"""The documentation as tests: every example loads, every command is valid, every page tells the truth."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from scipy.integrate import trapezoid

import mst_abm
from mst_abm.cli import main
from mst_abm.errors import ScenarioError
from mst_abm.model.compile import compile_model
from mst_abm.records.schema import markdown_table
from mst_abm.report.export import export
from mst_abm.runs.campaign import plan_campaign
from mst_abm.runs.shards import run_shard
from mst_abm.scenario import json_schema, load_scenario, load_scenario_text, shipped_models
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.design import load_design
from mst_abm.scenario.effects import VERBS
from mst_abm.scenario.rules import OWN_KEYS
from mst_abm.scenario.schema import FileSection, ModifierSection, ShapeSection
from mst_abm.scenario.sweep import load_sweep

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_MARKED = re.compile(r"<!-- (\w+): ([\w.-]+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TEMPLATE = "template"
#: Examples that are also run for their two hours or so; the others are compiled.
RUN = (
    "template",
    "fields",
    "move-biased",
    "contact-outcomes",
    "leave-emit",
    "arrive-at",
    "signal-dynamic",
    "immunology",
)


class Block(NamedTuple):
    """A fenced block with its marker comment, ``<!-- kind: name -->``."""

    kind: str
    name: str
    language: str
    text: str


def marked(page: str) -> list[Block]:
    return [Block(*found) for found in _MARKED.findall((DOCS / page).read_text(encoding="utf-8"))]


def fenced(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [body for word, body in _FENCED.findall(text) if word == language]


GRAMMAR = marked("grammar.md")
EXAMPLES = {block.name: block.text for block in GRAMMAR if block.kind == "example"}
REFUSED = {block.name: block.text for block in GRAMMAR if block.kind == "refused"}


@pytest.fixture
def load(tmp_path):
    """Load an example of the grammar page: fragments stand on the template."""

    def read(text: str, *, is_whole: bool = False) -> Scenario:
        (tmp_path / "template.yaml").write_text(EXAMPLES[TEMPLATE], encoding="utf-8")
        file = tmp_path / "example.yaml"
        file.write_text(text if is_whole else f"model: template.yaml\n{text}", encoding="utf-8")
        return load_scenario(file)

    return read


def compiled(scenario: Scenario):
    return compile_model(scenario.model, scenario.entering)


# ------------------------------------------------------------------ the grammar


def test_every_yaml_block_of_the_grammar_is_marked_once():
    assert len(fenced(DOCS / "grammar.md", "yaml")) == len(GRAMMAR)
    names = [block.name for block in GRAMMAR]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_grammar_load_and_compile(name, load):
    scenario = load(EXAMPLES[name], is_whole=name == TEMPLATE)
    assert len(compiled(scenario).species) > 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_grammar_says_is_refused_is_refused(name, load):
    with pytest.raises(ScenarioError, match=f"'{name}' .* not available in this version"):
        load(REFUSED[name])


@pytest.mark.parametrize("name", RUN)
def test_some_examples_run(name, load):
    simulation = mst_abm.simulate(load(EXAMPLES[name], is_whole=name == TEMPLATE))
    assert simulation.time_h == simulation.scenario.run.until_h
    assert simulation.statistics["executed"] > 0


def test_the_grammar_has_an_example_of_everything():
    text = "".join(EXAMPLES.values())
    sections = set(FileSection.model_fields) - {"name", "note", "model"}
    sources = {"signal", "near", "site", "distance", "counter", "field"} & set(
        ModifierSection.model_fields
    )
    shapes = set(ShapeSection.model_fields) - {"note"}
    own = {key for keys in OWN_KEYS.values() for key in keys}
    divisions = ("inherit", "halve", "zero", "resample", "minus_one", "plus_one")
    for word in {*sections, *OWN_KEYS, *sources, *shapes, *own, *VERBS, "levels", "effects"}:
        assert re.search(rf"\b{word}:", text), f"docs/grammar.md has no example of '{word}'"
    page = (DOCS / "grammar.md").read_text(encoding="utf-8")
    for word in (*divisions, *shipped_models()):
        assert f"`{word}`" in page


@pytest.mark.parametrize("block", marked("from_physicell.md"), ids=lambda block: block.name)
def test_examples_for_people_from_physicell_run(block):
    simulation = mst_abm.simulate(load_scenario_text(block.text))
    tumour = [s.type == "tumour" for s in simulation.compiled.species]
    cells = simulation.counts["dish"][0, tumour].sum()
    assert cells > 200 if block.name == "physicell-increases" else cells < 2000


# ------------------------------------------------------------------ the worked examples


def patched(text: str, diff: str) -> str:
    """A file after one step: the lines shown stand together in it, once, and take the added ones."""
    lines = diff.rstrip("\n").split("\n")
    old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
    assert text.count(old) == 1, f"expected once in the file:\n{old}"
    return text.replace(old, new)


@cache
def worked_example(page: str) -> str:
    """The file of a page after its last step."""
    start, *steps = marked(page)
    assert start.kind == "start" and {step.kind for step in steps} == {"step"}
    text = start.text
    load_scenario_text(text)
    for step in steps:
        text = patched(text, step.text)
        load_scenario_text(text)  # every step by itself is a valid file
    return text


def events_of(simulation: mst_abm.Simulation, rule: str) -> int:
    mine = [t.rule == rule for t in simulation.compiled.tallies]
    return int(simulation.tally[0, mine].sum())


def test_the_added_cell_type_does_what_the_page_says():
    text = worked_example("add_a_cell_type.md")
    kills = []
    for switch in ("on", "off"):
        overrides = [f"switches.suppression={switch}"]
        simulation = mst_abm.simulate(load_scenario_text(text, overrides=overrides))
        kills.append(events_of(simulation, "donor CD8 kill leukaemia"))
        assert (events_of(simulation, "monocytes quiet killers") > 0) == (switch == "on")
    assert kills[0] < 0.5 * kills[1]


def test_the_added_drug_does_what_the_page_says():
    text = worked_example("add_a_drug.md")
    left, areas = [], []
    for overrides in ([], ["protocol=[]"]):
        scenario = load_scenario_text(text, overrides=overrides)
        simulation = mst_abm.Simulation(scenario)
        names = [s.name for s in scenario.model.signals]
        assert ("etoposide_level" in names) == bool(scenario.doses)
        levels = []
        for time in simulation.record_times_h:
            simulation.advance(time)
            level = simulation.signals[0, names.index("etoposide_level")] if scenario.doses else 0.0
            levels.append(level)
        areas.append(trapezoid(levels, simulation.record_times_h))
        blasts = [s.type == "blast" for s in simulation.compiled.species]
        left.append(simulation.counts["marrow"][0, blasts].sum())
    assert left[0] < 0.3 * left[1]
    assert areas == pytest.approx([3 * 109, 0], rel=0.03)


# ------------------------------------------------------------------ commands, code, paths


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the scenarios of the repository and of the pages."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "out").mkdir()
    for page in ("add_a_cell_type.md", "add_a_drug.md"):
        (tmp_path / marked(page)[0].name).write_text(worked_example(page), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[list[str]]:
    found = [
        shlex.split(line, comments=True)
        for page in PAGES
        for block in fenced(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("mst-abm ")
    ]
    return [line[1 : line.index(">")] if ">" in line else line[1:] for line in found]


def test_commands_in_the_pages_are_valid(workplace):
    assert len(commands()) > 8
    for name, *arguments in commands():
        command = main.commands[name]
        parameters = command.make_context(name, list(arguments)).params
        if name in ("check", "run", "ensemble"):
            load_scenario(parameters["file"], overrides=parameters["overrides"])


def test_the_table_of_commands_is_complete():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `mst-abm (\w+)", readme, re.MULTILINE) == list(main.commands)


def test_the_two_commands_are_targets_of_make():
    first = fenced(ROOT / "README.md", "sh")[0].splitlines()
    assert first == ["make run", "make test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {line.split()[1] for line in first} <= set(targets)


def test_the_first_edit_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ((_, _, _, text),) = _MARKED.findall(readme)
    simulation = mst_abm.simulate(load_scenario_text(text))
    assert events_of(simulation, "shields stop killers") > 0
    assert events_of(simulation, "killer kills") > 0


def test_python_of_the_readme_runs(workplace):
    pytest.importorskip("pandas")
    (code,) = fenced(ROOT / "README.md", "python")
    small = '"run.until=4 h", "compartments.marrow.lattice.shape=[16, 16, 16]", "protocol=[]"'
    code = code.replace('"run.until=10 d"', small).replace('to="1 d"', 'to="2 h"')
    found: dict = {}
    exec(code, found)
    assert found["blood"]["neutrophil[stage=mature]"] > 0
    assert len(found["cells"]["x"]) == sum(c[0, 1:].sum() for c in found["sim"].counts.values())
    assert found["blasts"].shape == (1, 3) and len(found["table"]) > 0


def test_designs_and_python_of_the_page_on_ensembles(workplace):
    pytest.importorskip("pandas")
    page, sizes = DOCS / "ensembles.md", []
    for ending in ("csv", "yaml"):
        for i, text in enumerate(fenced(page, ending)):
            path = workplace / f"{i}.{ending}"
            path.write_text(text, encoding="utf-8")
            options = {"replicates": 1, "design": load_design(path), "per_shard": 1}
            campaign = plan_campaign("configs/killer_dish.yaml", f"out/{path.name}", **options)
            sizes.append(len(campaign.shards))
    assert sizes == [3, 2, 6]
    (workplace / "box.yaml").write_text("model: box\nrun: {until: 2 h}\n")
    run_shard(plan_campaign("box.yaml", "dish", replicates=2).folder, 0)
    (code,) = fenced(page, "python")
    found: dict = {}
    exec(code, found)
    assert len(found["table"]) == 1


def test_python_of_the_file_format_runs(workplace):
    pytest.importorskip("h5netcdf")
    pytest.importorskip("pandas")
    mst_abm.run_to_file(load_scenario("box"), "out/box.h5")
    for code in fenced(DOCS / "file_format.md", "python"):
        found: dict = {}
        exec(code, found)
        if "prey" in found:
            assert found["prey"].ravel()[0] == 3


@pytest.fixture(scope="module")
def dish(tmp_path_factory):
    """The run of the page on analysis in small, with its exports."""
    folder = tmp_path_factory.mktemp("dish")
    small = ["run.until=6 h", "run.record.snapshots=2 h", "run.identity=on"]
    small += ["compartments.marrow.lattice.shape=[16, 16, 16]", "initial.marrow.1.number=40"]
    scenario = load_scenario(ROOT / "configs" / "killer_dish.yaml", overrides=small)
    mst_abm.run_to_file(scenario, folder / "dish.h5")
    return folder


def test_python_of_the_page_on_analysis_runs(dish, monkeypatch):
    for library in ("pandas", "h5netcdf", "tskit"):
        pytest.importorskip(library)
    monkeypatch.chdir(dish)
    export("dish.h5", "tskit", force=True)
    found: dict = {}
    for block in marked("analysis.md"):
        if block.kind == "python":
            exec(block.text, found)
    assert found["blasts"].iloc[0] > 100
    assert found["killers"].shape == (1, 7) and found["killers"].values.max() == 40
    assert len(found["cells"]["id"]) == found["tree"].num_samples()


@pytest.mark.parametrize("name", ["tables", "record"])
def test_r_of_the_page_on_analysis_runs(dish, name):
    pytest.importorskip("pyarrow")
    if shutil.which("Rscript") is None:
        pytest.skip("needs R")
    if name == "record" and subprocess.run(["Rscript", "-e", "library(rhdf5)"], capture_output=True, check=False).returncode:  # fmt: skip
        pytest.skip("needs the R package rhdf5")
    export(dish / "dish.h5", "csv", dish / "dish.csv", force=True)
    (code,) = [b.text for b in marked("analysis.md") if (b.kind, b.name) == ("r", name)]
    code += "cat(if (is.data.frame(blasts)) blasts$cells else blasts)\n"
    done = subprocess.run(["Rscript", "-e", code], cwd=dish, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with mst_abm.open_run(dish / "dish.h5") as run:
        expected = run.counts_by("marrow", "type")[("blast",)][0]
    assert [float(word) for word in done.stdout.split("\n")[-1].split()] == expected.tolist()


_PATH = re.compile(
    r"(?:mst_abm|configs|tests|docs|benchmarks|\.ci)/[\w./-]*|[\w-]+\.(?:md|toml|cff)|LICENSE|Makefile"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_named_in_the_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if _PATH.fullmatch(name):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [h.lower().replace(" ", "-") for h in headings], target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_can_be_reached_from_the_readme(page):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert page.name == "README.md" or f"](docs/{page.name})" in readme


# ------------------------------------------------------------------ what is generated


def test_the_schema_for_editors_is_up_to_date():
    text = (DOCS / "scenario.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json_schema(), "mst-abm schema > docs/scenario.schema.json"
    assert "Infinity" not in text and "NaN" not in text


def test_the_schema_for_editors_takes_the_shipped_files():
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe", pure=True)
    validator = jsonschema.Draft202012Validator(json_schema())
    for file in (*ROOT.glob("configs/*.yaml"), *ROOT.glob("mst_abm/models/*.yaml")):
        assert not list(validator.iter_errors(yaml.load(file))), file


def test_the_page_on_files_holds_the_table_of_the_format():
    assert markdown_table() in (DOCS / "file_format.md").read_text(encoding="utf-8")


def test_every_shipped_model_and_scenario_is_described():
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    for name in shipped_models():
        assert f"`{name}`" in page
    for file in sorted((ROOT / "configs").glob("*.yaml")):
        assert f"`configs/{file.name}`" in page


def test_the_example_of_the_page_on_sweeps_is_a_sweep(tmp_path):
    (block,) = marked("sweeps.md")
    (tmp_path / "studies").mkdir()
    (tmp_path / "mst_elderly_aml.yaml").symlink_to(ROOT / "configs" / "mst_elderly_aml.yaml")
    path = tmp_path / "studies" / "dose.yaml"
    path.write_text(block.text, encoding="utf-8")
    sweep = load_sweep(path)
    assert [level[0] for level in sweep.axes[0].levels] == ["1e+06", "1e+07", "1e+08"]
