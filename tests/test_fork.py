"""Arms from one state, and records looked at and run again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from stopped import differences
from test_faults import OPTIONS, scenario
from test_react import BUSY

from mst_abm.cli import main
from mst_abm.errors import RecordError
from mst_abm.records.checkpoint import checkpoint_paths
from mst_abm.records.reader import open_run
from mst_abm.runs.forking import fork
from mst_abm.runs.to_file import run_to_file
from mst_abm.runs.verifying import verify
from mst_abm.scenario.loading import load_scenario_text

pytestmark = pytest.mark.proof
AT = 72.0
#: Nobody is treated before this infusion, which arms change.
ARMS = BUSY.replace(
    "  - {at: 12 h, infuse", "  - {at: 6 d, infuse: donor, cd3_per_kg: 3}\n  - {at: 12 h, infuse"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.h5"
    run_to_file(load_scenario_text(ARMS, name="world"), path, replicates=6, first_replicate=1)
    return path


def test_an_arm_without_a_change_is_the_run(base: Path, tmp_path: Path) -> None:
    for at in (AT, 2.0, 0.0):
        fork(base, tmp_path / "arm.h5", at_h=at, force=True)
        assert differences(base, tmp_path / "arm.h5") == []
    with open_run(tmp_path / "arm.h5") as run:
        assert run.attributes["forked_from"] == "base.h5 at day 0"
    assert len(checkpoint_paths(base)) == 3


def test_an_arm_is_the_run_up_to_its_day_and_another_from_there(base: Path, tmp_path: Path) -> None:
    """What an arm gives is what a run so planned from the start would have, for no draw hangs on the plan."""
    arm = tmp_path / "arm.h5"
    fork(base, arm, at_h=AT, overrides=["protocol.1.cd3_per_kg=9"], threads=2)
    planned = load_scenario_text(ARMS, name="world", overrides=["protocol.1.cd3_per_kg=9"])
    run_to_file(planned, tmp_path / "planned.h5", replicates=6, first_replicate=1)
    assert differences(tmp_path / "planned.h5", arm) == []
    with open_run(base) as one, open_run(arm) as other:
        early = one.times_h <= 144.0 - 12.0
        a, b = one.counts("blood"), other.counts("blood")
        assert np.array_equal(a[:, early], b[:, early])
        assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    ("at", "override", "words"),
    [
        (AT, "protocol.2.cd3_per_kg=1", "expected the same doses and infusions up to there"),
        (AT + 0.123, "protocol.1.cd3_per_kg=9", "the nearest edge is 72 h"),
        (AT, "compartments.blood.stands_for=2 mm^3", "expected the spaces of the run"),
        (AT, "initial.blood.blast=200", "expected the cells and levels of the run at 0 h"),
    ],
)
def test_what_cannot_be_branched_off(
    base: Path, tmp_path: Path, at: float, override: str, words: str
) -> None:
    with pytest.raises(RecordError, match=words):
        fork(base, tmp_path / "arm.h5", at_h=at, overrides=[override])
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ verify


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    run_to_file(scenario(), path, **OPTIONS)
    return path


def test_a_record_comes_out_again(record: Path) -> None:
    done = CliRunner().invoke(main, ["verify", str(record), "--to", "6 h"])
    assert done.exit_code == 0, done.output
    assert done.output == (
        f"{record}: complete, 49 records, every checksum holds.\n"
        f"{record}: day 0 to 0.25 run again gives the same.\n"
    )
    assert [p.name for p in record.parent.iterdir()] == ["run.h5"]


def test_a_number_that_was_changed_comes_out_otherwise(record: Path) -> None:
    with h5py.File(record, "r+") as file:
        file["counts/blood"][0, 3, 1] += 1
        file["snapshots/species"][5] += 1
    right, wrong = verify(record, to_h=6.0)
    assert len(right) == 1
    assert wrong == [
        f"{record}: day 0 to 0.25 run again differs in counts/blood, snapshots/species."
    ]
    assert verify(record)[1] == []  # whoever changes a record gives it a new checksum


def test_a_byte_that_was_changed_is_noticed(record: Path) -> None:
    with h5py.File(record, "r") as file:
        chunk = file["counts/blood"].id.get_chunk_info(0)
    data = bytearray(record.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 4
    record.write_bytes(data)
    done = CliRunner().invoke(main, ["verify", str(record)])
    assert done.exit_code == 2
    assert done.output == f"{record}: 'counts/blood' is damaged, a checksum does not hold.\n"
