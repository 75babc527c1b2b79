"""`check` says how large a scenario is and refuses a lattice without room."""

from __future__ import annotations

import json

from click.testing import CliRunner

from mst_abm.cli import main
from mst_abm.report.check import check_text
from mst_abm.scenario import load_scenario_text

SCENARIO = """
types: {{cell: {{}}, wall: {{static: true}}}}
rules:
  - {{name: cells die, die: cell, rate: 0.1 /h, source: assumption}}
  - {{name: cells move, move: cell, rate: 1 /h, source: verification}}
compartments:
  box: {{lattice: {{shape: [20, 20, 20], neighbours: 6, boundary: periodic}}, patches: 2}}
  dish: {{mixed: {{}}}}
initial:
  box:
    - {{cells: cell, fraction: {fraction}}}
    - {{cells: wall, number: 800}}
  dish: {{cell: 500}}
run: {{until: 4 d, record: {{counts: 1 h, snapshots: 1 d}}}}
"""


def test_check_counts_cells_sites_and_assumptions():
    text = check_text(load_scenario_text(SCENARIO.format(fraction=0.5), name="small"))
    lines = text.splitlines()
    assert lines[0] == (
        "small: 4 d, seed 1, exchange every 0.5 h, counts every 1 h, snapshots every 24 h"
    )
    assert any(line.startswith("cells die: every cell dies") for line in lines)
    assert "box                     8,800       16,000     55%          1" in lines
    assert "dish                      500            -       -          1" in lines
    assert "assumptions: 1 of 2 numbers" in lines


def test_check_refuses_a_lattice_that_is_too_full(tmp_path):
    (tmp_path / "full.yaml").write_text(SCENARIO.format(fraction=0.9))
    result = CliRunner().invoke(main, ["check", str(tmp_path / "full.yaml")])
    assert result.exit_code == 2
    assert (
        "full.yaml:10:3: initial.box: expected cells in at most 85% of the sites" in result.output
    )
    assert len(result.output.splitlines()) == 1


def test_check_lists_every_mistake_of_a_file(tmp_path):
    text = SCENARIO.format(fraction=0.5).replace("0.1 /h", "0.1 mg").replace("until:", "untill:")
    (tmp_path / "wrong.yaml").write_text(text)
    result = CliRunner().invoke(main, ["check", str(tmp_path / "wrong.yaml")])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 2
    assert all("wrong.yaml:" in line for line in result.output.splitlines())


def test_schema_is_json():
    result = CliRunner().invoke(main, ["schema"])
    assert result.exit_code == 0, result.output
    assert "properties" in json.loads(result.output)
