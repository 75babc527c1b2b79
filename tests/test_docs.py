"""The documentation as tests: every example loads, every command is valid, every page tells the truth."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import mst_abm
from mst_abm.cli import main
from mst_abm.errors import ScenarioError
from mst_abm.model.compile import compile_model
from mst_abm.records.schema import markdown_table
from mst_abm.scenario import json_schema, load_scenario, load_scenario_text, shipped_models
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.rules import OWN_KEYS
from mst_abm.scenario.schema import FileSection, ModifierSection, ShapeSection

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_MARKED = re.compile(r"<!-- (\w+): ([\w.-]+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TEMPLATE = "template"
#: Examples that are also run for their two hours or so; the others are compiled.
RUN = ("template", "contact-outcomes", "leave-emit", "arrive-at", "signal-dynamic", "immunology")


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
    entering = [product for event in scenario.infusions for _, product, _ in event.cells]
    entering += [event.product for event in scenario.resets]
    return compile_model(scenario.model, entering)


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
    sources = {"signal", "near", "site", "distance", "counter"} & set(ModifierSection.model_fields)
    shapes = set(ShapeSection.model_fields) - {"note"}
    own = {key for keys in OWN_KEYS.values() for key in keys}
    divisions = ("inherit", "halve", "zero", "resample", "minus_one", "plus_one")
    for word in {*sections, *OWN_KEYS, *sources, *shapes, *own}:
        assert re.search(rf"\b{word}:", text), f"docs/grammar.md has no example of '{word}'"
    page = (DOCS / "grammar.md").read_text(encoding="utf-8")
    for word in (*divisions, *shipped_models()):
        assert f"`{word}`" in page
