"""Random numbers with an address: Philox 4x32-10, keyed by the seed, counted by use.

A draw is a pure function ``(counter, key) -> four 32-bit words``. The address of a candidate event:

====  ==================================================================
word  meaning
====  ==================================================================
0     candidate number within the window
1     window (exchange interval), 0 is the initial state
2     purpose (top 4 bits) and space: tile, or the mixed compartments
3     replicate
key   seed, low and high word
====  ==================================================================

So no generator has a state, nothing depends on who draws first, and a replicate's numbers are the
same alone and among others.

Words of a candidate block: 0 waiting time, 1 and 2 which cell does what (53 bits), 3 direction and
local acceptance. Blocks are made by the hundred because the compiler then uses vector registers.

Source: Salmon et al. 2011, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine.kernel import entry, inlined, keep_apart, kernel

M0 = np.uint64(0xD2511F53)
M1 = np.uint64(0xCD9E8D57)
W0 = np.uint64(0x9E3779B9)
W1 = np.uint64(0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
S32 = np.uint64(32)

# Purposes: one per use of randomness, so that no two uses can share a draw.
CANDIDATE = 0
DETAIL = 1  # second block of a candidate: rare choices
PLACING = 2  # initial cells
INFUSING = 3  # cells entering by protocol
ARRIVING = 4  # when a waiting cell lands on a patch of many tiles
ROUTING = 5  # patch a cell homes to
COUNTING = 6  # first of eight: product (0, 1) and operation (0..3) that draws a counter
LANDING = 14  # sites a waiting cell tries
RESERVING = 15  # reservoirs: sites of probes, events, hand-over
LAST_SPACE = (1 << 28) - 1  # of no tile and no reservoir
BEFALLING = RESERVING << 28 | LAST_SPACE  # what a patient can bear before something befalls him

BLOCK = 128  # candidates drawn together
TWO_M31 = 2.0**-31
TWO_M32 = 2.0**-32
TWO_M53 = 2.0**-53


class Draws(NamedTuple):
    """Scratch for one block of candidates; each array has BLOCK entries, ``words`` four times that.

    After `fill_block` only waiting, choice and direction count; the others may be put to other use.
    """

    words: np.ndarray
    waiting: np.ndarray
    waiting_bits: np.ndarray
    choice: np.ndarray
    direction: np.ndarray
    exponent: np.ndarray
    fraction: np.ndarray
    fraction_bits: np.ndarray


def make_draws() -> Draws:
    """Scratch arrays for `fill_block`; two of them are integer views of float arrays."""
    waiting, fraction = np.zeros(BLOCK), np.zeros(BLOCK)
    return Draws(
        words=np.zeros(4 * BLOCK, np.uint32),
        waiting=waiting,
        waiting_bits=waiting.view(np.int64),
        choice=np.zeros(BLOCK),
        direction=np.zeros(BLOCK, np.int64),
        exponent=np.zeros(BLOCK),
        fraction=fraction,
        fraction_bits=fraction.view(np.int64),
    )


@inlined
def one_round(c0, c1, c2, c3, k0, k1):
    """One round of Philox 4x32."""
    p0 = M0 * c0
    p1 = M1 * c2
    return (p1 >> S32) ^ c1 ^ k0, p1 & LOW, (p0 >> S32) ^ c3 ^ k1, p0 & LOW


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Four words of Philox 4x32-10 for a counter and a key (all uint64 holding 32 bits).

    The rounds are written out: with an inner loop the compiler leaves the loop over candidates
    scalar (18 ns a block instead of 2.3).
    """
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return one_round(c0, c1, c2, c3, k0, k1)


@entry
def one_block(c0, c1, c2, c3, k0, k1):
    """`philox` for callers in Python."""
    return philox(c0, c1, c2, c3, k0, k1)


def philox_words(counter, key) -> tuple[int, int, int, int]:
    """The pure function ``(counter, key) -> words`` for any caller; four and two 32-bit integers."""
    words = one_block(*(np.uint64(c) for c in counter), *(np.uint64(k) for k in key))
    return tuple(int(word) for word in words)


@kernel
def stream_word(purpose, space):
    """Counter word 2: what the draw is for, and in which space."""
    return np.uint64((purpose << 28) | space)


