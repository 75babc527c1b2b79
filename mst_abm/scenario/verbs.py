"""One reader for each verb of a rule (die, become, divide, move, contact...)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mst_abm.model.definition import Modifier, Outcome, Pattern, Product
from mst_abm.scenario.context import Context
from mst_abm.scenario.document import Keys
from mst_abm.scenario.fields import read_bias
from mst_abm.scenario.modifiers import read_at
from mst_abm.scenario.patterns import (
    SAME,
    SAME_PRODUCT,
    parse_pattern,
    parse_product,
    split_arrow,
    split_plus,
)
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import OutcomeSection, RuleSection
from mst_abm.units import shown

MAX_PUSH = 4

#: Keys of an outcome by verb, beside probability.
OUTCOME_KEYS = {
    "become": ("to", "counters"),
    "divide": ("daughters", "counters"),
    "contact": ("actor", "partner"),
    "paracrine": ("actor", "partner"),
    "leave": ("to", "counters"),
}


@dataclass
class Parts:
    """What a verb's reader found out."""

    actor: Pattern | None = None
    partner: Pattern | None = None
    outcomes: tuple[Outcome, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    modifiers: list[Modifier] = field(default_factory=list)
    #: Compartments a cell of this rule goes to.
    goes_to: set[str] = field(default_factory=set)
    is_good: bool = True


def add_at(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    if section.at is not None:
        modifier = read_at(context, section.at, (*keys, "at"))
        if modifier is not None:
            parts.modifiers.append(modifier)


def _outcomes(
    context: Context,
    section: RuleSection,
    verb: str,
    keys: Keys,
    read: Callable[[OutcomeSection, Keys], Outcome],
) -> tuple[Outcome, ...]:
    """The outcomes of a rule, each read by ``read``; probabilities at most 1 in all."""
    found = []
    allowed = OUTCOME_KEYS[verb]
    total = 0.0
    for i, item in enumerate(section.outcomes or ()):
        here = (*keys, "outcomes", i)
        for key in item.model_fields_set - {"probability", "note", *allowed}:
            message = f"expected probability, {', '.join(allowed)} in an outcome of {verb}"
            context.problems.add((*here, key), message, at_key=True)
        total += item.probability
        with context.problems.at(*here):
            found.append(read(item, here))
    if not section.outcomes:
        context.problems.add((*keys, "outcomes"), "expected at least one outcome")
    if total > 1.0 + 1e-9:
        context.problems.add(
            (*keys, "outcomes"), f"expected probabilities of at most 1 in all, got {total:g}"
        )
    return tuple(found)


def _expected(context: Context, keys: Keys, others: tuple[str, ...], message: str) -> WordError:
    """The error that something is missing; silent where one of ``others`` is there, but wrong."""
    is_there = any(context.problems.is_in_doubt(*keys, key) for key in others)
    return WordError("" if is_there else f"expected {message}")


def _refuse_both(section: RuleSection, right: str | None) -> None:
    if right is not None and section.outcomes is not None:
        raise WordError("expected either '->' or 'outcomes', got both")


def _read_plain(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    """die and move."""
    verb = "die" if section.die is not None else "move"
    text = getattr(section, verb)
    with context.problems.at(*keys, verb):
        if "->" in text:
            raise WordError(f"expected cells without '->', got {shown(text)}")
        parts.actor = parse_pattern(text, context.vocabulary)
        if verb == "move":
            _refuse_static(context, parts.actor)
        parts.outcomes = (Outcome(1.0, ()),)
    if section.swap_with is not None:
        with context.problems.at(*keys, "swap_with"):
            others = parse_pattern(section.swap_with, context.vocabulary)
            _refuse_static(context, others)
            parts.extra["swap_with"] = others
    if section.biased_by is not None:
        parts.extra["bias"] = read_bias(context, section.biased_by, (*keys, "biased_by"))


def _refuse_static(context: Context, pattern: Pattern) -> None:
    for term in pattern.terms:
        if context.vocabulary.types[term.type].is_static:
            raise WordError(f"expected cells that can move, '{term.type}' is static")


def _read_become(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    vocabulary = context.vocabulary
    with context.problems.at(*keys, "become"):
        left, right = split_arrow(section.become or "")
        actor = parts.actor = parse_pattern(left, vocabulary)
        _refuse_both(section, right)
        if section.outcomes is None:
            if right is None and not section.counters:
                others = ("outcomes", "counters")
                raise _expected(context, keys, others, "'A -> B', 'outcomes' or 'counters'")
            parts.is_good = False
            product = _product(context, right or SAME, actor, section.counters, keys)
            parts.outcomes, parts.is_good = (Outcome(1.0, (product,)),), True
    if parts.actor is not None and section.outcomes is not None:
        parts.outcomes = _outcomes(
            context,
            section,
            "become",
            keys,
            lambda item, here: Outcome(
                item.probability,
                (_product(context, item.to or SAME, actor, item.counters, here),),
            ),
        )


def _product(
    context: Context,
    written: object,
    reactant: Pattern | None,
    counters: Mapping[str, object],
    _: Keys,
) -> Product:
    """A product of become or divide; a vacant site is the business of ``die``."""
    product = parse_product(written, context.vocabulary, reactant, counters)
    if product.kind == "empty":
        raise WordError("expected cells, got 'empty'; use 'die' for cells that vanish")
    return product


def _read_divide(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    words = "two daughters such as 'A + B'"

    def daughters(
        text: str | None, counters: Mapping[str, object], here: Keys
    ) -> tuple[Product, ...]:
        if text is None:
            raise _expected(context, here, ("daughters",), f"'daughters', {words}")
        texts = split_plus(text, 2, words)
        return tuple(_product(context, t, parts.actor, counters, here) for t in texts)

    with context.problems.at(*keys, "divide"):
        left, right = split_arrow(section.divide or "")
        parts.actor = parse_pattern(left, context.vocabulary)
        _refuse_both(section, right)
        if section.outcomes is None:
            parts.is_good = False
            if right is None:
                raise _expected(context, keys, ("outcomes",), "'A -> B + C' or 'outcomes'")
            parts.outcomes = (Outcome(1.0, daughters(right, section.counters, keys)),)
            parts.is_good = True
    if parts.actor is not None and section.outcomes is not None:
        parts.outcomes = _outcomes(
            context,
            section,
            "divide",
            keys,
            lambda item, here: Outcome(
                item.probability, daughters(item.daughters, item.counters, here)
            ),
        )
    with context.problems.at(*keys, "place"):
        parts.extra |= _placement(section.place)


def _placement(written: object) -> dict[str, Any]:
    if written is None:
        return {}
    if written in ("attempt", "vacant"):
        return {"placement": written}
    if isinstance(written, dict) and set(written) == {"push"}:
        length = written["push"]
        if isinstance(length, int) and not isinstance(length, bool) and 1 <= length <= MAX_PUSH:
            return {"placement": "push", "push": length}
        raise WordError(f"expected a push of 1 to {MAX_PUSH} sites, got {shown(length)}")
    raise WordError(f"expected attempt, vacant or {{push: 4}}, got {shown(written)}")


def _read_contact(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    """contact and paracrine."""
    verb = "contact" if section.contact is not None else "paracrine"
    vocabulary = context.vocabulary

    def outcome(item: OutcomeSection, here: Keys) -> Outcome:
        products = []
        for side, reactant in (("actor", parts.actor), ("partner", parts.partner)):
            written = getattr(item, side)
            with context.problems.at(*here, side):
                products.append(
                    parse_product(SAME if written is None else written, vocabulary, reactant)
                )
        if len(products) < 2:
            raise WordError()
        return Outcome(item.probability, tuple(products))

    with context.problems.at(*keys, verb):
        left, right = split_arrow(getattr(section, verb))
        texts = split_plus(left, 2, "two kinds of cells such as 'A + B'")
        partner = parse_pattern(texts[1], vocabulary)
        parts.actor, parts.partner = parse_pattern(texts[0], vocabulary), partner
        _refuse_both(section, right)
        if section.outcomes is None:
            parts.is_good = False
            if right is None:
                raise _expected(context, keys, ("outcomes",), "'A + B -> C + D' or 'outcomes'")
            results = split_plus(right, 2, "two results such as 'A + empty'")
            products = (
                parse_product(results[0], vocabulary, parts.actor),
                parse_product(results[1], vocabulary, partner),
            )
            parts.outcomes, parts.is_good = (Outcome(1.0, products),), True
    if parts.actor is not None and parts.partner is not None and section.outcomes is not None:
        parts.outcomes = _outcomes(context, section, verb, keys, outcome)
    if verb == "paracrine":
        parts.extra["within"] = section.within


def _read_leave(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    with context.problems.at(*keys, "leave"):
        left, right = split_arrow(section.leave or "")
        parts.actor = parse_pattern(left, context.vocabulary)
        _refuse_both(section, right)
        given = [right is not None, section.outcomes is not None, section.emit is not None]
        if sum(given) != 1:
            words = "one of 'A -> compartment', 'outcomes' and 'emit'"
            raise _expected(context, keys, ("outcomes", "emit"), words)
        if section.emit is None:
            _refuse_static(context, parts.actor)
        if right is not None:
            parts.is_good = False
            parts.outcomes = (_departure(context, right, {}, 1.0, parts, (*keys, "leave")),)
            parts.is_good = True
    if parts.actor is None:
        return
    if section.outcomes is not None:
        parts.outcomes = _outcomes(
            context,
            section,
            "leave",
            keys,
            lambda item, here: _departure(
                context, item.to or "", item.counters, item.probability, parts, (*here, "to")
            ),
        )
    if section.emit is not None:
        parts.outcomes = (Outcome(1.0, (SAME_PRODUCT,)),)
        parts.is_good = False
        with context.problems.at(*keys, "emit", "to"):
            place, cells = context.place(section.emit.to, "blood.platelet")
            product = parse_product(cells, context.vocabulary, None)
            parts.extra["emits"] = (place, product, section.emit.yield_)
            parts.goes_to.add(place)
            context.entries.append(((*keys, "emit", "to"), place, product, None))
            parts.is_good = True


def _departure(
    context: Context,
    text: str,
    counters: Mapping[str, object],
    probability: float,
    parts: Parts,
    keys: Keys,
) -> Outcome:
    place, cells = context.place_or_cells(text)
    product = parse_product(cells or SAME, context.vocabulary, parts.actor, counters)
    parts.goes_to.add(place)
    context.entries.append((keys, place, product, parts.actor))
    return Outcome(probability, (product,), destination=place)


def _read_arrive(context: Context, section: RuleSection, parts: Parts, keys: Keys) -> None:
    is_outside = section.from_ == "outside"
    with context.problems.at(*keys, "arrive"):
        left, right = split_arrow(section.arrive or "")
        parts.actor = parse_pattern(left, context.vocabulary)
        _refuse_static(context, parts.actor)
        parts.is_good = False
        if right is not None:
            raise WordError("expected cells without '->': they arrive as what they are")
        product = parse_product(left if is_outside else SAME, context.vocabulary, parts.actor)
        parts.outcomes, parts.is_good = (Outcome(1.0, (product,)),), True
    parts.extra |= {"is_from_outside": is_outside, "batch": section.batch}
    for i, modifier in enumerate(section.modifiers if is_outside else ()):
        if modifier.signal is None:
            context.problems.add(
                (*keys, "modifiers", i),
                "expected a signal: cells from outside have no place and no counters yet",
            )
    add_at(context, section, parts, keys)
    if section.batch > 1 and not is_outside:
        context.problems.add(
            (*keys, "batch"),
            "expected only beside from: outside",
            at_key=True,
            of=[(*keys, "batch"), (*keys, "from")],
        )
        return
    _check_arrival(context, section, is_outside, keys)


def _check_arrival(context: Context, section: RuleSection, is_outside: bool, keys: Keys) -> None:
    """Cells arrive from the pool at a lattice, from outside in a mixed compartment."""
    about = [(*keys, "in"), (*keys, "from")]
    wanted = "mixed" if is_outside else "lattice"
    if section.in_ is None:
        message = f"missing 'in'; expected the {wanted} compartment in which cells arrive"
        context.problems.add(keys, message, of=about)
    for name in section.in_ or ():
        compartment = context.compartments.get(name)
        if compartment is not None and compartment.kind != wanted:
            hint = "cells enter a mixed compartment by themselves" if wanted == "lattice" else ""
            message = f"expected a {wanted} compartment, '{name}' is {compartment.kind}"
            message = f"{message}; {hint}" if hint else message
            context.problems.add((*keys, "in"), message, of=about)


READERS: dict[str, Callable[[Context, RuleSection, Parts, Keys], None]] = {
    "die": _read_plain,
    "move": _read_plain,
    "become": _read_become,
    "divide": _read_divide,
    "contact": _read_contact,
    "paracrine": _read_contact,
    "leave": _read_leave,
    "arrive": _read_arrive,
}
