"""Section ``observables``: what a laboratory would report, counts of cells and levels of signals."""

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
    if context.problems.one_of(keys, section, ("of", "signal"), "one") != "of":
        return _read_level(context, name, section)
    assert section.of is not None
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


def _read_level(context: Context, name: str, section: ObservableSection) -> Observable | None:
    """A value that is the level of a signal; off while the signal is."""
    keys = ("observables", name)
    for key in ("relative_to", "share_of"):
        if key in section.model_fields_set:
            context.problems.add((*keys, key), f"expected '{key}' only beside 'of'", at_key=True)
    if section.signal is None:
        return None
    with context.problems.at(*keys, "signal"):
        signal = context.known("signals", section.signal, "signal")
        if signal in context.silent:
            return None
        number = number_class(section.class_, section.source)
        unit = context.units.get(signal, "1")
        return Observable(
            name, unit, None, section.times, None, section.source, number, signal=signal
        )
    return None
