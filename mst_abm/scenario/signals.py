"""Section ``signals``: drugs, cytokines and growth factors shared by the whole body."""

from __future__ import annotations

import math

from mst_abm.errors import UnitError
from mst_abm.model.definition import CountReference, EventYield, Signal
from mst_abm.scenario.context import Context, number_class, share_of
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import is_unit
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import ReferenceSection, SignalSection, YieldSection
from mst_abm.units import factor, quantity, quantity_in, shown, split

PLASMA_UNIT = "umol/L"


def read_units(context: Context) -> None:
    """The unit of every signal and whether it is there, needed before rules can be read."""
    for name in context.names["signals"]:
        section = context.problems.check(SignalSection, ("signals", name))
        if section is not None and not context.is_on(section.switch, ("signals", name)):
            context.silent.add(name)
        if context.problems.is_in_doubt("signals", name, "unit"):
            continue
        unit = context.raw("signals", name)
        unit = unit.get("unit") if isinstance(unit, dict) else None
        is_plasma = context.raw("signals", name, "concentration_of") is not None or (
            context.raw("signals", name, "metabolite") is not None
            and context.raw("signals", name, "metabolite", "loading") is None
        )
        text = str(unit) if unit is not None else PLASMA_UNIT if is_plasma else "1"
        with context.problems.at("signals", name, "unit"):
            if is_unit(text):
                context.units[name] = text


def read_signals(context: Context) -> tuple[Signal, ...]:
    found = [_read_signal(context, name) for name in context.names["signals"]]
    return tuple(s for s in found if s is not None and s.name not in context.silent)


def _read_signal(context: Context, name: str) -> Signal | None:
    keys: Keys = ("signals", name)
    section = context.problems.check(SignalSection, keys)
    unit = context.units.get(name)
    if section is None or unit is None:
        return None
    if section.concentration_of is not None or section.metabolite is not None:
        return _read_given(context, name, section, unit, keys)
    values: dict[str, float] = {"saturable_half": 1.0}
    for key, written, wanted in (
        ("initial", section.initial, unit),
        ("production", section.production, "per hour"),
        ("saturable_maximum", getattr(section.saturable_clearance, "max", 0), "per hour"),
        ("saturable_half", getattr(section.saturable_clearance, "half", 1), unit),
    ):
        inside = ("saturable_clearance", {"saturable_maximum": "max"}.get(key, "half"))
        with context.problems.at(*keys, *(inside if key.startswith("saturable") else (key,))):
            if wanted == "per hour":
                values[key] = per_hour(written, unit)
            else:
                values[key] = quantity_in(written, wanted)
            if values[key] < 0 or (key == "saturable_half" and values[key] == 0):
                raise WordError(f"expected a number of 0 or more, got {shown(written)}")
    if section.fraction_of is not None:
        with context.problems.at(*keys, "fraction_of"):
            if "initial" in section.model_fields_set:
                raise WordError("expected 'initial' or 'fraction_of', got both")
            values["initial"] = share_of(context, section.fraction_of)
    yields, events = _read_yields(context, section.yields, unit, (*keys, "yields"))
    clearances = _read_references(context, section.cleared_by, None, (*keys, "cleared_by"))
    return Signal(
        name=name,
        kind="dynamic",
        unit=unit,
        initial=values.get("initial", 0.0),
        production=values.get("production", 0.0),
        yields=yields,
        clearance=section.clearance,
        clearances=clearances,
        saturable_maximum=values.get("saturable_maximum", 0.0),
        saturable_half=values.get("saturable_half", 1.0),
        reference=section.source,
        number_class=number_class(section.class_, section.source),
        events=events,
    )


def _read_given(
    context: Context, name: str, section: SignalSection, unit: str, keys: Keys
) -> Signal | None:
    """A plasma level or a metabolite: a function of the doses alone."""
    allowed = {
        "unit",
        "initial",
        "concentration_of",
        "metabolite",
        "source",
        "class_",
        "note",
        "switch",
    }
    extra = sorted(section.model_fields_set - allowed)
    for key in extra:
        message = "expected only in a signal without 'metabolite' and 'concentration_of'"
        context.problems.add((*keys, key), message, at_key=True)
    metabolite = section.metabolite
    if metabolite is not None and section.concentration_of is not None:
        context.problems.add(keys, "expected 'metabolite' or 'concentration_of', got both")
        return None
    number = number_class(section.class_, section.source)
    if metabolite is None:
        with context.problems.at(*keys, "concentration_of"):
            drug = context.known("drugs", section.concentration_of or "", "drug")
            if factor(unit, PLASMA_UNIT) != 1.0:
                raise WordError(
                    f"expected unit: {PLASMA_UNIT} for a plasma level, got {shown(unit)}"
                )
            return Signal(
                name, "drug", unit, drug=drug, reference=section.source, number_class=number
            )
        return None
    if metabolite.loading is not None and unit != "1":
        context.problems.add(
            (*keys, "unit"),
            f"expected unit: 1 (relative to the saturated level), got {shown(unit)}",
        )
    if metabolite.loading is None and factor(unit, PLASMA_UNIT) != 1.0:
        context.problems.add(
            (*keys, "unit"),
            f"expected unit: {PLASMA_UNIT} without 'loading', got {shown(unit)}",
            of=[(*keys, "unit"), (*keys, "metabolite", "loading")],
        )
    if metabolite.half_life <= 0:
        context.problems.add((*keys, "metabolite", "half_life"), "expected a duration above 0")
        return None
    with context.problems.at(*keys, "metabolite", "made_from"):
        return Signal(
            name=name,
            kind="metabolite",
            unit=unit,
            clearance=math.log(2.0) / metabolite.half_life,
            drug=context.known("drugs", metabolite.made_from, "drug"),
            saturates_at=metabolite.loading.saturates_at if metabolite.loading else math.inf,
            reference=section.source,
            number_class=number,
        )
    return None


