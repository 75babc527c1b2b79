"""Which replicates a simulation holds: a stretch of numbers, of which some may be left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mst_abm.errors import ModelError


def numbers_of(
    first_replicate: int, replicates: int, left_out: Sequence[int], *, seed: int
) -> np.ndarray:
    """Numbers of the replicates of a batch, int64 (replicate,).

    Raises
    ------
    ModelError
        If a number or the seed has no place in the address of a draw.
    """
    if not 0 <= first_replicate <= 2**32 - replicates or not 0 <= seed < 2**64:
        raise ModelError(
            f"expected replicate numbers below 2^32 and a seed below 2^64, got replicates from "
            f"{first_replicate} and seed {seed}; choose smaller ones."
        )
    every = np.arange(first_replicate, first_replicate + replicates)
    return every[~np.isin(every, left_out)]


def batch_of(replicates: np.ndarray) -> dict[str, Any]:
    """Numbers of replicates as arguments of a simulation: the inverse of `numbers_of`."""
    first, last = int(replicates[0]), int(replicates[-1])
    gaps = sorted(set(range(first, last + 1)).difference(map(int, replicates)))
    return {"first_replicate": first, "replicates": last - first + 1, "left_out": gaps}
