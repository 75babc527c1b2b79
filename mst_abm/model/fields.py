"""Fields as the engine's arrays: blocks, what cells add to them, and what rules read of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mst_abm.engine import tables as T
from mst_abm.engine.diffusion import Diffusion
from mst_abm.engine.tables import Geometry
from mst_abm.errors import ModelError
from mst_abm.model.definition import Bias, Compartment, Field, Model, Modifier
from mst_abm.model.laws import Factors, Patterns, greatest
from mst_abm.model.species import matches

USUAL_BLOCK = 4


def possible_blocks(shape: Sequence[int]) -> list[int]:
    """Sides a block may have, in sites: those that divide every side of the lattice."""
    most = math.gcd(*shape)
    return [n for n in range(1, most + 1) if most % n == 0]


def usual_block(shape: Sequence[int]) -> int:
    """The largest possible block of at most USUAL_BLOCK sites."""
    return max(n for n in possible_blocks(shape) if n <= USUAL_BLOCK)


def block_width(field: Field, compartment: Compartment) -> float:
    """Side of a block, um."""
    return field.block * compartment.spacing


def range_of(field: Field) -> float:
    """How far a field reaches from where it is made, um: sqrt(diffusion / decay)."""
    if field.diffusion == 0.0:
        return 0.0
    return math.sqrt(field.diffusion / field.decay) if field.decay else math.inf


def yields_of(field: Field, compartment: Compartment) -> list[float]:
    """Level per hour that one cell adds to its block, for every item of ``yields``."""
    volume = field.block ** len(compartment.shape) * compartment.spacing**3
    return [rate / (relative_to * volume) for rate, _, relative_to in field.yields]


def diffusion_of(field: Field, compartment: Compartment) -> Diffusion:
    """What spreads the field in one patch, by blocks along z, y, x."""
    shape = [n // field.block for n in compartment.shape]
    rest = 3 - len(shape)
    return Diffusion(
        (*[1] * rest, *shape[::-1]),
        (*[False] * rest, *compartment.is_periodic[::-1]),
        block_width(field, compartment),
        field.diffusion,
        field.decay,
    )


class Readings:
    """What rules read of fields: factors of modifiers and biases of steps, each distinct one once."""

    def __init__(self, model: Model, geometry: Geometry, factors: Factors):
        self.model, self.geometry, self.factors = model, geometry, factors
        self.numbers = {f.name: i for i, f in enumerate(model.fields)}
        self.places = {c.name: i for i, c in enumerate(model.compartments)}
        self.rows: list[tuple[int, int, int, float, float, float]] = []
        for field in model.fields:
            compartment = model.compartments[self.places[field.compartment]]
            if compartment.kind != "lattice" or field.block not in possible_blocks(
                compartment.shape
            ):
                raise ModelError(
                    f"field '{field.name}': expected a lattice whose sides blocks of {field.block} "
                    f"sites divide, got '{compartment.name}'."
                )

    def factor(self, modifier: Modifier, compartment: Compartment, where: str) -> tuple[int, float]:
        """Number of a modifier's reading, and the bound it is divided by; number -1 if that is 0."""
        self._check_place(modifier.target, compartment, where)
        bound = greatest(modifier.shape)
        if not math.isfinite(bound):
            raise ModelError(
                f"{where}: the factor of the field '{modifier.target}' has no upper bound; give "
                "'high' to its linear shape."
            )
        if bound == 0.0:
            return -1, 0.0
        medium, term = self.numbers[modifier.target], self.factors.term(modifier)
        return self._row((medium, 1, term, bound, 0.0, 1.0)), bound

    def bias(self, bias: Bias, compartment: Compartment, where: str) -> int:
        """Number of the reading that a biased step asks for."""
        self._check_place(bias.field, compartment, where)
        return self._row((self.numbers[bias.field], 3, 0, 1.0, bias.strength, bias.half))

    def _check_place(self, name: str, compartment: Compartment, where: str) -> None:
        field = self.model.fields[self.numbers[name]]
        if field.compartment != compartment.name:
            raise ModelError(
                f"{where}: the field '{name}' is in '{field.compartment}' alone, not in the "
                f"{compartment.kind} compartment '{compartment.name}'; restrict the rule with "
                f"'in: {field.compartment}'."
            )

    def _row(self, row: tuple[int, int, int, float, float, float]) -> int:
        if row not in self.rows:
            self.rows.append(row)
        return self.rows.index(row)

    def arrays(self, patterns: Patterns) -> dict[str, np.ndarray]:
        """Arrays of `Tables` by name; once all rules are read."""
        media = self._media()
        patches = self.geometry.spaces["patches"][media["compartment"]]
        numbers_of = patches * media["nx"] * media["ny"] * media["nz"]
        laws = sum(len(product) for product in self.factors.products)
        readings, first = [], 0
        for medium, numbers, term, bound, strength, half in self.rows:
            readings.append((medium, first, numbers, laws + term, bound, strength, half))
            first += numbers * int(numbers_of[medium])
        return {
            "media": media,
            "yields": self._yields(patterns),
            "readings": np.array(readings, T.READING),
        }

    def _media(self) -> np.ndarray:
        media = np.zeros(len(self.model.fields), T.MEDIUM)
        for i, field in enumerate(self.model.fields):
            m = self.places[field.compartment]
            compartment = self.model.compartments[m]
            sides = [n // field.block for n in compartment.shape]
            blocks = [*sides, 1, 1][:3]
            media[i] = (m, field.block, block_width(field, compartment), *blocks)
        return media

    def _yields(self, patterns: Patterns) -> np.ndarray:
        """Level per hour that one cell of a species adds to its block."""
        yields = np.zeros((len(self.model.fields), len(patterns.species)))
        for i, field in enumerate(self.model.fields):
            levels = yields_of(field, self.model.compartments[self.places[field.compartment]])
            for level, (_, pattern, _) in zip(levels, field.yields, strict=True):
                yields[i] += level * np.array([matches(pattern, s) for s in patterns.species])
        return yields
