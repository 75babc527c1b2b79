"""The patient's own random numbers: one for everything that can befall him, by its name."""

from __future__ import annotations

import zlib

import numpy as np

from mst_abm.engine import rng


def uniforms(seed: int, replicates: np.ndarray, name: str) -> np.ndarray:
    """(replicate,) uniform in (0, 1): a function of seed, replicate and name, of nothing else."""
    which = zlib.crc32(name.encode())
    key = seed & 0xFFFFFFFF, seed >> 32
    found = []
    for replicate in replicates:
        w0, w1, _, _ = rng.philox_words((which, 0, rng.BEFALLING, int(replicate)), key)
        # 52 bits and a half: never 0, never 1
        found.append(((w0 >> 6) * 67108864.0 + (w1 >> 6) + 0.5) * 2.0**-52)
    return np.array(found)
