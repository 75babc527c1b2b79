"""The stream as the engine uses it through a battery of tests (dieharder), alone and with neighbours.

Left out: tests that dieharder itself calls suspect (5, 6, 7, 14), and 201, which refuses AES in
counter mode too. A probability printed as 0 or 1 fails, that is one within 5e-9 of either end: 7e-7
for the 70 of the whole list.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterable, Iterator

import numpy as np
import plain_random as plain
import proof
import pytest
from scipy.stats import norm
from stream import CANDIDATES, NEIGHBOURS, WINDOWS, Stream, few_rounds
from thresholds import BATTERY_P, CONDITIONS, FIFTY
from worlds import seed_of

needs_dieharder = pytest.mark.skipif(
    not shutil.which("dieharder"), reason="dieharder is missing: apt-get install dieharder"
)
LIMIT = float(norm.isf(BATTERY_P))

#: Arguments of dieharder. A minute and a half; a second or less each where `SHORT`.
FULL = (
    "-d 0", "-d 1", "-d 2", "-d 3", "-d 4", "-d 8", "-d 9", "-d 10", "-d 11", "-d 12", "-d 13",
    "-d 15", "-d 16", "-d 17 -t 1000000", "-d 100", "-d 101", "-d 102", "-d 200 -n 4",
    "-d 200 -n 8", "-d 202 -n 3", "-d 202 -n 5", "-d 203 -n 0", "-d 203 -n 3", "-d 203 -n 7",
    "-d 204", "-d 205", "-d 206", "-d 207", "-d 208", "-d 209",
)  # fmt: skip
#: For two interleaved streams: what looks at words, bits or bytes that follow one another.
PAIRED = (
    "-d 1", "-d 3", "-d 4", "-d 8", "-d 15", "-d 16", "-d 102", "-d 202 -n 5", "-d 203 -n 1",
    "-d 205", "-d 206", "-d 207", "-d 209",
)  # fmt: skip
SHORT = ("-d 4", "-d 8", "-d 15", "-d 206")


def feed(chunks: Iterator[np.ndarray], arguments: str) -> tuple[list[tuple[str, float]], int]:
    """Results (test, probability) of one call of dieharder, and the bytes written to its pipe."""
    command = ["dieharder", "-g", "200", *arguments.split()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        written = 0
        try:
            for chunk in chunks:
                written += process.stdin.write(chunk.data)
        except BrokenPipeError:
            pass
        told = process.stdout.read().decode()
    rows = [[word.strip() for word in line.split("|")] for line in told.splitlines()]
    found = [(f"{r[0]} {r[1]}", float(r[4])) for r in rows if len(r) == 6 and r[1].isdigit()]
    assert found, told
    return found, written


def battery(stream: Stream, calls: Iterable[str]) -> tuple[list[str], list[float], int]:
    """Names and Z values of all results, and bytes; each call goes on where the last one stopped."""
    chunks, found, written = iter(stream), [], 0
    for arguments in calls:
        results, taken = feed(chunks, arguments)
        found += results
        written += taken
    p = np.clip([value for _, value in found], 1e-10, 1.0 - 1e-10)
    return [name for name, _ in found], norm.isf(p).tolist(), written


def passes(case: str, stream: Stream, calls: Iterable[str]) -> int:
    names, values, written = battery(stream, calls)
    proof.holds(case, values, LIMIT, written, names)  # n is a number of bytes
    return written


@needs_dieharder
@pytest.mark.proof
def test_engine_stream_in_short() -> None:
    assert passes("engine in short", Stream(seed_of(1)), SHORT) > 2**27


@needs_dieharder
@pytest.mark.verify
def test_engine_stream() -> None:
    """Twelve gigabytes and more: the windows, spaces and replicates of a large ensemble."""
    assert passes("engine", Stream(seed_of(1)), FULL) > 3 * 2**32


@needs_dieharder
@pytest.mark.verify
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_interleaved_streams(neighbour: str) -> None:
    """Words of two streams that differ in one part of the address, in turns."""
    stream = Stream(seed_of(1), neighbour=neighbour)
    assert passes(f"with neighbouring {neighbour}", stream, PAIRED) > 3 * 2**30


@needs_dieharder
@pytest.mark.proof
@pytest.mark.parametrize("weak", ["two rounds", "lcg"])
def test_weak_streams_are_refused(weak: str) -> None:
    """Negative controls; the short list is part of the full one, which then refuses them too."""
    _, values, written = battery(Stream(seed_of(1), weak=weak), SHORT)
    for case in ("engine in short", "engine"):
        proof.is_caught(case, weak, values, LIMIT, written)


@needs_dieharder
@pytest.mark.verify
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_neighbours_that_share_a_word_are_refused(neighbour: str) -> None:
    """Negative control: one word in four is the same in both; the short list is part of theirs."""
    stream = Stream(seed_of(1), neighbour=neighbour, weak="shared word")
    _, values, written = battery(stream, SHORT)
    proof.is_caught(f"with neighbouring {neighbour}", "shared word", values, LIMIT, written)


def test_the_stream_is_that_of_the_engine() -> None:
    """Known address by address, and ten rounds of the weak stream's own code are Philox."""
    seed, replicate, space = 2**33 + 5, 3, 7
    chunk = Stream(seed).chunk(replicate, space)
    for window, candidate in ((0, 0), (5, 255), (127, 130)):
        counter = (candidate, window + 1, space, replicate)
        assert tuple(chunk[window, candidate]) == plain.philox(counter, (5, 2))
    again = np.empty_like(chunk)
    few_rounds(again, np.uint64(seed), replicate, space, 1, 1, 10)
    assert np.array_equal(chunk, again)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_neighbours_never_repeat_each_other(neighbour: str) -> None:
    """Two chunks of an interleaved stream hold each address once: no block of words comes twice."""
    stream = iter(Stream(1, neighbour=neighbour))
    chunks = np.concatenate([next(stream), next(stream)])
    assert chunks.shape == (2 * WINDOWS, CANDIDATES, 4, 2)
    blocks = np.moveaxis(chunks, -1, 0).reshape(-1, 4)
    assert len(np.unique(blocks, axis=0)) == len(blocks)


@pytest.mark.proof
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_interleaved_words_are_uncorrelated(neighbour: str) -> None:
    """Serial correlation of the words of two streams in turns, lags 1 to 16."""
    n = CONDITIONS["uncorrelated"]
    for weak in ("", "shared word"):
        chunks = iter(Stream(seed_of(1), neighbour=neighbour, weak=weak))
        words = np.concatenate([next(chunks).ravel() for _ in range(5)])[: n + 16]
        x = (words + 0.5) / 2.0**32 - 0.5
        values = [
            12.0 * float(np.mean(x[:n] * x[lag : lag + n])) * math.sqrt(n) for lag in range(1, 17)
        ]
        case = f"interleaved {neighbour}"
        if weak:
            proof.is_caught(case, weak, values, FIFTY, n)
        else:
            proof.holds(case, values, FIFTY, n, [f"lag {lag}" for lag in range(1, 17)])
