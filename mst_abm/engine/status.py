"""Exit codes of kernels; Python turns them into actions or sentences."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Why a kernel came back."""

    DONE = 0
    NEED_SLOTS = 1  # a mixed compartment is full: enlarge and call again
    NEED_OUTBOX = 2  # a patch's outbox is full
    NEED_POOL = 3  # a waiting pool is full
    OUT_OF_DRAWS = 4  # 2**32 candidates in one window
    BAD_RATE = 5  # a total rate is not finite
    NEED_POSTS = 6  # a tile's posts for its neighbours are full
    NEED_TURNS = 7  # a patch of many tiles is next
    HALTED = 8  # another thread had to stop


DONE = int(Status.DONE)
NEED_SLOTS = int(Status.NEED_SLOTS)
NEED_OUTBOX = int(Status.NEED_OUTBOX)
NEED_POOL = int(Status.NEED_POOL)
OUT_OF_DRAWS = int(Status.OUT_OF_DRAWS)
BAD_RATE = int(Status.BAD_RATE)
NEED_POSTS = int(Status.NEED_POSTS)
NEED_TURNS = int(Status.NEED_TURNS)
HALTED = int(Status.HALTED)
