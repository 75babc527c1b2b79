"""Section ``fields``: levels in space, and steps that are biased by them."""

from __future__ import annotations

from mst_abm.model.definition import Bias, Compartment, Field, Pattern
from mst_abm.model.fields import possible_blocks, usual_block
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import is_unit
from mst_abm.scenario.patterns import parse_pattern
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import BiasSection, FieldSection, FieldYieldSection
from mst_abm.scenario.signals import per_hour
from mst_abm.units import quantity_in, shown


def read_fields(context: Context) -> tuple[Field, ...]:
    """All fields that are switched on; those that are off are silent, as signals are."""
    found = []
    for name in context.names["fields"]:
        keys: Keys = ("fields", name)
        section = context.problems.check(FieldSection, keys)
        if section is None:
            continue
        if name in context.names["signals"]:
            message = f"expected a name of its own, '{name}' is a signal too"
            context.problems.add(keys, message, at_key=True)
        is_on = context.is_on(section.switch, keys)
        if not is_on:
            context.silent_fields.add(name)
        field = _read_field(context, name, section, keys)
        if field is not None and is_on:
            found.append(field)
    return tuple(found)


def _read_field(context: Context, name: str, section: FieldSection, keys: Keys) -> Field | None:
    unit, levels = "", {}
    with context.problems.at(*keys, "unit"):
        if not context.problems.is_in_doubt(*keys, "unit") and is_unit(section.unit):
            unit = context.field_units[name] = section.unit
    for key in ("initial", "production") if unit else ():
        written = getattr(section, key)
        with context.problems.at(*keys, key):
            read = per_hour if key == "production" else quantity_in
            levels[key] = read(written, unit)
            if levels[key] < 0:
                raise WordError(f"expected a number of 0 or more, got {shown(written)}")
    space = None
    with context.problems.at(*keys, "in"):
        context.known("compartments", section.in_, "compartment")
        space = context.compartments.get(section.in_)
        if space is not None and space.kind != "lattice":
            raise WordError(
                f"expected a lattice, '{section.in_}' is mixed and has no space a field could differ "
                "in; use a signal there"
            )
    block = _read_block(context, section, space, keys) if space is not None else 0
    yields = _read_yields(context, section.yields, unit, (*keys, "yields"))
    if not block or len(levels) < 2:
        return None
    return Field(
        name=name,
        unit=unit,
        compartment=section.in_,
        block=block,
        diffusion=section.diffusion,
        decay=section.decay,
        yields=yields,
        reference=section.source,
        number_class=number_class(section.class_, section.source),
        **levels,
    )


def _read_block(context: Context, section: FieldSection, space: Compartment, keys: Keys) -> int:
    """Side of a block in sites; 0 after a complaint."""
    if space.kind != "lattice":
        return 0
    if section.block is None:
        return usual_block(space.shape)
    possible = possible_blocks(space.shape)
    if section.block in possible:
        return section.block
    shape: Keys = ("compartments", space.name, "lattice", "shape")
    where: Keys = (*keys, "block")
    context.problems.add(
        where,
        f"expected a number of sites that divides every side of '{space.name}' "
        f"({', '.join(map(str, possible))}), got {section.block}",
        of=[where, shape],
    )
    return 0


def _read_yields(
    context: Context, sections: list[FieldYieldSection], unit: str, keys: Keys
) -> tuple[tuple[float, Pattern, float], ...]:
    found = []
    for i, section in enumerate(sections):
        here = (*keys, i)
        rate, pattern = 0.0, None
        with context.problems.at(*here, "rate"):
            # without a unit of the field there is nothing to check a rate against
            rate = per_hour(section.rate, unit) if unit else 0.0
            if rate < 0:
                raise WordError(f"expected a rate of 0 or more, got {shown(section.rate)}")
        with context.problems.at(*here, "of"):
            pattern = parse_pattern(section.of, context.vocabulary)
        with context.problems.at(*here, "relative_to"):
            if section.relative_to <= 0:
                raise WordError("expected a density above 0")
        is_on = context.is_on(section.switch, here)
        if is_on and pattern is not None and section.relative_to > 0:
            found.append((rate, pattern, section.relative_to))
    return tuple(found)


def read_bias(context: Context, section: BiasSection, keys: Keys) -> Bias | None:
    """``biased_by`` of a move; None while it or its field is switched off."""
    is_on = context.is_on(section.switch, keys) and section.field not in context.silent_fields
    half = 0.0
    with context.problems.at(*keys, "field"):
        context.known("fields", section.field, "field")
        unit = context.field_units.get(section.field)
        if unit is None:
            return None
        with context.problems.at(*keys, "half"):
            one = "" if unit == "1" else f" {unit}"
            per_um = "1/micrometer" if unit == "1" else f"({unit})/micrometer"
            half = quantity_in(section.half, per_um, f'a gradient such as "0.01{one}/um"')
            if half <= 0:
                raise WordError(f"expected a gradient above 0, got {shown(section.half)}")
    if half <= 0 or not is_on:
        return None
    return Bias(section.field, section.strength, half, section.class_, section.source)
