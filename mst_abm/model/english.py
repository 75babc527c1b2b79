"""A model read back as English: one sentence for each rule and signal, with number and source.

For people who check that the file says what they meant. Built from the checked values, not from
the text of the file, so it shows what the engine is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from mst_abm.model.definition import (
    CountReference,
    EventYield,
    Field,
    Hazard,
    Model,
    Modifier,
    NumberClass,
    Outcome,
    Pattern,
    Product,
    Reservoir,
    Rule,
    Shape,
    Signal,
)
from mst_abm.model.fields import range_of


class Sentence(NamedTuple):
    """What a rule or signal says, and what its number rests on."""

    name: str
    text: str
    number_class: NumberClass
    reference: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text} [{basis(self.number_class, self.reference)}]"


def basis(number_class: NumberClass, reference: str) -> str:
    """Class and source of a number; an assumption whose source says no more is one word."""
    if number_class == "assumption" and reference.strip().lower() in ("", "assumption"):
        return "assumption"
    return f"{number_class}: {reference}"


def read_back(model: Model) -> list[Sentence]:
    """One sentence for each rule, then for each signal, field, reservoir and hazard, in the order of the file."""
    every = tuple(compartment.name for compartment in model.compartments)
    units = {level.name: level.unit for level in (*model.signals, *model.fields)}
    rules = [
        Sentence(rule.name, rule_sentence(rule, every, units), rule.number_class, rule.reference)
        for rule in model.rules
    ]
    signals = [
        Sentence(signal.name, signal_sentence(signal, units), signal.number_class, signal.reference)
        for signal in model.signals
    ]
    spacing = {compartment.name: compartment.spacing for compartment in model.compartments}
    fields = [
        Sentence(f.name, field_sentence(f, spacing[f.compartment]), f.number_class, f.reference)
        for f in model.fields
    ]
    reservoirs = [
        Sentence(r.name, reservoir_sentence(r), r.number_class, r.reference)
        for r in model.reservoirs
    ]
    hazards = [
        Sentence(hazard.name, hazard_sentence(hazard), hazard.number_class, hazard.reference)
        for hazard in model.hazards
    ]
    return rules + signals + fields + reservoirs + hazards


def describe(model: Model) -> list[str]:
    """The model as lines of text: every sentence with its basis, rules first."""
    return [str(sentence) for sentence in read_back(model)]


def number_classes(model: Model) -> list[NumberClass]:
    """The class of every number: of rules, modifiers, biases, signals, inputs, fields, reservoirs, hazards."""
    found: list[NumberClass] = []
    for rule in model.rules:
        found.append(rule.number_class)
        factors = [*rule.modifiers, *([rule.bias] if rule.bias else [])]
        found += [factor.number_class or rule.number_class for factor in factors]
    for signal in model.signals:
        found += [signal.number_class, *(source.number_class for source in signal.inputs)]
    found += [reservoir.number_class for reservoir in model.reservoirs]
    for hazard in model.hazards:
        found += [risk.number_class for risk in hazard.risks] or [hazard.number_class]
    found += [field.number_class for field in model.fields]
    return found


def count_assumptions(model: Model) -> tuple[int, int]:
    """(n, N): n of the N numbers of a model are assumptions."""
    classes = number_classes(model)
    return classes.count("assumption"), len(classes)


def count_others(model: Model) -> str:
    """What the numbers are that are no assumptions, in words."""
    classes = number_classes(model)
    words = ("measured", "derived", "calibrated")
    return ", ".join(f"{classes.count(word)} {word}" for word in words)


def reservoir_sentence(reservoir: Reservoir) -> str:
    """When a class is held at the scale of the body, and how its hazards are measured then."""
    text = (
        f"{reservoir.cells.text} of {reservoir.compartment} is held as a number of the whole body from "
        f"fewer than {reservoir.below:g} simulated cells until there would be more than "
        f"{reservoir.above:g}; "
    )
    if reservoir.at is None and reservoir.on.is_empty and not reservoir.on.terms:
        sites = "vacant sites"
    else:
        sites = f"sites of {reservoir.on.text}"
        if reservoir.at is not None:
            sites += _site(reservoir.at)
    return f"{text}{reservoir.probes} probes on {sites} see what its cells would see."


def _site(at: Modifier) -> str:
    if at.source == "site":
        return f" next to {at.target}"
    return f" at most {int(dict(at.shape.parameters)['at'])} sites from {at.target}"


def rule_sentence(
    rule: Rule, every: tuple[str, ...] = (), units: dict[str, str] | None = None
) -> str:
    """A rule without its name and source.

    ``every``: all compartments, which go without saying; ``units``: of signals and fields.
    """
    parts = [_act(rule)]
    if rule.compartments and set(rule.compartments) != set(every) and not rule.is_from_outside:
        if rule.verb != "arrive":
            where = "from" if rule.verb == "leave" else "in"
            parts.append(f"{where} {_and(rule.compartments)}")
    parts.append(f"at {rule.rate_text}{_per(rule)}")
    text = " ".join(parts) + _placement(rule) + _bias(rule, units or {})
    for modifier in rule.modifiers:
        text += f", times {_modifier(modifier, units or {})}"
    is_sure = len(rule.outcomes) == 1 and rule.outcomes[0].probability == 1.0
    if rule.verb in ("contact", "paracrine") and is_sure:
        text += ": " + _result(rule, rule.outcomes[0])
    elif not is_sure:
        text += ": " + _outcomes(rule)
    return text + "."


def _act(rule: Rule) -> str:
    actor = rule.actor.text
    partner = rule.partner.text if rule.partner else ""
    single = rule.outcomes[0] if len(rule.outcomes) == 1 else None
    if rule.verb == "die":
        return f"every {actor} dies"
    if rule.verb == "move":
        if rule.swap_with is not None:
            others = rule.swap_with.text
            return f"every {actor} steps to a neighbouring site, changing places with {others},"
        return f"every {actor} steps to a neighbouring site if it is vacant,"
    if rule.verb == "arrive":
        return _arrival(rule)
    if rule.emits is not None:
        place, product, number = rule.emits
        return f"every {actor} releases {number:g} {product.text} into {place}"
    if rule.verb in ("contact", "paracrine"):
        where = "next to" if rule.verb == "contact" else f"within {rule.within} sites of"
        return f"every {actor} {where} {partner} acts"
    if single is not None and single.probability == 1.0:
        return f"every {actor} {_result(rule, single)}"
    verbs = {"become": "changes", "divide": "divides", "leave": "leaves"}
    return f"every {actor} {verbs[rule.verb]}"


def _arrival(rule: Rule) -> str:
    where = _and(rule.compartments)
    if rule.is_from_outside:
        return f"{rule.batch} {rule.actor.text} enter {where} from outside"
    return f"every {rule.actor.text} waiting at {where} settles on a vacant site"


def _per(rule: Rule) -> str:
    if rule.verb in ("contact", "paracrine"):
        return " per pair"
    return " per compartment" if rule.is_from_outside else ""


def _placement(rule: Rule) -> str:
    if rule.verb != "divide":
        return ""
    if rule.placement == "push":
        return f", pushing up to {rule.push} cells aside"
    if rule.placement == "vacant":
        return ", onto a vacant neighbouring site"
    return ", onto a neighbouring site drawn at random, if that is vacant"


def _outcomes(rule: Rule) -> str:
    texts = [f"with probability {o.probability:g} {_result(rule, o)}" for o in rule.outcomes]
    rest = 1.0 - sum(outcome.probability for outcome in rule.outcomes)
    if rest > 1e-9:
        texts.append(f"else ({rest:.3g}) nothing happens")
    return "; ".join(texts)


def _result(rule: Rule, outcome: Outcome) -> str:
    if rule.verb == "become":
        return f"becomes {_named(outcome.products[0])}"
    if rule.verb == "divide":
        return f"divides into {' and '.join(_named(p) for p in outcome.products)}"
    if rule.verb == "leave":
        product = outcome.products[0]
        change = "" if product.kind == "same" else f" as {_named(product)}"
        return f"leaves for {outcome.destination}{change}"
    fates = zip(
        ("the first", "the second"), outcome.products, (rule.actor, rule.partner), strict=True
    )
    return ", ".join(_fate(who, product, cells) for who, product, cells in fates)


def _fate(who: str, product: Product, cells: Pattern | None) -> str:
    if product.kind == "empty":
        return f"{who} vanishes"
    names = {term.type for term in cells.terms} if cells is not None else set()
    is_changed = product.values or product.counters or names != {product.type}
    if product.kind == "same" or not is_changed:
        return f"{who} stays as it is"
    return f"{who} becomes {_named(product)}"


def _named(product: Product) -> str:
    changes = []
    for name, verb, amount in product.counters:
        changes.append(f"{name} {amount:+d}" if verb == "add" else f"{name} = {amount}")
    text = product.text or "the same"
    return f"{text} with {', '.join(changes)}" if changes else text


def _modifier(modifier: Modifier, units: dict[str, str]) -> str:
    unit = ""
    if modifier.source in ("signal", "field"):
        unit = units.get(modifier.target, "1")
        source = f"the {modifier.source} {modifier.target}"
    elif modifier.source == "near":
        cells = modifier.pattern.text if modifier.pattern else ""
        within = "next to it" if modifier.within == 1 else f"within {modifier.within} sites"
        source = f"the number of {cells} {within}"
    elif modifier.source == "site":
        source = f"the number of neighbouring {modifier.target} sites"
    elif modifier.source == "distance":
        source = f"the distance to {modifier.target} in sites"
    else:
        source = f"its counter {modifier.target}"
    text = f"{_shape(modifier.shape, '' if unit == '1' else unit)} of {source}"
    if modifier.number_class is not None:
        text += f" ({basis(modifier.number_class, modifier.reference)})"
    return text


def _bias(rule: Rule, units: dict[str, str]) -> str:
    """How steps are drawn, where a field has a say."""
    bias = rule.bias
    if bias is None:
        return ""
    unit = units.get(bias.field, "1")
    per_um = f"{bias.half:g} {'' if unit == '1' else unit}/um"
    way = "up" if bias.strength > 0 else "down"
    text = f", drawn {way} the gradient of {bias.field} (bias up to {abs(bias.strength):g}, half of it at {per_um}"
    if bias.number_class is not None:
        text += f"; {basis(bias.number_class, bias.reference)}"
    return text + ")"


def _shape(shape: Shape, unit: str) -> str:
    p = dict(shape.parameters)
    unit = f" {unit}" if unit else ""
    if shape.kind in ("hill", "inverse_hill"):
        low, high = ("bottom", "top") if shape.kind == "hill" else ("top", "bottom")
        start = f", counted from {p['offset']:g}{unit}" if p.get("offset") else ""
        power = f", power {p['power']:g}" if p["power"] != 1 else ""
        scale = ", geometric" if shape.is_geometric else ""
        moves = "rising" if p[high] >= p[low] else "falling"
        inside = f"half-way at {p['half']:g}{unit}{start}{power}{scale}"
        return f"a factor {moves} from {p[low]:g} to {p[high]:g} ({inside})"
    if shape.kind == "linear":
        line = f"{p['intercept']:g} {p['slope']:+g} per{unit or ' unit'}"
        return f"a factor {line} (between {p['low']:g} and {p['high']:g})"
    if shape.kind == "step":
        return f"a factor {p['below']:g} below {p['at']:g}{unit} and {p['above']:g} from there"
    if shape.kind == "exponential":
        return f"a factor rising to {p['top']:g} with scale {p['scale']:g}{unit}"
    pairs = ", ".join(f"{y:g} at {x:g}" for x, y in zip(shape.x, shape.y, strict=True))
    return f"a factor interpolated through {pairs}{unit}"


def signal_sentence(signal: Signal, units: dict[str, str] | None = None) -> str:
    """A signal without its name and source; ``units``: of all signals."""
    if signal.kind == "drug":
        return f"the plasma level of {signal.drug} in {signal.unit}."
    if signal.kind == "metabolite":
        if math.isinf(signal.saturates_at):
            return f"follows the plasma level of {signal.drug} at {signal.clearance:.4g} /h."
        return (
            f"follows C/(C + {signal.saturates_at:g} umol/L), C the plasma level of {signal.drug}, "
            f"at {signal.clearance:.4g} /h."
        )
    unit = "" if signal.unit == "1" else f" {signal.unit}"
    gains = [f"{signal.production:g}{unit}/h"] if signal.production else []
    gains += [f"{rate:g}{unit}/h {_reference(count)}" for rate, count in signal.yields]
    gains += [f"{each.amount:g}{unit} {_events(each)}" for each in signal.events]
    for source in signal.inputs:
        inside = (units or {}).get(source.signal, "1")
        law = _shape(source.shape, "" if inside == "1" else inside)
        number = basis(source.number_class, source.reference)
        gains.append(
            f"{source.rate:g}{unit}/h times {law} of the signal {source.signal} ({number})"
        )
    losses = [f"{signal.clearance:g} /h"] if signal.clearance else []
    losses += [f"{rate:g} /h {_reference(count)}" for rate, count in signal.clearances]
    if signal.saturable_maximum:
        losses.append(
            f"a saturable {signal.saturable_maximum:g}{unit}/h (half at {signal.saturable_half:g})"
        )
    text = f"starts at {signal.initial:g}{unit}"
    text += f", is made at {' plus '.join(gains)}" if gains else ""
    text += f", is cleared at {' plus '.join(losses)}" if losses else ""
    return text + "."


def hazard_sentence(hazard: Hazard) -> str:
    """A hazard without its name and source."""
    end = "the patient dies" if hazard.is_fatal else "it befalls the patient"
    if not hazard.exposure:
        parts = [
            f"{risk.rate_text} times {_shape(risk.shape, '')} of {risk.observable}"
            # the basis of the first stands for the sentence
            + (f" ({basis(risk.number_class, risk.reference)})" if i else "")
            for i, risk in enumerate(hazard.risks)
        ]
        return f"{end} at {' plus '.join(parts)}."
    grades = ", ".join(f"{name} from {above:g}" for name, above in hazard.grades)
    return (
        f"{end} when log10 of {hazard.exposure} passes what differs between patients, "
        f"{hazard.log10_median:g} with standard deviation {hazard.log10_sd:g}"
        + (f"; grades by log10 above it: {grades}." if grades else ".")
    )


def field_sentence(field: Field, spacing: float) -> str:
    """A field without its name and source; ``spacing`` of the lattice, um."""
    unit = "" if field.unit == "1" else f" {field.unit}"
    gains = [f"{field.production:g}{unit}/h"] if field.production else []
    gains += [
        f"{rate:g}{unit}/h for every {relative_to * 1e9:.4g} per mm^3 of {pattern.text} in the block"
        for rate, pattern, relative_to in field.yields
    ]
    text = f"a field in {field.compartment} on blocks of {field.block} sites "
    text += f"({field.block * spacing:g} um), starts at {field.initial:g}{unit}"
    text += f", is made at {' plus '.join(gains)}" if gains else ""
    text += f", spreads at {field.diffusion / 3600:.4g} um^2/s"
    if field.decay:
        text += f", is lost at {field.decay:g} /h"
    if field.decay and field.diffusion:
        text += f": it reaches some {range_of(field):.3g} um"
    return text + "."


def _reference(count: CountReference) -> str:
    if count.measure == "density":
        amount = f"{count.relative_to * 1e9:.4g} per mm^3"
    else:
        amount = f"{count.relative_to:.4g} cells"
    return f"for every {amount} of {count.pattern.text} in {count.compartment}"


def _events(source: EventYield) -> str:
    """Of what a signal is made event by event."""
    is_one = source.relative_to == 1.0
    number, s = ("", "") if is_one else (f"{source.relative_to:.4g} ", "s")
    if source.pattern is not None:
        return f"for every {number}death{s} of {source.pattern.text} in {source.compartment}"
    return f"for every {number}event{s} of {_and(repr(name) for name in source.rules)}"


def _and(words: Iterable[str]) -> str:
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
