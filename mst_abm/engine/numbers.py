"""Elementary functions of our own, so that results do not hang on a machine's C library."""

from __future__ import annotations

import math

from mst_abm.engine.kernel import keep_apart, kernel

LN2_HIGH = 0.6931471803691238
LN2_LOW = 1.9082149292705877e-10
LN2 = 0.6931471805599453


@kernel
def logarithm(x):
    """log x for x > 0; x = f 2^e, log = e log 2 + 2 artanh((f - 1)/(f + 1)), to 4e-16."""
    f, e = math.frexp(x)
    if f < 0.75:
        f *= 2.0
        e -= 1
    s = (f - 1.0) / (f + 1.0)
    q = s * s
    total = 0.0
    for k in range(23, 1, -2):
        total = total * q + 1.0 / k
    return e * LN2 + 2.0 * s * (1.0 + q * total)


@kernel
def exponential(x):
    """exp x; x = n log 2 + r, |r| <= 0.35, Taylor series to r^14; 0 below -700."""
    if x < -700.0:
        return 0.0
    if x > 700.0:
        x = 700.0
    n = math.floor(x / LN2 + 0.5)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    total = 1.0
    for k in range(14, 0, -1):
        total = 1.0 + total * r / k
    return math.ldexp(total, int(n))


@kernel
def power(x, p):
    """x^p for x >= 0; exact for p = 1 and 2."""
    keep_apart()
    if p == 1.0:
        return x
    if p == 2.0:
        return x * x
    if x <= 0.0:
        return 0.0
    return exponential(p * logarithm(x))
