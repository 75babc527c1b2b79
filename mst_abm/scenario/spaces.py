"""Sections ``compartments`` and ``initial``: where cells live and which are there at time zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mst_abm.errors import did_you_mean
from mst_abm.model.definition import (
    Compartment,
    InitialCells,
    Product,
    expected_number,
    n_sites,
)
from mst_abm.scenario.cells import counter_weights
from mst_abm.scenario.context import Context, share_of
from mst_abm.scenario.document import Keys
from mst_abm.scenario.patterns import Vocabulary, parse_product
from mst_abm.scenario.problems import UnknownName, WordError
from mst_abm.scenario.schema import (
    CompartmentSection,
    InitialSection,
    LatticeSection,
    PlaceSection,
)
from mst_abm.scenario.shares import split
from mst_abm.units import quantity, shown

#: Dimensions of a lattice by the number of neighbours of a site.
DIMENSIONS = {4: 2, 8: 2, 6: 3, 26: 3}
HIGHEST_OCCUPANCY = 0.85
MEASURES = ("number", "density", "fraction")
#: Placements that need no amount.
FILLED = ("tubes", "slabs")


def read_compartments(context: Context) -> None:
    """Fill ``context.compartments``, lattices first where a share refers to them."""
    sections = {}
    for name in context.names["compartments"]:
        keys: Keys = ("compartments", name)
        section = context.problems.check(CompartmentSection, keys)
        if section is not None:
            sections[name] = section
    if not context.names["compartments"]:
        message = "missing 'compartments'; expected at least one"
        context.problems.add((), message, of=[("compartments",)])
    shares: dict[str, float] = {}
    for name, section in sections.items():
        if section.lattice is not None:
            shares[name] = _lattice_share(context, name, section)
    for name, section in sections.items():
        compartment = _read_compartment(context, name, section, shares)
        if compartment is not None:
            context.compartments[name] = compartment
    order = {name: i for i, name in enumerate(sections)}
    context.compartments = dict(sorted(context.compartments.items(), key=lambda c: order[c[0]]))


def _lattice_share(context: Context, name: str, section: CompartmentSection) -> float:
    """Simulated share of the body: volume of all patches over what the compartment stands for."""
    lattice = section.lattice
    assert lattice is not None
    if not section.stands_for:
        return 1.0
    simulated = math.prod(lattice.shape) * lattice.spacing**3 * section.patches
    share = simulated / section.stands_for
    if share > 1.0:
        keys: Keys = ("compartments", name)
        at = context.problems.latest(
            (*keys, "stands_for"), (*keys, "patches"), (*keys, "lattice", "shape")
        )
        room, lattices = f"{section.stands_for / 1e9:.4g} mm^3", f"{simulated / 1e9:.4g} mm^3"
        if at[-1] == "stands_for":
            message = f"expected at least the {lattices} of the lattice, got {room}"
        else:
            message = f"expected patches that fit stands_for, {room}, got {lattices} in all"
        hint = "make the lattice smaller or stands_for larger"
        context.problems.add(at, f"{message}; {hint}", of=[keys])
    return share


def _read_compartment(
    context: Context, name: str, section: CompartmentSection, shares: dict[str, float]
) -> Compartment | None:
    keys: Keys = ("compartments", name)
    if not context.problems.one_of(keys, section, ("lattice", "mixed"), "one kind"):
        return None
    static = _read_site_fractions(context, section, keys)
    if section.lattice is not None:
        lattice = section.lattice
        if section.share is not None or section.site_fractions:
            key = "share" if section.share is not None else "site_fractions"
            context.problems.add((*keys, key), "expected only in a mixed compartment", at_key=True)
        _check_dimensions(context, lattice, (*keys, "lattice"))
        return Compartment(
            name=name,
            kind="lattice",
            shape=tuple(lattice.shape),
            spacing=lattice.spacing,
            neighbours=lattice.neighbours or 2 * len(lattice.shape),
            is_periodic=_boundary(context, lattice, (*keys, "lattice")),
            patches=section.patches,
            volume=section.stands_for or 0.0,
            share=shares[name],
        )
    mixed = section.mixed
    assert mixed is not None
    if section.patches != 1:
        context.problems.add((*keys, "patches"), "expected only in a lattice", at_key=True)
    share = 1.0
    with context.problems.at(*keys, "share"):
        share = _mixed_share(context, section.share, shares)
    return Compartment(
        name=name,
        kind="mixed",
        capacity=mixed.capacity,
        neighbours=mixed.neighbours,
        volume=section.stands_for or 0.0,
        share=share,
        site_fractions=static,
    )


def _mixed_share(context: Context, written: Any, shares: dict[str, float]) -> float:
    if written is None:
        return 1.0
    if context.problems.is_in_doubt("compartments", written):
        raise WordError()
    if isinstance(written, str) and written in shares:
        return shares[written]
    words = f" or the name of a lattice ({', '.join(shares)})" if shares else ""
    if isinstance(written, str) and written.strip().isidentifier():
        message = f"expected a share such as 4.7e-7{words}, got {shown(written)}"
        raise UnknownName(message, "compartments", written.strip())
    share = quantity(written, "fraction")
    if share <= 0:
        raise WordError(f"expected a share above 0, got {shown(written)}")
    return share


def _read_site_fractions(
    context: Context, section: CompartmentSection, keys: Keys
) -> tuple[tuple[str, float], ...]:
    for name in section.site_fractions:
        with context.problems.at(*keys, "site_fractions", name):
            context.vocabulary.terms_of(name)
    return tuple(section.site_fractions.items())


def _check_dimensions(context: Context, lattice: LatticeSection, keys: Keys) -> None:
    """``shape`` says 2 or 3 dimensions, and what else says so must agree.

    Where it does not, the value set last is named: a scenario that changes the shape of a model's
    lattice is told so at its own line.
    """
    size = len(lattice.shape)
    others: dict[str, int] = {}
    if lattice.neighbours is not None:
        others["neighbours"] = DIMENSIONS.get(lattice.neighbours, 0)
    if isinstance(lattice.boundary, list):
        others["boundary"] = len(lattice.boundary)
    wrong = [name for name, dimensions in others.items() if dimensions != size]
    if not wrong:
        return
    asked = " and ".join(f"{name}: {_shown_plainly(getattr(lattice, name))}" for name in wrong)
    is_shape = len(wrong) > 1 and len(set(others.values())) == 1
    addresses: list[Keys] = [(*keys, name) for name in wrong]
    at = context.problems.latest(*addresses, (*keys, "shape"))
    if is_shape or at[-1] == "shape":
        message = f"expected a shape that goes with {asked}, got {shown(lattice.shape)}"
        hint = "; set neighbours too (4 or 8 in 2 dimensions, 6 or 26 in 3)"
        context.problems.add((*keys, "shape"), message + ("" if is_shape else hint))
    elif at[-1] == "neighbours":
        few, many = (4, 8) if size == 2 else (6, 26)
        message = f"expected {few} or {many} in {size} dimensions, got {lattice.neighbours}"
        context.problems.add(at, message)
    else:
        message = f"expected periodic, no-flux or {size} of them, got {asked.partition(': ')[2]}"
        context.problems.add(at, message)


def _shown_plainly(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _boundary(context: Context, lattice: LatticeSection, keys: Keys) -> tuple[bool, ...]:
    size = len(lattice.shape)
    written = lattice.boundary if isinstance(lattice.boundary, list) else [lattice.boundary] * size
    if any(side not in ("periodic", "no-flux") for side in written):
        message = f"expected periodic, no-flux or {size} of them, got {shown(lattice.boundary)}"
        context.problems.add((*keys, "boundary"), message)
    return tuple(side == "periodic" for side in written)


def read_initial(context: Context) -> tuple[InitialCells, ...]:
    """All initial cells, refused where they do not fit."""
    found: list[InitialCells] = []
    written = context.raw("initial") or {}
    if not isinstance(written, dict):
        context.problems.add(
            ("initial",), f"expected a mapping of compartments, got {shown(written)}"
        )
        return ()
    for name, content in written.items():
        keys: Keys = ("initial", name)
        with context.problems.at(*keys, at_key=True):
            context.known("compartments", name, "compartment")
        items = read_place(context, name, content, keys)
        compartment = context.compartments.get(name)
        if compartment is not None:
            _check_occupancy(context, compartment, items, keys)
        found += items
    return tuple(found)


def read_place(context: Context, name: str, content: Any, keys: Keys) -> list[InitialCells]:
    """The cells of one compartment, here or in a state."""
    if isinstance(content, dict):
        found = []
        for cells, number in content.items():
            with context.problems.at(*keys, cells):
                product = parse_species(cells, context.vocabulary)
                amount = quantity(number, "number")
                found.append(InitialCells(name, ((product, 1.0),), "number", amount))
        return found
    if not isinstance(content, list):
        if content is not None:
            context.problems.add(keys, f"expected a list of cells, got {shown(content)}")
        return []
    items = [_read_item(context, name, (*keys, i)) for i in range(len(content))]
    return [item for item in items if item is not None]


def parse_species(
    text: str, vocabulary: Vocabulary, counters: Mapping[str, object] | None = None
) -> Product:
    """A fully stated species, and counters that are not drawn as the type says."""
    product = parse_product(text, vocabulary, None, counters)
    if product.kind != "species":
        raise WordError(f"expected a cell type, got {shown(text)}")
    return product


def _read_item(context: Context, name: str, keys: Keys) -> InitialCells | None:
    section = context.problems.check(InitialSection, keys)
    if section is None:
        return None
    if not context.problems.one_of(keys, section, ("cells", "mix"), "one"):
        return None
    species = []
    mix = section.mix if section.mix is not None else {section.cells or "": 1.0}
    for text, weight in mix.items():
        with context.problems.at(
            *keys, *(("mix", text) if section.mix is not None else ("cells",))
        ):
            species.append((parse_species(text, context.vocabulary), weight))
    if len(species) < len(mix):
        return None
    if sum(weight for _, weight in species) <= 0:
        context.problems.add((*keys, "mix"), "expected weights that add up to more than 0")
        return None
    for axis, shares in section.split.items():
        species = split(context, species, axis, shares, (*keys, "split", axis))
    placement, lengths = _read_placement(context, name, section, keys)
    measure, amount = _read_amount(context, name, section, placement, keys)
    counters = _read_counters(context, section, species, keys)
    with context.problems.at(*keys, "fraction_of"):
        amount *= share_of(context, section.fraction_of)
    is_there = section.times > 0 and section.fraction_of not in context.absent
    if not context.is_on(section.switch, keys) or not is_there:
        return None
    return InitialCells(
        compartment=name,
        species=tuple(species),
        measure=measure,  # type: ignore[arg-type]
        amount=amount * section.times,
        counters=counters,
        placement=placement,  # type: ignore[arg-type]
        **lengths,
    )


def _read_amount(
    context: Context, name: str, section: InitialSection, placement: str, keys: Keys
) -> tuple[str, float]:
    if placement in FILLED and all(getattr(section, key) is None for key in MEASURES):
        return "fraction", 0.0  # as many as the tubes or slabs have sites
    measure = context.problems.one_of(keys, section, MEASURES, "one", also=("place",))
    if not measure:
        return "number", 0.0
    place = context.compartments.get(name)
    if place is not None and place.kind == "mixed":
        if measure == "fraction" and place.capacity == 0:
            message = f"expected a number or density, for '{name}' has no capacity"
            context.problems.add((*keys, measure), message)
        if measure == "density" and place.volume <= 0:
            message = f"expected a number, or 'stands_for: 5 L' in compartment '{name}'"
            context.problems.add((*keys, measure), message)
    return measure, float(getattr(section, measure))


def _read_placement(
    context: Context, name: str, section: InitialSection, keys: Keys
) -> tuple[str, dict[str, float]]:
    """The kind of placement, and its lengths in um by name."""
    kind, lengths = "random", dict[str, float]()
    if isinstance(section.place, dict):
        place = context.problems.check(PlaceSection, (*keys, "place"))
        if place is None:
            return kind, lengths
        given = [key for key in PlaceSection.model_fields if getattr(place, key, None)]
        given = [key for key in given if key != "note"]
        if len(given) != 1:
            message = "expected one of 'tubes', 'slabs' and 'clusters'"
            context.problems.add((*keys, "place"), message)
            return kind, lengths
        kind = given[0]
        lengths = {
            key: value
            for key, value in getattr(place, kind).model_dump().items()
            if isinstance(value, float)
        }
        if any(value <= 0 for value in lengths.values()):
            context.problems.add((*keys, "place"), "expected lengths above 0")
    elif section.place in ("random", "centre"):
        kind = section.place
    else:
        context.problems.add(
            (*keys, "place"),
            "expected random, centre, {tubes: ...}, {slabs: ...} or {clusters: ...}, "
            f"got {shown(section.place)}",
        )
    compartment = context.compartments.get(name)
    if kind != "random" and compartment is not None and compartment.kind == "mixed":
        context.problems.add((*keys, "place"), "expected only in a lattice", at_key=True)
    return kind, lengths


def _read_counters(
    context: Context,
    section: InitialSection,
    species: list[tuple[Product, float]],
    keys: Keys,
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    found: dict[str, tuple[float, ...]] = {}
    for name, written in section.counters.items():
        with context.problems.at(*keys, "counters", name):
            for product, _ in species:
                counters = context.vocabulary.types[product.type or ""].counters
                counter = next((c for c in counters if c.name == name), None)
                if counter is None:
                    tail = did_you_mean(name, [c.name for c in counters])
                    message = f"'{product.type}' has no counter '{name}'{tail}"
                    raise UnknownName(message, str(product.type), name)
                found[name] = counter_weights(written, counter.maximum)
    return tuple(found.items())


def _check_occupancy(
    context: Context, compartment: Compartment, items: list[InitialCells], keys: Keys
) -> None:
    sites = n_sites(compartment)
    if sites == 0:
        return
    cells = sum(expected_number(item, compartment) for item in items)
    limit = HIGHEST_OCCUPANCY if compartment.kind == "lattice" else 1.0
    if cells > limit * sites * (1 + 1e-9):
        space: Keys = ("compartments", compartment.name)
        size: Keys = (*space, "lattice", "shape")
        at = context.problems.latest(keys, size, (*space, "mixed", "capacity"))
        context.problems.add(
            at,
            f"expected cells in at most {limit:.0%} of the sites, got {cells:,.0f} cells on "
            f"{sites:,} sites (occupancy {cells / sites:.3g}); start with fewer or enlarge it",
            at_key=at == keys,
            of=[keys, space],
        )
