"""Section ``observables``: what a laboratory would report, counts of cells and levels of signals."""

from __future__ import annotations

from dataclasses import replace

from mst_abm.model.definition import Assay, CountReference, Observable
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import ObservableSection, ObservedSection
from mst_abm.scenario.signals import relative_to
from mst_abm.units import quantity, quantity_in, shown, split

DAY_H = 24.0


def read_observables(context: Context) -> tuple[Observable, ...]:
    """The observables of the model; relative to a number, a density, or other cells."""
    found = []
    for name in context.names["observables"]:
        keys = ("observables", name)
        section = context.problems.check(ObservableSection, keys)
        if section is None or not context.is_on(section.switch, keys):
            continue
        item = _read(context, name, section)
        if item is not None:
            assay = _read_assay(context, item, section.observed, (*keys, "observed"))
            found.append(replace(item, observed=assay))
    return tuple(found)


def _read(context: Context, name: str, section: ObservableSection) -> Observable | None:
    keys = ("observables", name)
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


def _read_assay(
    context: Context, item: Observable, section: ObservedSection | None, keys: Keys
) -> Assay:
    if section is None:
        return Assay()
    for key, written, is_right, words in (
        ("cells_counted", section.cells_counted, item.share_of is not None, "a share ('share_of')"),
        ("volume_counted", section.volume_counted, is_density(item), "a density, as 1e9 /L"),
    ):
        if written is not None and not is_right:
            message = f"expected '{key}' only where the observable is {words}"
            context.problems.add((*keys, key), message, at_key=True)
    if section.volume_counted is not None and section.volume_counted <= 0:
        context.problems.add((*keys, "volume_counted"), "expected a volume above 0")
    days = section.every / DAY_H
    if days != round(days) or section.every < 0:
        message = f'expected whole days or never, as "7 d", got {days:g} d'
        context.problems.add((*keys, "every"), message)
    limit = 0.0
    with context.problems.at(*keys, "limit"):
        limit = 0.0 if section.limit is None else value_in(item, section.limit)
    return Assay(
        every_d=round(days),
        cells=section.cells_counted or 0,
        volume=section.volume_counted or 0.0,
        limit=limit,
        reference=section.source,
        number_class=number_class(section.class_, section.source),
    )


def is_density(item: Observable) -> bool:
    """Whether the observable is cells per volume."""
    return item.count is not None and item.share_of is None and item.count.measure == "density"


def value_in(item: Observable, written: object) -> float:
    """A value as written ("15 %", "1e9 /L") in the unit of the observable it is compared with."""
    if item.share_of is not None:
        return quantity(written, "fraction")
    if item.count is None:
        return _level_in(item.unit, written)
    if is_density(item):
        return quantity(written, "density") / item.count.relative_to
    number = quantity_in(written, "cell", 'a number such as "1e9 cells"')
    return number / item.count.relative_to


def _level_in(unit: str, written: object) -> float:
    """The level of a signal as written; only a number without dimension may lack its unit."""
    number = quantity_in(written, unit)
    if unit != "1" and number and not split(written)[1]:
        raise WordError(f'expected a quantity with its unit as "2 {unit}", got {shown(written)}')
    return number
