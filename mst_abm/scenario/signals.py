"""Section ``signals``: drugs, cytokines and growth factors shared by the whole body."""

from __future__ import annotations

import math

from mst_abm.errors import UnitError
from mst_abm.model.definition import CountReference, Signal
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import is_unit
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import ReferenceSection, SignalSection
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
    yields = _read_references(context, section.yields, unit, (*keys, "yields"))
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
    found = []
    for i, section in enumerate(sections):
        here = (*keys, i)
        rate, reference = None, None
        with context.problems.at(*here, "rate"):
            is_yield = unit is not None
            rate = (
                per_hour(section.rate, unit or "1") if is_yield else quantity(section.rate, "rate")
            )
            if rate < 0:
                raise WordError(f"expected a rate of 0 or more, got {shown(section.rate)}")
        with context.problems.at(*here, "of"):
            place, cells = context.place(section.of)
            pattern = parse_pattern(cells, context.vocabulary)
            with context.problems.at(*here, "relative_to"):
                measure, amount = relative_to(context, section.relative_to, place)
                reference = CountReference(place, pattern, measure, amount)  # type: ignore[arg-type]
        is_on = context.is_on(section.switch, here)
        if is_on and rate is not None and reference is not None:
            found.append((rate, reference))
    return tuple(found)


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
