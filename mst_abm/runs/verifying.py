"""Whether a record and its checkpoints are as they were written, and whether a stretch of the run comes out again."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from mst_abm.errors import RecordError
from mst_abm.records.checking import faults, unlike
from mst_abm.records.checkpoint import check_checkpoint, checkpoint_paths
from mst_abm.runs.forking import replayed
from mst_abm.runs.keeping import newest
from mst_abm.runs.resuming import read_recorded


def verify(
    path: str | os.PathLike[str],
    *,
    from_h: float = 0.0,
    to_h: float | None = None,
    threads: int = 1,
) -> tuple[list[str], list[str]]:
    """Check every checksum; with ``to_h``, run once more up to there and compare every dataset but those written at
    the end.

    The stretch begins at the latest checkpoint no later than ``from_h``, or at the start.

    Returns
    -------
    What was looked at and found in order, and what was not, in sentences.
    """
    path = Path(path)
    recorded = read_recorded(path)
    right, wrong = [], faults(path)
    if not wrong:
        right.append(
            f"{path}: {recorded.status}, {recorded.n_records} records, every checksum holds."
        )
    for kept in checkpoint_paths(path):
        try:
            check_checkpoint(kept)
            right.append(f"{kept}: the checksum holds.")
        except RecordError as error:
            wrong.append(str(error))
    if to_h is None or wrong:
        return right, wrong
    start, _ = newest(path, recorded.origin, n_records=recorded.n_records, until_h=from_h)
    if start is None and recorded.forked_from:
        raise RecordError(
            f"{path}: a fork is run again from a checkpoint, there is none up to then."
        )
    begin_h = start.facts["time_h"] if start is not None else 0.0
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        again = Path(folder) / "again.h5"
        replayed(recorded, start, to_h, again, threads=threads)
        odd = unlike(path, again)
    stretch = f"day {begin_h / 24:g} to {to_h / 24:g}"
    if odd:
        wrong.append(f"{path}: {stretch} run again differs in {', '.join(odd)}.")
    else:
        right.append(f"{path}: {stretch} run again gives the same.")
    return right, wrong
