"""Replicates that could not be run, noted beside the shards they are missing from.

An error comes again with the same seed, so it is kept; that a process died over a shard may have had
other causes (memory, a node), so such a shard is tried again by whoever works at the campaign next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mst_abm.errors import MstAbmError
from mst_abm.records.atomic import write_whole


@dataclass(frozen=True)
class Failed:
    """Sentences by number of the replicate; ``is_lost``: a process died over them."""

    replicates: Mapping[int, str]
    is_lost: bool = False


NONE = Failed({})


def sentence_of(error: BaseException) -> str:
    """What to say of an error; those that are not ours say which kind they are of."""
    return str(error) if isinstance(error, MstAbmError) else f"{type(error).__name__}: {error}"


def read_failed(path: Path) -> Failed:
    """What is noted in a file; nothing where there is none or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        replicates = {int(number): str(text) for number, text in content["replicates"].items()}
        return Failed(replicates, bool(content["is_lost"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NONE


def note_failed(path: Path, failed: Failed) -> None:
    """Keep which replicates failed."""
    content = {
        "is_lost": failed.is_lost,
        "replicates": {str(number): text for number, text in failed.replicates.items()},
    }
    path.parent.mkdir(exist_ok=True)
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
