"""Campaigns: many replicates in shards, the same bits for any number of workers and whoever is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mst_abm.cli import main
from mst_abm.records.reader import open_run
from mst_abm.runs.campaign import open_campaign

DISH = """
model: box
override: {compartments.box.lattice.shape: [12, 12], rules.killer kills.rate: 5 /h}
initial: {box: {prey: 60, killer: 8}}
observables:
  blast_cells: {of: box.prey, relative_to: 1 cell, source: test}
run: {until: 3 d, record: {counts: 12 h}}
"""


@pytest.fixture
def dish(tmp_path: Path) -> Path:
    (tmp_path / "dish.yaml").write_text(DISH)
    return tmp_path


def test_an_ensemble_is_a_folder_of_shards(dish: Path) -> None:
    command = ["ensemble", str(dish / "dish.yaml"), "--replicates", "5", "--first-replicate", "10"]
    result = CliRunner().invoke(main, [*command, "--per-shard", "2", "-o", str(dish / "out")])
    assert result.exit_code == 0, result.output
    campaign = open_campaign(dish / "out")
    numbers = []
    for shard in campaign.shards:
        with open_run(campaign.record(shard)) as run:
            assert run.status == "complete"
            numbers += run.replicates.tolist()
    assert numbers == [10, 11, 12, 13, 14]