@kernel
def detail(seed, replicate, window, space, candidate, purpose):
    """One block outside the candidate stream: two uniforms of 53 bits in [0, 1) and one of 32."""
    keep_apart()
    w0, w1, w2, w3 = philox(
        np.uint64(candidate) & LOW,
        np.uint64(window),
        stream_word(purpose, space),
        np.uint64(replicate),
        np.uint64(seed) & LOW,
        np.uint64(seed) >> S32,
    )
    a = (np.float64(w0 >> np.uint64(5)) * 67108864.0 + np.float64(w1 >> np.uint64(6))) * TWO_M53
    return a, (np.float64(w2) + 0.5) * TWO_M32, (np.float64(w3) + 0.5) * TWO_M32


@kernel
def philox_block(words, start, c1, c2, c3, k0, k1):
    """BLOCK consecutive counters; a kernel of its own so that the loop is made of vectors."""
    for i in range(BLOCK):
        w0, w1, w2, w3 = philox((start + np.uint64(i)) & LOW, c1, c2, c3, k0, k1)
        words[i] = w0
        words[BLOCK + i] = w1
        words[2 * BLOCK + i] = w2
        words[3 * BLOCK + i] = w3


@kernel
def split_words(words, waiting, choice, direction):
    """Words to a uniform for the logarithm (never 0 or 1), one of 53 bits, and an integer."""
    for i in range(BLOCK):
        # 31 bits: a signed 32-bit integer is what the vector unit can turn into a float
        waiting[i] = (np.float64(np.int32(words[i] >> np.uint32(1))) + 0.5) * TWO_M31
        high = np.float64(np.int32(words[BLOCK + i] >> np.uint32(5)))
        low = np.float64(np.int32(words[2 * BLOCK + i] >> np.uint32(6)))
        choice[i] = (high * 67108864.0 + low) * TWO_M53
        direction[i] = np.int64(words[3 * BLOCK + i])


@kernel
def split_exponent(bits, exponent, fraction_bits):
    """u = f 2^e with f in [0.75, 1.5), so that the series of the logarithm has |s| <= 0.2."""
    for i in range(BLOCK):
        e = ((bits[i] + 0x0008000000000000) >> 52) - 1023
        exponent[i] = np.float64(np.int32(e))
        fraction_bits[i] = bits[i] - (e << 52)


@kernel
def negative_logarithm(fraction, exponent, waiting):
    """-log(f 2^e) = -(e log 2 + 2 artanh(s)), s = (f - 1) / (f + 1); error below 4e-16."""
    for i in range(BLOCK):
        f = fraction[i]
        s = (f - 1.0) / (f + 1.0)
        q = s * s
        series = 1.0 / 21.0
        series = series * q + 1.0 / 19.0
        series = series * q + 1.0 / 17.0
        series = series * q + 1.0 / 15.0
        series = series * q + 1.0 / 13.0
        series = series * q + 1.0 / 11.0
        series = series * q + 1.0 / 9.0
        series = series * q + 1.0 / 7.0
        series = series * q + 1.0 / 5.0
        series = series * q + 1.0 / 3.0
        waiting[i] = -(exponent[i] * 0.6931471805599453 + 2.0 * s * (1.0 + q * series))


@kernel
def fill_block(draws, seed, replicate, window, space, first):
    """Draw BLOCK candidates from number ``first`` on.

    Changes
    -------
    draws.waiting : unit exponentials, from word 0 through this module's own logarithm (the C
        library's differs between machines in the last bit).
    draws.choice : uniforms in [0, 1) of 53 bits, from words 1 and 2.
    draws.direction : word 3 as int64.
    """
    philox_block(
        draws.words,
        np.uint64(first),
        np.uint64(window),
        stream_word(CANDIDATE, space),
        np.uint64(replicate),
        np.uint64(seed) & LOW,
        np.uint64(seed) >> S32,
    )
    split_words(draws.words, draws.waiting, draws.choice, draws.direction)
    split_exponent(draws.waiting_bits, draws.exponent, draws.fraction_bits)
    negative_logarithm(draws.fraction, draws.exponent, draws.waiting)
