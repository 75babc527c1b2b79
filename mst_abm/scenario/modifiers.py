"""Factors on rates: sources (signal, near, site, distance, counter, field) and shapes (Hill, ...)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from mst_abm.errors import UnitError
from mst_abm.model.definition import Modifier, Pattern, Shape
from mst_abm.scenario.context import Context
from mst_abm.scenario.document import Keys
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import UnknownName, WordError
from mst_abm.scenario.schema import (
    AtSection,
    HillSection,
    ModifierSection,
    Section,
    ShapeSection,
    TableSection,
)
from mst_abm.units import factor, quantity_in, shown, split

SOURCES = ("signal", "near", "site", "distance", "counter", "field")
SHAPES = ("hill", "inverse_hill", "linear", "step", "exponential", "table")


def read_modifiers(
    context: Context, sections: list[ModifierSection], actor: Pattern | None, keys: Keys
) -> tuple[Modifier, ...]:
    """The modifiers of a rule that are switched on, and whose signal or field is."""
    found = []
    for i, section in enumerate(sections):
        here = (*keys, i)
        modifier = _read_modifier(context, section, actor, here)
        is_off = section.signal in context.silent or section.field in context.silent_fields
        if context.is_on(section.switch, here) and not is_off and modifier is not None:
            found.append(modifier)
    return tuple(found)


def _read_modifier(
    context: Context, section: ModifierSection, actor: Pattern | None, keys: Keys
) -> Modifier | None:
    source = context.problems.one_of(keys, section, SOURCES, "one source")
    if not source:
        return None
    if "within" in section.model_fields_set and source != "near":
        context.problems.add((*keys, "within"), "expected 'within' only beside 'near'", at_key=True)
    unit: str | None = "1" if source not in ("signal", "field") else None
    target, pattern, is_good = "", None, False
    with context.problems.at(*keys, source):
        if source == "near":
            pattern = parse_pattern(section.near or [], context.vocabulary, is_empty_allowed=True)
        elif source == "signal":
            target = context.known("signals", section.signal or "", "signal")
            unit = context.units.get(target)
        elif source == "field":
            target = context.known("fields", section.field or "", "field")
            unit = context.field_units.get(target)
        elif source == "counter":
            target = section.counter or ""
            _check_counter(context, target, actor)
        else:
            target = static_type(context, getattr(section, source))
        is_good = True
    unit = unit if is_good else None
    shape = read_shape(context, section.shape, unit, (*keys, "shape"))
    if shape is None or not is_good:
        return None
    return Modifier(
        source=source,  # type: ignore[arg-type]
        shape=shape,
        target=target,
        pattern=pattern,
        within=section.within,
        number_class=section.class_,
        reference=section.source,
    )


def _check_counter(context: Context, name: str, actor: Pattern | None) -> None:
    if actor is None:
        return
    for term in actor.terms:
        counters = [c.name for c in context.vocabulary.types[term.type].counters]
        if name not in counters:
            has = f"it has {', '.join(counters)}" if counters else "it has none"
            raise UnknownName(f"'{term.type}' has no counter '{name}'; {has}", term.type, name)


def static_type(context: Context, name: str) -> str:
    """A type that never moves, for ``site``, ``distance`` and ``at``."""
    cell_type = context.vocabulary.types.get(name)
    if cell_type is None:
        context.vocabulary.terms_of(name)
        raise WordError(f"expected one static cell type, got the set {shown(name)}")
    if not cell_type.is_static:
        raise WordError(f"expected a static cell type (static: true), got '{name}'; use 'near'")
    return name


def read_at(context: Context, section: AtSection, keys: Keys) -> Modifier | None:
    """``at`` as a factor of 0 or 1: next to a static type, or not too far from one.

    ``next_to`` is min(number of such neighbours, 1) rather than a step, so that a mixed
    compartment, which has a mean number below one, gets the share of sites that qualify.
    """
    given = context.problems.one_of(keys, section, ("next_to", "distance"), "one")
    if not given:
        return None
    with context.problems.at(*keys, given):
        target = static_type(context, getattr(section, given))
        if given == "next_to":
            if section.at_most is not None:
                raise WordError("expected 'at_most' only beside 'distance'")
            values = {"slope": 1.0, "intercept": 0.0, "low": 0.0, "high": 1.0}
            return Modifier("site", Shape("linear", tuple(values.items())), target)
        if section.at_most is None:
            raise WordError("expected 'at_most' beside 'distance', in sites")
        values = {"at": section.at_most + 0.5, "below": 1.0, "above": 0.0}
        return Modifier("distance", Shape("step", tuple(values.items())), target)
    return None


def read_shape(
    context: Context, section: ShapeSection, unit: str | None, keys: Keys
) -> Shape | None:
    """A shape with its numbers in the source's unit; never one that can fall below 0.

    ``unit`` None: the source is not known, and neither is whether its unit is right.
    """
    kind = context.problems.one_of(keys, section, SHAPES, "one shape")
    if not kind:
        return None
    inner = getattr(section, kind)
    if isinstance(inner, TableSection):
        return _read_table(context, inner, unit, (*keys, kind))
    values: dict[str, float] = {}
    is_good = True
    for name in type(inner).model_fields:
        if name in ("note", "geometric"):
            continue
        written = getattr(inner, name)
        is_good = False
        with context.problems.at(*keys, kind, name):
            values[name] = _in_unit(written, name, unit)
            is_good = True
        if not is_good:
            return None
    with context.problems.at(*keys, kind):
        _CHECKS[kind](values, inner)
        is_geometric = isinstance(inner, HillSection) and inner.geometric
        return Shape(kind, tuple(values.items()), is_geometric=is_geometric)  # type: ignore[arg-type]
    return None


def _in_unit(written: object, name: str, unit: str | None) -> float:
    if unit is None:
        return float(written) if name in ("top", "bottom", "power") else split(written)[0]  # type: ignore[arg-type]
    if name in ("half", "offset", "at", "scale"):
        return quantity_in(written, unit)
    if name == "slope":
        per = "1" if unit == "1" else f"1/({unit})"
        return quantity_in(written, per)
    return float(written)  # type: ignore[arg-type]


def _read_table(
    context: Context, section: TableSection, unit: str | None, keys: Keys
) -> Shape | None:
    with context.problems.at(*keys):
        x = tuple(_in_unit(value, "at", unit) for value in section.x)
        y = tuple(section.y)
        if len(x) != len(y):
            raise WordError(f"expected as many y as x, got {len(y)} and {len(x)}")
        if any(b <= a for a, b in itertools.pairwise(x)):
            raise WordError(f"expected x to increase, got {shown(list(x))}")
        if min(y) < 0:
            raise WordError(
                f"expected y of 0 or more, for rates cannot be negative, got {min(y):g}"
            )
        return Shape("table", x=x, y=y)
    return None


def _check_hill(values: dict[str, float], section: Section, *, is_inverse: bool = False) -> None:
    top, bottom, half = values["top"], values["bottom"], values["half"]
    if half <= 0:
        raise WordError(f"expected 'half' above 0, got {half:g}")
    if section.geometric:  # type: ignore[attr-defined]
        if min(top, bottom) <= 0:
            got = f"got {top:g} and {bottom:g}"
            raise WordError(f"expected 'top' and 'bottom' above 0 with geometric: true, {got}")
        return
    # the source is never below 0, so h runs from its value at 0 to 1
    offset, power = values["offset"], values["power"]
    lowest = abs(offset) ** power / (abs(offset) ** power + half**power)
    h_low = -lowest if offset > 0 else lowest if offset < 0 else 0.0
    ends = [1.0 - h if is_inverse else h for h in (h_low, 1.0)]
    _refuse_negative(min(bottom + (top - bottom) * h for h in ends))


def _refuse_negative(lowest: float) -> None:
    if lowest < 0:
        raise WordError(
            f"expected a shape that stays at 0 or more, for rates cannot be negative; "
            f"this one reaches {lowest:g}"
        )


def _check_inverse(values: dict[str, float], section: Section) -> None:
    _check_hill(values, section, is_inverse=True)


def _check_linear(values: dict[str, float], _: Section) -> None:
    if values["high"] < values["low"]:
        raise WordError(
            f"expected 'high' above 'low', got {values['high']:g} and {values['low']:g}"
        )
    _refuse_negative(values["low"])


def _check_step(values: dict[str, float], _: Section) -> None:
    _refuse_negative(min(values["below"], values["above"]))


def _check_exponential(values: dict[str, float], _: Section) -> None:
    if values["scale"] <= 0:
        raise WordError(f"expected 'scale' above 0, got {values['scale']:g}")
    _refuse_negative(min(values["top"], 0.0))


_CHECKS: dict[str, Callable[[dict[str, float], Section], None]] = {
    "hill": _check_hill,
    "inverse_hill": _check_inverse,
    "linear": _check_linear,
    "step": _check_step,
    "exponential": _check_exponential,
}


def is_unit(text: str) -> bool:
    """Whether a signal's unit can be read; raises UnitError with the reason otherwise."""
    if text != "1" and not text[:1].isalpha() and text[:1] not in ("/", "%"):
        raise UnitError(f'expected a unit such as "pg/mL", or 1, got {shown(text)}')
    return text == "1" or factor(text, text) is not None
