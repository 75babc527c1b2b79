"""The random part of the twin: Philox 4x32-10 and what is made of its words, in plain Python.

Written from the paper (doi:10.1145/2063384.2063405), not from the kernels. Nothing here may import
the package.
"""

from __future__ import annotations

import math
import struct

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
WORD = 2**32

# Purposes: top four bits of counter word 2.
CANDIDATE, DETAIL, PLACING, INFUSING, ARRIVING, ROUTING, COUNTING, LANDING = 0, 1, 2, 3, 4, 5, 6, 14


def philox(counter: tuple[int, ...], key: tuple[int, ...], rounds: int = 10) -> tuple[int, ...]:
    """Four words for a counter of four and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        high0, low0 = divmod(MULTIPLIERS[0] * c0, WORD)
        high1, low1 = divmod(MULTIPLIERS[1] * c2, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) % WORD, (k1 + WEYL[1]) % WORD
    return c0, c1, c2, c3


def block(
    seed: int, replicate: int, window: int, space: int, number: int, purpose: int
) -> tuple[int, ...]:
    """The four words at an address."""
    counter = number % WORD, window, (purpose << 28) | space, replicate
    return philox(counter, (seed % WORD, seed // WORD))


def uniform53(a: int, b: int) -> float:
    """53 bits of two words, in [0, 1)."""
    return ((a >> 5) * 2**26 + (b >> 6)) / 2**53


def uniform32(word: int) -> float:
    """32 bits of a word, strictly inside (0, 1)."""
    return (word + 0.5) / 2**32


def detail(*address: int) -> tuple[float, float, float]:
    """Three uniforms of a block outside the stream of candidates."""
    w0, w1, w2, w3 = block(*address)
    return uniform53(w0, w1), uniform32(w2), uniform32(w3)


def uniform_of_waiting(word: int) -> float:
    """31 bits, strictly inside (0, 1): the argument of the logarithm."""
    return ((word >> 1) + 0.5) / 2**31


def unit_exponential(word: int) -> float:
    """-log of a uniform by the engine's series, operation by operation.

    u = f 2^e with f in [0.75, 1.5); log f = 2 artanh((f - 1) / (f + 1)).
    """
    bits = struct.unpack("<q", struct.pack("<d", uniform_of_waiting(word)))[0]
    e = ((bits + (1 << 51)) >> 52) - 1023
    f = struct.unpack("<d", struct.pack("<q", bits - (e << 52)))[0]
    s = (f - 1.0) / (f + 1.0)
    q = s * s
    series = 1.0 / 21.0
    for k in range(19, 1, -2):
        series = series * q + 1.0 / k
    return -(e * 0.6931471805599453 + 2.0 * s * (1.0 + q * series))


def candidate(
    seed: int, replicate: int, window: int, space: int, number: int
) -> tuple[float, float, int]:
    """Waiting time, choice in [0, 1) and the word of directions of a candidate event."""
    w0, w1, w2, w3 = block(seed, replicate, window, space, number, CANDIDATE)
    return unit_exponential(w0), uniform53(w1, w2), w3


def logarithm(x: float) -> float:
    """log x by the engine's series."""
    f, e = math.frexp(x)
    if f < 0.75:
        f, e = f * 2.0, e - 1
    s = (f - 1.0) / (f + 1.0)
    q = s * s
    total = 0.0
    for k in range(23, 1, -2):
        total = total * q + 1.0 / k
    return e * 0.6931471805599453 + 2.0 * s * (1.0 + q * total)


def exponential(x: float) -> float:
    """exp x by the engine's series."""
    if x < -700.0:
        return 0.0
    x = min(x, 700.0)
    n = math.floor(x / 0.6931471805599453 + 0.5)
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    total = 1.0
    for k in range(14, 0, -1):
        total = 1.0 + total * r / k
    return math.ldexp(total, n)


def power(x: float, p: float) -> float:
    """x^p for x >= 0."""
    if p == 1.0:
        return x
    if p == 2.0:
        return x * x
    return exponential(p * logarithm(x)) if x > 0.0 else 0.0
