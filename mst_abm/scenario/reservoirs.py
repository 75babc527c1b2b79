"""Section ``reservoirs``: classes of cells held as numbers of the whole body while too rare for a sample."""

from __future__ import annotations

from mst_abm.model.definition import Pattern, Reservoir
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import read_at
from mst_abm.scenario.patterns import EMPTY, parse_pattern
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import ReservoirSection

#: Where probes stand unless the model says otherwise.
VACANT = Pattern((), EMPTY, is_empty=True)


def read_reservoirs(context: Context) -> tuple[Reservoir, ...]:
    """The reservoirs that are switched on; no cell may belong to two of a compartment."""
    found: list[Reservoir] = []
    for name in context.names["reservoirs"]:
        reservoir = _read(context, name)
        if reservoir is not None:
            _refuse_shared(context, reservoir, found)
            found.append(reservoir)
    return tuple(found)


def _read(context: Context, name: str) -> Reservoir | None:
    keys: Keys = ("reservoirs", name)
    section = context.problems.check(ReservoirSection, keys)
    if section is None:
        return None
    is_on = context.is_on(section.switch, keys)
    if section.above <= section.below:
        words = f"expected more than 'below', {section.below:g} cells, got {section.above:g}"
        message = f"{words}; between the two a class stays where it is"
        both: list[Keys] = [(*keys, "above"), (*keys, "below")]
        context.problems.add(context.problems.latest(*both), message, of=both)
    with context.problems.at(*keys, "in"):
        context.known("compartments", section.in_, "compartment")
        compartment = context.compartments[section.in_]
        if compartment.capacity:
            raise WordError(
                f"expected a lattice or a mixed compartment without a capacity, got '{section.in_}'"
            )
        if compartment.kind == "mixed":
            for key in ("on", "at"):
                if getattr(section, key) is not None:
                    message = (
                        f"expected '{key}' only beside a lattice; '{section.in_}' has no sites"
                    )
                    context.problems.add((*keys, key), message, at_key=True)
    at = None if section.at is None else read_at(context, section.at, (*keys, "at"))
    on = _read_sites(context, section, keys)
    with context.problems.at(*keys, "cells"):
        cells = parse_pattern(section.cells, context.vocabulary)
        for term in cells.terms:
            if context.vocabulary.types[term.type].is_static:
                raise WordError(f"expected cells that live, got the static type '{term.type}'")
        if context.problems.is_in_doubt(*keys) or not is_on:
            return None
        return Reservoir(
            name,
            cells,
            section.in_,
            section.below,
            section.above,
            section.probes,
            on,
            at,
            section.source,
            number_class(section.class_, section.source),
        )
    return None


def _read_sites(context: Context, section: ReservoirSection, keys: Keys) -> Pattern:
    if section.on is None:
        return VACANT
    with context.problems.at(*keys, "on"):
        cells = [text for text in section.on if text.strip() != EMPTY]
        if not cells:
            return VACANT
        pattern = parse_pattern(cells, context.vocabulary)
        has_vacant = len(cells) < len(section.on)
        words = f"{pattern.text} or {EMPTY}" if has_vacant else pattern.text
        return Pattern(pattern.terms, words, is_empty=has_vacant)
    return VACANT


def _refuse_shared(context: Context, reservoir: Reservoir, others: list[Reservoir]) -> None:
    for other in others:
        if other.compartment != reservoir.compartment:
            continue
        for a in reservoir.cells.terms:
            for b in other.cells.terms:
                if a.type == b.type and _overlap(dict(a.values), dict(b.values)):
                    message = f"'{a.type}' belongs to the reservoir '{other.name}' already"
                    context.problems.add(("reservoirs", reservoir.name, "cells"), message)
                    return


def _overlap(a: dict[str, tuple[str, ...]], b: dict[str, tuple[str, ...]]) -> bool:
    """Whether some cell fits both restrictions of one type."""
    return all(set(a[axis]) & set(b[axis]) for axis in a.keys() & b.keys())
