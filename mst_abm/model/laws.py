"""Modifiers and counters as the engine's flat arrays: laws, integer tables, update programs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mst_abm.engine import tables as T
from mst_abm.errors import ModelError
from mst_abm.model.definition import CellType, Counter, Modifier, Pattern, Product, Shape
from mst_abm.model.species import Species, matches

KINDS = {
    "hill": T.HILL,
    "inverse_hill": T.INVERSE_HILL,
    "linear": T.LINEAR,
    "step": T.STEP,
    "exponential": T.EXPONENTIAL,
    "table": T.TABLE,
}
PARAMETERS = {
    "hill": ("bottom", "top", "half", "power", "offset"),
    "inverse_hill": ("bottom", "top", "half", "power", "offset"),
    "linear": ("intercept", "slope", "low", "high"),
    "step": ("at", "below", "above"),
    "exponential": ("top", "scale"),
    "table": (),
}


def evaluate(shape: Shape, x: float) -> float:
    """y = f(x) of a shape, in plain Python (formulas: `Shape`)."""
    p = dict(shape.parameters)
    if shape.kind in ("hill", "inverse_hill"):
        e = x - p["offset"]
        magnitude = abs(e) ** p["power"]
        share = magnitude / (magnitude + p["half"] ** p["power"]) if e else 0.0
        share = math.copysign(share, e)
        if shape.kind == "inverse_hill":
            share = 1.0 - share
        if shape.is_geometric:
            return p["bottom"] ** (1.0 - share) * p["top"] ** share
        return p["bottom"] + (p["top"] - p["bottom"]) * share
    if shape.kind == "linear":
        return min(max(p["intercept"] + p["slope"] * x, p["low"]), p["high"])
    if shape.kind == "step":
        return p["below"] if x < p["at"] else p["above"]
    if shape.kind == "exponential":
        return p["top"] * (1.0 - math.exp(-x / p["scale"]))
    return float(np.interp(x, shape.x, shape.y))


def greatest(shape: Shape) -> float:
    """Largest value of a shape for x of 0 or more; infinite where it has no bound."""
    p = dict(shape.parameters)
    if shape.kind == "table":
        return max(shape.y)
    if shape.kind == "step":
        return max(p["below"], p["above"])
    # the others rise or fall throughout
    far = p["high"] if p.get("slope", 0.0) > 0.0 else p.get("top", 0.0)
    if shape.kind == "inverse_hill":
        far = p["bottom"]
    return max(evaluate(shape, 0.0), far)


class Patterns:
    """Distinct patterns as masks over species."""

    def __init__(self, species: Sequence[Species]):
        self.species = species
        self.rows: list[tuple[bool, ...]] = []

    def row(self, pattern: Pattern) -> int:
        """Number of the mask of a pattern, made when first asked for."""
        mask = tuple(matches(pattern, s) for s in self.species)
        if mask not in self.rows:
            self.rows.append(mask)
        return self.rows.index(mask)

    def array(self) -> np.ndarray:
        """(patterns, species) of bool; one row at least."""
        return np.array(self.rows or [(False,) * len(self.species)])


class Layout:
    """Where each type keeps its counters in 16 bits."""

    def __init__(self, types: Sequence[CellType]):
        self.places: dict[str, dict[str, tuple[int, Counter]]] = {}
        for t in types:
            shift, places = 0, {}
            for counter in t.counters:
                places[counter.name] = (shift, counter)
                shift += max(counter.maximum.bit_length(), 1)
            if shift > 16 or len(t.counters) > 4:
                raise ModelError(
                    f"type '{t.name}': counters may be 4 and take 16 bits in all, "
                    f"got {len(t.counters)} and {shift}."
                )
            self.places[t.name] = places

    @property
    def is_used(self) -> bool:
        return any(self.places.values())

    def shift_and_mask(self, type_name: str, counter: str) -> tuple[int, int]:
        shift, declared = self.places[type_name][counter]
        return shift, (1 << max(declared.maximum.bit_length(), 1)) - 1

    def unpack(self, type_name: str, packed: np.ndarray) -> list[np.ndarray]:
        """Counters of agents of one type, in the order of the type."""
        return [
            (packed >> shift) & ((1 << max(counter.maximum.bit_length(), 1)) - 1)
            for shift, counter in self.places.get(type_name, {}).values()
        ]


class Updates:
    """Programs that turn a reactant's packed counters into a product's."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.programs: dict[tuple, int] = {}
        self.weights: list[float] = []

    def program(
        self,
        reactant: Species | None,
        product: Species,
        declared: Product,
        role: str,
        weights: dict[str, tuple[float, ...]] | None = None,
    ) -> int:
        """Number of a program; -1 when the product has no counters.

        ``role``: "same" (the cell goes on), "first" or "second" daughter. ``weights``: initial
        weights of counters, instead of those of the type.
        """
        places = self.layout.places.get(product.type, {})
        if not places:
            return -1
        own = self.layout.places.get(reactant.type, {}) if reactant else {}
        asked = {name: (how, amount) for name, how, amount in declared.counters}
        operations = []
        for name, (target, counter) in places.items():
            kind, amount, shift, mask, first_weight = T.KEEP, 0, 0, 0, 0
            if name in own:
                assert reactant is not None
                shift, mask = self.layout.shift_and_mask(reactant.type, name)
                if role != "same":
                    kind, amount = self._on_division(counter, role)
            else:
                kind = T.RESAMPLE
            if name in asked:
                how, value = asked[name]
                if how == "set":
                    kind, amount = T.SET, value
                elif kind in (T.KEEP, T.ADD):
                    kind, amount = T.ADD, amount + value
                elif kind == T.SET:
                    amount += value
                else:
                    raise ModelError(
                        f"counter '{name}' of '{product.type}' is drawn or halved and also changed "
                        f"by {value:+d}; state one of the two."
                    )
            if kind == T.RESAMPLE:
                initial = (weights or {}).get(name, counter.initial)
                certain = [v for v, w in enumerate(initial) if w == 1.0]
                if certain:
                    kind, amount = T.SET, certain[0]
                else:
                    first_weight = len(self.weights)
                    self.weights += list(np.cumsum(initial))
            operations.append((kind, shift, mask, amount, target, counter.maximum, first_weight))
        return self.programs.setdefault(tuple(operations), len(self.programs))

    @staticmethod
    def _on_division(counter: Counter, role: str) -> tuple[int, int]:
        return {
            "inherit": (T.KEEP, 0),
            "zero": (T.SET, 0),
            "minus_one": (T.ADD, -1),
            "plus_one": (T.ADD, 1),
            "halve": (T.HALVE_UP if role == "first" else T.HALVE_DOWN, 0),
            "resample": (T.RESAMPLE, 0),
        }[counter.on_division]

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of `Tables` by name."""
        flat = [op for program in self.programs for op in program]
        ends = np.cumsum([0] + [len(program) for program in self.programs])
        return {
            "operations": np.array(flat, T.OPERATION),
            "update_range": np.stack([ends[:-1], ends[1:]], axis=1),
            "weights": np.array(self.weights or [1.0]),
        }


class Factors:
    """Products of signal laws, each distinct one once; number 0 is the constant 1."""

    def __init__(self, signal_names: Sequence[str]):
        self.signal_names = list(signal_names)
        self.products: list[tuple[Modifier, ...]] = [()]
        self.lone: list[Modifier] = []  # laws of fields, which stand after all products

    def term(self, modifier: Modifier) -> int:
        """Number of a law of a field, counted from the first of them."""
        if modifier not in self.lone:
            self.lone.append(modifier)
        return self.lone.index(modifier)

    def number(self, modifiers: Sequence[Modifier]) -> int:
        key = tuple(modifiers)
        if key not in self.products:
            self.products.append(key)
        return self.products.index(key)

    def nominal(self, number: int, levels: dict[str, float]) -> float:
        """Value of a product at given signal levels."""
        return math.prod(evaluate(m.shape, levels[m.target]) for m in self.products[number])

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of `Tables` by name."""
        terms = [*(m for product in self.products for m in product), *self.lone]
        ends = np.cumsum([0] + [len(product) for product in self.products])
        records = np.zeros(len(terms), T.TERM)
        points: list[tuple[float, float]] = []
        for record, m in zip(records, terms, strict=True):
            given = dict(m.shape.parameters)
            record["signal"] = self.signal_names.index(m.target) if m.source == "signal" else -1
            record["kind"] = KINDS[m.shape.kind]
            record["geometric"] = m.shape.is_geometric
            for j, name in enumerate(PARAMETERS[m.shape.kind]):
                record[f"p{j}"] = given[name]
            record["first"] = len(points)
            points += list(zip(m.shape.x, m.shape.y, strict=True))
            record["last"] = len(points)
        return {
            "factor_range": np.stack([ends[:-1], ends[1:]], axis=1),
            "terms": records,
            "law": np.array(points, float).reshape(-1, 2),
        }


