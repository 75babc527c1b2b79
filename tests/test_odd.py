"""The description by the ODD protocol: all seven elements, and every number of the model in a table."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner
from everything import EVERYTHING as WHOLE
from worlds import mixed, plain, rule, world

from mst_abm.cli import main
from mst_abm.model.english import number_classes
from mst_abm.model.parameters import parameters_of
from mst_abm.report.odd import odd_text
from mst_abm.scenario import load_scenario, load_scenario_text, shipped_models

ELEMENTS = [
    "1. Purpose and patterns", "2. Entities, state variables and scales", "3. Process overview and scheduling",
    "4. Design concepts", "5. Initialization", "6. Input data", "7. Submodels", "Parameters",
]  # fmt: skip


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_has_a_whole_description(name):
    text = odd_text(load_scenario(name))
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ELEMENTS
    for line in text.splitlines():
        if line.startswith("|"):
            # no name may break a table: as many columns as its header
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 5, 6), line


def test_every_rule_and_signal_has_its_numbers_with_class_and_source():
    scenario = load_scenario_text(WHOLE)
    tables = parameters_of(scenario.model)
    names = {p.name for rows in tables.values() for p in rows}
    for each in scenario.model.rules:
        assert f"{each.name}.rate" in names
    everything = [p for rows in tables.values() for p in rows]
    assert {p.number_class for p in everything} <= {"measured", "calibrated", "assumption"}
    assert all(p.unit for p in everything)
    assert len(everything) >= len(number_classes(scenario.model))


def test_a_value_changed_on_the_command_line_is_the_one_described(tmp_path):
    run = CliRunner().invoke(main, ["odd", "box", "--set", "rules.killer kills.rate=7 /h"])
    assert run.exit_code == 0
    assert "| killer kills.rate | 7 | 1/h |" in run.output
    place = tmp_path / "odd.md"
    for arguments in ([], ["--force"]):
        done = CliRunner().invoke(main, ["odd", "box", "-o", str(place), *arguments])
        assert done.output == f"description: {place}\n"
    place.write_text("my own words")
    done = CliRunner().invoke(main, ["odd", "box", "-o", str(place), "--force"])
    assert done.exit_code == 2 and place.read_text() == "my own words"


def test_names_of_people_break_neither_table_nor_text():
    evil = "a | b <script> *c*"
    scenario = world([rule("die", "cell", 0.5, name=evil), rule("contact", "cell + cell -> cell + empty", 0.5, name=f"x{evil}")], {"pool": mixed(8)}, {"pool": {"cell": 3}}, types=plain("cell"), until=1.0)  # fmt: skip
    text = odd_text(scenario)
    assert "| a \\| b \\<script\\> \\*c\\*.rate | 0.5 | 1/h | measured | test |" in text
    assert "<script>" not in text
