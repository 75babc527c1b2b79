"""The engine's random stream as raw bytes on a pipe, for batteries of tests.

    python tests/stream.py | dieharder -a -g 200
    python tests/stream.py --neighbour window | RNG_test stdin32

The four words of a candidate follow one another, candidates within a window, then the next window,
space, replicate. With a neighbour, words of two streams alternate that differ in one part of the
address. ``--weak`` writes a stream that a battery must refuse.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.kernel import entry

BLOCKS, WINDOWS, SPACES = 2, 128, 64  # blocks in a window; windows and spaces before the next
CANDIDATES = BLOCKS * rng.BLOCK
NEIGHBOURS = {
    "seed": {"seed": 1},
    "high seed": {"seed": 2**32},
    "window": {"window": 1},
    "space": {"space": 1},
    "replicate": {"replicate": 1},
}
WEAK = ("two rounds", "lcg", "shared word")


@entry
def engine_words(out, draws, seed, replicate, space, window, stride):
    """Words of candidates as `fill_block` makes them: out[window, candidate, word]."""
    for w in range(out.shape[0]):
        for b in range(out.shape[1] // rng.BLOCK):
            rng.fill_block(draws, seed, replicate, window + stride * w, space, b * rng.BLOCK)
            for i in range(rng.BLOCK):
                for k in range(4):
                    out[w, b * rng.BLOCK + i, k] = draws.words[k * rng.BLOCK + i]


@entry
def few_rounds(out, seed, replicate, space, window, stride, rounds):
    """The same words with fewer rounds of Philox; with ten they are those of the engine."""
    for w in range(out.shape[0]):
        for i in range(out.shape[1]):
            c0, c1 = np.uint64(i), np.uint64(window + stride * w)
            c2, c3 = rng.stream_word(rng.CANDIDATE, space), np.uint64(replicate)
            k0, k1 = np.uint64(seed) & rng.LOW, np.uint64(seed) >> rng.S32
            for _ in range(rounds):
                c0, c1, c2, c3 = rng.one_round(c0, c1, c2, c3, k0, k1)
                k0, k1 = (k0 + rng.W0) & rng.LOW, (k1 + rng.W1) & rng.LOW
            out[w, i, 0], out[w, i, 1], out[w, i, 2], out[w, i, 3] = c0, c1, c2, c3


@entry
def congruential(out, state):
    """x -> 1664525 x + 1013904223 mod 2^32; returns the last x."""
    for i in range(out.shape[0]):
        state = (np.uint64(1664525) * state + np.uint64(1013904223)) & rng.LOW
        out[i] = state
    return state


class Stream:
    """Chunks of one engine stream, or of two neighbours word by word; never the same word twice.

    A neighbouring window, space or replicate is the odd one of a pair whose even one is the first.
    """

    def __init__(self, seed: int, *, neighbour: str = "", weak: str = ""):
        self.seed, self.neighbour, self.weak = seed, neighbour, weak
        self.draws, self.state = rng.make_draws(), np.uint64(seed)

    def __iter__(self) -> Iterator[np.ndarray]:
        replicate = 0
        while True:
            for space in range(SPACES):
                yield self.chunk(replicate, space)
            replicate += 1

    def chunk(self, replicate: int, space: int) -> np.ndarray:
        """WINDOWS windows of one space of one replicate, twice as many words with a neighbour."""
        if self.weak == "lcg":
            out = np.empty(WINDOWS * CANDIDATES * 4, np.uint32)
            self.state = np.uint64(congruential(out, self.state))
            return out
        first = {"seed": self.seed, "replicate": replicate, "space": space, "window": 1}
        if not self.neighbour:
            return self.words(first, 1)
        step = NEIGHBOURS[self.neighbour]
        stride = 2 if self.neighbour == "window" else 1
        for part in {"replicate", "space"} & step.keys():
            first[part] *= 2
        second = {part: value + step.get(part, 0) for part, value in first.items()}
        a, b = self.words(first, stride), self.words(second, stride)
        if self.weak == "shared word":
            b[..., 3] = a[..., 3]
        return np.stack([a, b], axis=-1)

    def words(self, address: dict[str, int], stride: int) -> np.ndarray:
        out = np.empty((WINDOWS, CANDIDATES, 4), np.uint32)
        place = (
            np.uint64(address["seed"]),
            *(address[k] for k in ("replicate", "space", "window")),
        )
        if self.weak == "two rounds":
            few_rounds(out, *place, stride, 2)
        else:
            engine_words(out, self.draws, *place, stride)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--neighbour", choices=NEIGHBOURS, default="")
    parser.add_argument("--weak", choices=WEAK, default="")
    asked = parser.parse_args()
    try:
        for chunk in Stream(asked.seed, neighbour=asked.neighbour, weak=asked.weak):
            sys.stdout.buffer.write(chunk.data)
    except BrokenPipeError:
        # the reader has seen enough; nothing is left to flush into its closed end
        sys.stderr.close()


if __name__ == "__main__":
    main()