def per_hour(written: object, unit: str) -> float:
    """Signal units per hour: "0.3 /h" or, with the unit written out, "0.3 pg/mL/h"."""
    try:
        return quantity(written, "rate")
    except UnitError:
        if unit == "1":
            raise
    number, text = split(written)
    scale = factor(text, f"({unit})/hour")
    if scale is None:
        raise UnitError(f'expected "2 /h" or "2 {unit}/h", got {shown(written)}')
    return number * scale


def _read_references(
    context: Context, sections: list[ReferenceSection], unit: str | None, keys: Keys
) -> tuple[tuple[float, CountReference], ...]:
    """Terms in numbers of cells; ``unit`` of the signal for yields, None for clearances."""
    read = (_read_term(context, s.of, s.rate, s, unit, (*keys, i)) for i, s in enumerate(sections))
    return tuple(term for term in read if term is not None)


def _read_term(
    context: Context,
    of: str,
    written: object,
    section: ReferenceSection | YieldSection,
    unit: str | None,
    keys: Keys,
) -> tuple[float, CountReference] | None:
    """One term in numbers of cells; None where it is off or has a mistake."""
    rate, reference = None, None
    with context.problems.at(*keys, "rate"):
        rate = per_hour(written, unit) if unit is not None else quantity(written, "rate")
        if rate < 0:
            raise WordError(f"expected a rate of 0 or more, got {shown(written)}")
    with context.problems.at(*keys, "of"):
        place, cells = context.place(of)
        pattern = parse_pattern(cells, context.vocabulary)
        with context.problems.at(*keys, "relative_to"):
            measure, amount = relative_to(context, section.relative_to, place)
            reference = CountReference(place, pattern, measure, amount)  # type: ignore[arg-type]
    is_on = context.is_on(section.switch, keys)
    return (rate, reference) if is_on and rate is not None and reference is not None else None


def _read_yields(
    context: Context, sections: list[YieldSection], unit: str, keys: Keys
) -> tuple[tuple[tuple[float, CountReference], ...], tuple[EventYield, ...]]:
    """What cells make of a signal all the time, and what events add to it."""
    terms: list[tuple[float, CountReference]] = []
    events: list[EventYield] = []
    for i, section in enumerate(sections):
        here = (*keys, i)
        source = context.problems.one_of(here, section, ("of", "event", "deaths"), "one")
        if not source:
            continue
        needed, other = ("rate", "amount") if source == "of" else ("amount", "rate")
        if getattr(section, other) is not None:
            message = f"expected '{needed}' beside {source}, got '{other}'"
            context.problems.add((*here, other), message, at_key=True)
        elif getattr(section, needed) is None:
            message = f"missing '{needed}' beside {source}"
            context.problems.add(here, message, of=[(*here, needed)])
        elif source == "of":
            term = _read_term(context, section.of or "", section.rate, section, unit, here)
            terms += [term] if term is not None else []
        else:
            event = _read_event(context, section, unit, here)
            events += [event] if event is not None else []
    return tuple(terms), tuple(events)


def _read_event(
    context: Context, section: YieldSection, unit: str, keys: Keys
) -> EventYield | None:
    """What events add; names of rules are looked up when all rules are known."""
    amount = relative = None
    place, pattern = "", None
    with context.problems.at(*keys, "amount"):
        amount = quantity_in(section.amount, unit)
        if amount < 0:
            raise WordError(f"expected an amount of 0 or more, got {shown(section.amount)}")
    if section.deaths is not None:
        with context.problems.at(*keys, "deaths"):
            place, cells = context.place(section.deaths)
            pattern = parse_pattern(cells, context.vocabulary)
    with context.problems.at(*keys, "relative_to"):
        measure, relative = relative_to(context, section.relative_to, "")
        if measure != "cells":
            raise WordError(
                f'expected a number such as "1e9 cells", got {shown(section.relative_to)}'
            )
    is_list = isinstance(context.raw(*keys, "event"), list)
    for j, name in enumerate(section.event or []):
        context.events.append(((*keys, "event", j) if is_list else (*keys, "event"), name))
    is_on = context.is_on(section.switch, keys)
    if not is_on or amount is None or relative is None or (section.deaths and pattern is None):
        return None
    return EventYield(amount, relative, tuple(section.event or []), place, pattern)


def relative_to(context: Context, written: object, place: str) -> tuple[str, float]:
    """("cells", number in the body) or ("density", cells per um^3)."""
    words = 'a number such as "1e9 cells" or a density such as "4e9 /L"'
    try:
        number, unit = split(written)
        scale = factor(unit, "")
        measure = "cells"
        if scale is None:
            scale, measure = factor(unit, "1/micrometer**3"), "density"
    except UnitError as error:
        raise UnitError(f"expected {words}, got {shown(written)} ({error})") from None
    if scale is None or number <= 0:
        raise UnitError(f"expected {words}, above 0, got {shown(written)}")
    compartment = context.compartments.get(place)
    if measure == "density" and compartment is not None and compartment.volume <= 0:
        raise WordError(
            f"expected a number of cells, or 'stands_for: 5 L' in compartment '{place}', "
            f"to which a density can refer, got {shown(written)}"
        )
    return measure, number * scale
