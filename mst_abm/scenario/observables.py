"""Section ``observables``: what a laboratory would report, as counts of cells."""

from __future__ import annotations

from mst_abm.model.definition import CountReference, Observable
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import ObservableSection
from mst_abm.scenario.signals import relative_to


def read_observables(context: Context) -> tuple[Observable, ...]:
    """The observables of the model; relative to a number, a density, or other cells."""
    found = [_read(context, name) for name in context.names["observables"]]
    return tuple(item for item in found if item is not None)


def _read(context: Context, name: str) -> Observable | None:
    keys = ("observables", name)
    section = context.problems.check(ObservableSection, keys)
    if section is None or not context.is_on(section.switch, keys):
        return None
    with context.problems.at(*keys, "of"):
        place, cells = context.place(section.of)
        pattern = parse_pattern(cells, context.vocabulary)
        number = number_class(section.class_, section.source)
        if section.share_of is not None:
            with context.problems.at(*keys, "share_of"):
                whole = parse_pattern(section.share_of, context.vocabulary)
                count = CountReference(place, pattern, "cells", 1.0)
                return Observable(name, "1", count, section.times, whole, section.source, number)
            return None
        with context.problems.at(*keys, "relative_to"):
            if section.relative_to is None:
                raise WordError("expected relative_to (such as 1e9 /L) or share_of")
            measure, amount = relative_to(context, section.relative_to, place)
            unit = str(section.relative_to).replace(" ", "").removeprefix("1cell") or "cell"
            count = CountReference(place, pattern, measure, amount)  # type: ignore[arg-type]
            return Observable(name, unit, count, section.times, None, section.source, number)
    return None
