"""Species: reachable combinations of a cell type and its states, numbered from 1.

Number 0 is the vacant site. Only combinations that initial cells, infusions, arrivals and the rules
can produce are compiled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from mst_abm.errors import ModelError
from mst_abm.model.definition import CellType, Model, Pattern, Product, Rule

MAX_SPECIES = 4000


@dataclass(frozen=True)
class Species:
    """A cell type with a value for each of its axes, in the order of the type.

    ``implied``: axes at their default, which go without saying.
    """

    type: str
    values: tuple[tuple[str, str], ...] = ()
    implied: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def state(self) -> dict[str, str]:
        """Value by axis; patterns are compared with it hundreds of thousands of times."""
        return dict(self.values)

    @property
    def stated(self) -> tuple[tuple[str, str], ...]:
        """Axes and values that have to be said."""
        return tuple(item for item in self.values if item[0] not in self.implied)

    @property
    def name(self) -> str:
        """``type[axis=value, ...]``."""
        if not self.stated:
            return self.type
        return f"{self.type}[{', '.join(f'{axis}={value}' for axis, value in self.stated)}]"


EMPTY = Species("empty")


def _species(cell_type: CellType, values: tuple[tuple[str, str], ...]) -> Species:
    implied = (axis for axis, value in values if cell_type.defaults.get(axis) == value)
    return Species(cell_type.name, values, tuple(implied))


def matches(pattern: Pattern, species: Species) -> bool:
    """Whether a species fits a pattern; the vacant site fits only ``empty``."""
    if species is EMPTY or species == EMPTY:
        return pattern.is_empty
    for term in pattern.terms:
        if term.type == species.type:
            state = species.state
            if all(state[axis] in allowed for axis, allowed in term.values):
                return True
    return False


def resolve(
    product: Product, reactant: Species | None, types: dict[str, CellType], where: str
) -> Species:
    """The species a product stands for, given the cell it comes from.

    Raises
    ------
    ModelError
        If an axis of the product's type is neither stated nor carried over and has no default.
    """
    if product.kind == "empty":
        return EMPTY
    if product.kind == "same":
        assert reactant is not None
        return reactant
    name = product.type or (reactant.type if reactant else None)
    if name is None:
        raise ModelError(f"{where}: the product '{product.text}' names no cell type.")
    stated = dict(product.values)
    carried = dict(reactant.values) if reactant and reactant != EMPTY else {}
    values = []
    for axis, allowed in types[name].axes.items():
        value = stated.get(axis, carried.get(axis, types[name].defaults.get(axis)))
        if value not in allowed:
            raise ModelError(
                f"{where}: the product '{product.text or name}' leaves the axis '{axis}' of "
                f"'{name}' open; state one of {', '.join(allowed)}."
            )
        values.append((axis, value))
    return _species(types[name], tuple(values))


def _reached_by(
    rule: Rule, known: dict[Species, None], types: dict[str, CellType]
) -> list[Species]:
    where = f"rule '{rule.name}'"
    found: list[Species] = []
    actors = [s for s in known if matches(rule.actor, s)]
    partners = [s for s in known if rule.partner and matches(rule.partner, s)]
    for outcome in rule.outcomes:
        for actor in actors:
            if rule.verb in ("contact", "paracrine"):
                if partners:
                    found.append(resolve(outcome.products[0], actor, types, where))
            else:
                found += [resolve(p, actor, types, where) for p in outcome.products]
        if rule.verb in ("contact", "paracrine") and actors:
            found += [resolve(outcome.products[1], partner, types, where) for partner in partners]
    if rule.emits and actors:
        found += [resolve(rule.emits[1], None, types, where)]
    return found


def expand(pattern: Pattern, types: dict[str, CellType]) -> list[Species]:
    """Every combination a pattern allows, reachable or not."""
    found: list[Species] = []
    for term in pattern.terms:
        restricted = dict(term.values)
        combinations: list[tuple[tuple[str, str], ...]] = [()]
        for axis, allowed in types[term.type].axes.items():
            values = [v for v in allowed if v in restricted.get(axis, allowed)]
            combinations = [c + ((axis, v),) for c in combinations for v in values]
        found += [_species(types[term.type], c) for c in combinations]
    return found


def reachable_species(model: Model, entering: Iterable[Product] = ()) -> list[Species]:
    """All species that can occur, ``EMPTY`` first, then by type and axis order.

    ``entering``: products of protocols (infusions, resets).
    """
    types = {t.name: t for t in model.types}
    known: dict[Species, None] = {}
    for item in model.initial:
        for product, _ in item.species:
            known[resolve(product, None, types, f"initial cells of '{item.compartment}'")] = None
    for product in entering:
        known[resolve(product, None, types, "protocol")] = None
    for rule in model.rules:
        if rule.verb == "arrive" and rule.is_from_outside:
            for species in expand(rule.actor, types):
                known[species] = None
    while True:
        before = len(known)
        for rule in model.rules:
            for species in _reached_by(rule, known, types):
                if species != EMPTY:
                    known[species] = None
        if len(known) > MAX_SPECIES:
            raise ModelError(
                f"the model has more than {MAX_SPECIES} species; give types fewer axes or values."
            )
        if len(known) == before:
            break
    order = {t.name: i for i, t in enumerate(model.types)}
    ranks = {
        t.name: {a: {v: i for i, v in enumerate(vs)} for a, vs in t.axes.items()}
        for t in model.types
    }

    def place(species: Species) -> tuple:
        return order[species.type], tuple(ranks[species.type][a][v] for a, v in species.values)

    return [EMPTY, *sorted(known, key=place)]
