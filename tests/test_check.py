"""`check` says how large a scenario is and refuses a lattice without room."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mst_abm import Simulation, load_scenario
from mst_abm.cli import main
from mst_abm.errors import ModelError
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


def checked(model: str, *overrides: str) -> str:
    return check_text(load_scenario(model, overrides=("run.mode=tiled", *overrides)))


def cube(side: int) -> str:
    return f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]"


def test_check_says_how_tiles_will_run():
    text = checked("reference", cube(64))
    assert "tiled: cube in 64 tiles of 16 or more sites a side" in text
    assert "tries 0.25 things; estimated error 0.07%" in text and "warning" not in text


@pytest.mark.parametrize(
    ("window", "edges", "words"),
    [
        ("5 h", "5 h", "warning: run.window: expected"),
        # exchange every hour: no window is longer
        ("10 h", "1 h", "windows of 1 h at most, in which the busiest cell tries 1.1 things"),
        ("1 ms", "1 h", "are so short that most of the time goes into changing tiles"),
    ],
)
def test_check_warns_of_windows(window, edges, words):
    times = (f"run.window={window}", f"run.exchange={edges}", f"run.record.counts={edges}")
    assert words in checked("reference", cube(64), *times)


@pytest.mark.parametrize("model", ["reference", "birth_death"])
def test_check_says_when_nothing_is_cut(model):
    small = (cube(8),) if model == "reference" else ()
    assert "tiled: no lattice is large enough to be cut; the run is exact" in checked(model, *small)


def test_check_refuses_what_a_run_would():
    """Tiles of 64 sites a side become 50, which is still too many sites for one."""
    overrides = ("run.mode=tiled", "run.tile=64", cube(200))
    messages = set()
    for make in (
        lambda: checked("reference", *overrides[1:]),
        lambda: Simulation(load_scenario("reference", overrides=overrides)),
    ):
        with pytest.raises(ModelError, match="at most 65,535 sites, got 125,000") as caught:
            make()
        messages.add(str(caught.value))
    assert len(messages) == 1
