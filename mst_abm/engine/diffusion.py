"""Spreading and decay of fields on blocks, exact in time while sources stand still.

    dc/dt = D Laplacian(c) - decay c + s

with the discrete Laplacian of the blocks (2 d neighbours), which keeps levels positive and their sum
but for decay and sources. It is diagonal in Fourier modes along periodic axes and in cosines
(DCT-II) along walls, eigenvalue (2 - 2 cos(theta)) / width^2 per axis, theta = 2 pi k / n or pi k / n.
With l = decay + D x eigenvalue, s held over an interval h and x = l h, every mode obeys

    at the end     c e^-x       + s h f1(x),    f1 = (1 - e^-x) / x
    in the mean    c f1(x)      + s h f2(x),    f2 = (1 - f1) / x

Levels that rounding took below 0 are put to 0.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np

SERIES_BELOW = 0.1  # where f2 by its formula would lose digits


@functools.cache
def transforms() -> ModuleType:
    """scipy.fft, imported where a field is first solved: nothing else of a run needs it."""
    import scipy.fft

    return scipy.fft


def eigenvalues(shape: tuple[int, ...], is_periodic: tuple[bool, ...], width: float) -> np.ndarray:
    """Of minus the discrete Laplacian, for every mode of blocks of ``shape``; 1/um^2."""
    total = np.zeros(shape)
    for axis, (n, ring) in enumerate(zip(shape, is_periodic, strict=True)):
        theta = (2.0 if ring else 1.0) * math.pi * np.arange(n) / n
        along = (2.0 - 2.0 * np.cos(theta)) / width**2
        total += along.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return total


def weights(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """e^-x, f1 and f2 of every mode."""
    kept = np.exp(-x)
    is_small = x < SERIES_BELOW
    away = np.where(is_small, 1.0, x)
    f1 = -np.expm1(-away) / away
    f2 = (1.0 - f1) / away
    series1, series2 = np.zeros_like(x), np.zeros_like(x)
    for n in range(11, -1, -1):
        series1 = 1.0 / math.factorial(n + 1) - x * series1
        series2 = 1.0 / math.factorial(n + 2) - x * series2
    return kept, np.where(is_small, series1, f1), np.where(is_small, series2, f2)


class Diffusion:
    """Advances the levels of one patch.

    Parameters
    ----------
    shape : blocks along z, y, x
    is_periodic : along the same axes
    width : of a block, um
    diffusion, decay : um^2/h, 1/h
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        is_periodic: tuple[bool, ...],
        width: float,
        diffusion: float,
        decay: float,
    ) -> None:
        # an axis of one block needs no transform
        axes = [i for i, n in enumerate(shape) if n > 1]
        self._rings = [i for i in axes if is_periodic[i]]
        self._walls = [i for i in axes if not is_periodic[i]]
        self._shape = shape
        rates = decay + diffusion * eigenvalues(shape, is_periodic, width)
        if self._rings:  # a real transform has half of the modes of its last axis
            last = self._rings[-1]
            rates = np.take(rates, np.arange(shape[last] // 2 + 1), axis=last)
        self._rates = rates
        self._weights: dict[float, tuple[np.ndarray, ...]] = {}

    def advance(
        self, levels: np.ndarray, income: np.ndarray, hours: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Levels at the end of an interval, and their mean over it."""
        if hours not in self._weights:
            if len(self._weights) > 64:  # edges of many different widths
                self._weights.clear()
            self._weights[hours] = weights(self._rates * hours)
        kept, f1, f2 = self._weights[hours]
        modes, added = self._modes(levels), self._modes(income * hours)
        ends = self._blocks(modes * kept + added * f1)
        means = self._blocks(modes * f1 + added * f2)
        return np.maximum(ends, 0.0), np.maximum(means, 0.0)

    def _modes(self, values: np.ndarray) -> np.ndarray:
        fft = transforms()
        if self._walls:
            values = fft.dctn(values, type=2, norm="ortho", axes=self._walls, workers=1)
        if self._rings:
            values = fft.rfftn(values, axes=self._rings, workers=1)
        return values

    def _blocks(self, modes: np.ndarray) -> np.ndarray:
        fft = transforms()
        if self._rings:
            shape = [self._shape[i] for i in self._rings]
            modes = fft.irfftn(modes, s=shape, axes=self._rings, workers=1)
        if self._walls:
            modes = fft.idctn(modes, type=2, norm="ortho", axes=self._walls, workers=1)
        return modes