class LocalModifiers:
    """Modifiers read at a candidate event, as tables over integers divided by their bound."""

    def __init__(self, patterns: Patterns, layout: Layout):
        self.patterns = patterns
        self.layout = layout
        self.fields: list[tuple[str, str]] = []  # (distance | site, static type)
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.values: list[float] = []

    def add(self, modifier: Modifier, actor: Species, n_ball: int, where: str) -> float:
        """Append one modifier of a channel; returns its bound, the factor to put into the rate."""
        if modifier.source == "near":
            assert modifier.pattern is not None
            kind, target, reach = T.NEAR, self.patterns.row(modifier.pattern), modifier.within
            span = n_ball + 1
        elif modifier.source == "counter":
            if modifier.target not in self.layout.places.get(actor.type, {}):
                raise ModelError(
                    f"{where}: cells of type '{actor.type}' have no counter '{modifier.target}'."
                )
            kind = T.COUNTER
            target, reach = self.layout.shift_and_mask(actor.type, modifier.target)
            span = self.layout.places[actor.type][modifier.target][1].maximum + 1
        else:
            kind = T.DISTANCE if modifier.source == "distance" else T.SITE
            key = (modifier.source, modifier.target)
            if key not in self.fields:
                self.fields.append(key)
            target, reach = self.fields.index(key), 0
            span = 256 if kind == T.DISTANCE else 27
        values = [evaluate(modifier.shape, x) for x in range(span)]
        bound = max(values)
        if min(values) < 0 or not math.isfinite(bound):
            raise ModelError(f"{where}: a modifier is negative or infinite within its range.")
        if bound > 0:
            self.rows.append((kind, target, reach, len(self.values), span))
            self.values += [v / bound for v in values]
        return bound

    def add_reading(self, number: int) -> None:
        """Append a modifier that reads a field; its values are worked out in every interval."""
        if number >= 0:
            self.rows.append((T.FIELD, number, 0, 0, 0))

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of `Tables` by name."""
        return {
            "modifiers": np.array(self.rows, T.MODIFIER),
            "modifier_values": np.array(self.values or [1.0]),
        }
