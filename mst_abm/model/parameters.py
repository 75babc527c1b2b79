"""Every number of a model with name, unit, class and source: the rows of a parameter table.

Values are those the engine is given, in base units. One class and source may stand for several numbers: those of
a modifier that names none are its rule's, as `number_classes` counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from mst_abm.model.definition import (
    CountReference,
    Hazard,
    Model,
    NumberClass,
    Rule,
    Shape,
    Signal,
)

#: Parameters of a shape that are factors; the others have the unit of what is looked at.
_FACTORS = {"bottom", "top", "power", "intercept", "low", "high", "below", "above"}


class Parameter(NamedTuple):
    """One number; ``value`` as text, for rates are shown as they were written."""

    name: str
    value: str
    unit: str
    number_class: NumberClass
    source: str


def parameters_of(model: Model) -> dict[str, list[Parameter]]:
    """Parameters by the section of the model they belong to; sections without one are left out."""
    units = {level.name: level.unit for level in (*model.signals, *model.fields)}
    found = {
        "rules": [p for rule in model.rules for p in _of_rule(rule, units)],
        "signals": [p for signal in model.signals for p in _of_signal(signal, units)],
        "fields": [
            Parameter(f"{f.name}.{name}", _text(value), unit, f.number_class, f.reference)
            for f in model.fields
            for name, value, unit in (
                ("diffusion", f.diffusion, "um^2/h"),
                ("decay", f.decay, "1/h"),
                ("initial", f.initial, f.unit),
                ("production", f.production, _per_hour(f.unit)),
                *((f"yield of {p.text}", rate, _per_hour(f.unit)) for rate, p, _ in f.yields),
            )
        ],
        "reservoirs": [
            Parameter(f"{r.name}.{name}", _text(value), "cell", r.number_class, r.reference)
            for r in model.reservoirs
            for name, value in (("below", r.below), ("above", r.above))
        ],
        "hazards": [p for hazard in model.hazards for p in _of_hazard(hazard)],
    }
    return {name: rows for name, rows in found.items() if rows}


def _of_rule(rule: Rule, units: dict[str, str]) -> Iterator[Parameter]:
    own = rule.number_class, rule.reference
    value, unit = _split(rule.rate_text)
    yield Parameter(f"{rule.name}.rate", value, unit, *own)
    for i, outcome in enumerate(rule.outcomes):
        if outcome.probability != 1.0:
            name = f"{rule.name}.outcomes.{i}.probability"
            yield Parameter(name, _text(outcome.probability), "1", *own)
    for i, modifier in enumerate(rule.modifiers):
        of = own if modifier.number_class is None else (modifier.number_class, modifier.reference)
        counted = {"distance": "site", "signal": units.get(modifier.target, "1")}
        counted["field"] = counted["signal"]
        unit = counted.get(modifier.source, "1" if modifier.source == "counter" else "cell")
        what = modifier.pattern.text if modifier.pattern else modifier.target
        yield from _of_shape(f"{rule.name}.modifiers.{i} ({what})", modifier.shape, unit, *of)
    if rule.bias is not None:
        of = (
            own if rule.bias.number_class is None else (rule.bias.number_class, rule.bias.reference)
        )
        yield Parameter(f"{rule.name}.bias.strength", _text(rule.bias.strength), "1", *of)
        unit = f"{units.get(rule.bias.field, '1')}/um"
        yield Parameter(f"{rule.name}.bias.half", _text(rule.bias.half), unit, *of)


def _of_shape(
    name: str, shape: Shape, unit: str, number_class: NumberClass, source: str
) -> Iterator[Parameter]:
    for parameter, value in shape.parameters:
        if (parameter == "offset" and not value) or math.isinf(value):
            continue
        of = "1" if parameter in _FACTORS else unit
        of = f"1/({unit})" if parameter == "slope" and unit != "1" else of
        yield Parameter(f"{name}.{parameter}", _text(value), of, number_class, source)
    for x, y in zip(shape.x, shape.y, strict=True):
        yield Parameter(f"{name} at {x:g} {unit}", _text(y), "1", number_class, source)


def _of_signal(signal: Signal, units: dict[str, str]) -> Iterator[Parameter]:
    own = signal.number_class, signal.reference
    if signal.kind == "drug":
        return
    rows = [
        ("initial", signal.initial, signal.unit),
        ("production", signal.production, _per_hour(signal.unit)),
        ("clearance", signal.clearance, "1/h"),
        ("saturable maximum", signal.saturable_maximum, _per_hour(signal.unit)),
    ]
    if signal.saturable_maximum:
        rows.append(("saturable half", signal.saturable_half, signal.unit))
    if signal.kind == "metabolite" and math.isfinite(signal.saturates_at):
        rows.append(("saturates at", signal.saturates_at, "umol/L"))
    rows += [(f"yield of {_of(c)}", rate, _per_hour(signal.unit)) for rate, c in signal.yields]
    rows += [(f"clearance by {_of(c)}", rate, "1/h") for rate, c in signal.clearances]
    for event in signal.events:
        what = event.pattern.text if event.pattern else ", ".join(event.rules)
        rows.append((f"yield of events of {what}", event.amount / event.relative_to, signal.unit))
    for name, value, unit in rows:
        if value or name == "initial":
            yield Parameter(f"{signal.name}.{name}", _text(value), unit, *own)
    for source in signal.inputs:
        name = f"{signal.name}.input of {source.signal}"
        of = source.number_class, source.reference
        yield Parameter(f"{name}.rate", _text(source.rate), _per_hour(signal.unit), *of)
        yield from _of_shape(name, source.shape, units.get(source.signal, "1"), *of)


def _of_hazard(hazard: Hazard) -> Iterator[Parameter]:
    for risk in hazard.risks:
        value, unit = _split(risk.rate_text)
        name, of = f"{hazard.name} ({risk.observable})", (risk.number_class, risk.reference)
        yield Parameter(f"{name}.rate", value, unit, *of)
        yield from _of_shape(name, risk.shape, f"unit of {risk.observable}", *of)
    if hazard.exposure:
        own = hazard.number_class, hazard.reference
        yield Parameter(f"{hazard.name}.log10_median", _text(hazard.log10_median), "log10", *own)
        yield Parameter(f"{hazard.name}.log10_sd", _text(hazard.log10_sd), "log10", *own)
        for name, above in hazard.grades:
            yield Parameter(f"{hazard.name}.grade {name} from", _text(above), "log10", *own)


def _of(count: CountReference) -> str:
    """What is counted, and per how much of it."""
    if count.measure == "density":
        return (
            f"{count.relative_to * 1e9:.4g} per mm^3 of {count.pattern.text} in {count.compartment}"
        )
    return f"{count.relative_to:.4g} cells of {count.pattern.text} in {count.compartment}"


def _per_hour(unit: str) -> str:
    return "1/h" if unit == "1" else f"{unit}/h"


def _split(rate_text: str) -> tuple[str, str]:
    """Number and unit of a rate as it was written."""
    value, _, unit = rate_text.strip().partition(" ")
    return value, f"1{unit}" if unit.startswith("/") else unit


def _text(value: float) -> str:
    return f"{value:.6g}"
