"""What a model is: cell types, rules, signals and compartments as plain immutable values.

The room between the files people write and the tables the engine reads. Every number here is
in base units (hour, micrometre, cell; a signal in its own declared unit) and every name has
been checked. Nothing here computes, parses or prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Verb = Literal["die", "become", "divide", "move", "contact", "paracrine", "leave", "arrive"]
OnDivision = Literal["inherit", "halve", "zero", "resample", "minus_one", "plus_one"]
NumberClass = Literal["measured", "derived", "calibrated", "assumption"]


@dataclass(frozen=True)
class Counter:
    """A small integer every cell of one type carries.

    ``initial`` holds weights over 0..maximum (length maximum + 1, sum 1): new cells draw from it.
    """

    name: str
    maximum: int
    initial: tuple[float, ...]
    on_division: OnDivision = "inherit"


@dataclass(frozen=True)
class CellType:
    """A cell type: ordered axes of values, counters, and whether its cells stand still for ever.

    ``defaults``: values of axes that need not be stated; a cell that has them is named without.
    """

    name: str
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counters: tuple[Counter, ...] = ()
    is_static: bool = False
    defaults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PatternTerm:
    """One type with the allowed values of some of its axes; an axis not named allows all."""

    type: str
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Pattern:
    """Any of the terms. ``terms == ()`` with ``is_empty`` matches a vacant site.

    Sets and ``*`` (every non-static type) have been expanded to terms; ``text`` is as written.
    """

    terms: tuple[PatternTerm, ...]
    text: str
    is_empty: bool = False


@dataclass(frozen=True)
class Product:
    """What a cell turns into.

    ``kind``: "empty" (the site falls vacant), "same" (unchanged), "species".
    With "species", ``type`` None keeps the reactant's type; axes not in ``values`` keep the
    reactant's value where the product's type has that axis too. ``counters`` are updates
    ``(name, "set" | "add", amount)``, clipped to 0..maximum.
    """

    kind: Literal["empty", "same", "species"]
    type: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    counters: tuple[tuple[str, Literal["set", "add"], int], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """One way a rule can end.

    ``products``: die () ; become (B,) ; divide (B, C) ; contact/paracrine (actor', partner') ;
    leave (B,) with ``destination`` the compartment; arrive (B,).
    """

    probability: float
    products: tuple[Product, ...]
    destination: str | None = None


@dataclass(frozen=True)
class Shape:
    """A scalar law y = f(x) of a modifier. x is in the source's unit, y has none.

    hill           bottom + (top - bottom) h,  h = e^power / (e^power + half^power), e = x - offset
                   (e < 0: h = -|e|^p / (|e|^p + half^p)); geometric: bottom^(1-h) top^h
    inverse_hill   the same with h replaced by 1 - h
    linear         intercept + slope x, clipped to [low, high]
    step           below if x < at else above
    exponential    top (1 - exp(-x / scale))
    table          piecewise linear through (x, y), constant outside

    ``parameters`` has every parameter of the kind by name; ``x``/``y`` only for table.
    """

    kind: Literal["hill", "inverse_hill", "linear", "step", "exponential", "table"]
    parameters: tuple[tuple[str, float], ...] = ()
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    is_geometric: bool = False


@dataclass(frozen=True)
class Modifier:
    """A factor on a rule's rate.

    ``source``: "signal" (target: signal name), "near" (pattern, within R sites), "site" (number
    of neighbours of a static type, target), "distance" (sites to the nearest cell of a static
    type, target), "counter" (counter of the actor, target), "field" (field name, target).
    """

    source: Literal["signal", "near", "site", "distance", "counter", "field"]
    shape: Shape
    target: str = ""
    pattern: Pattern | None = None
    within: int = 1
    number_class: NumberClass | None = None
    reference: str = ""


@dataclass(frozen=True)
class Bias:
    """What draws a step up the gradient g of a field, or down it where ``strength`` is below 0.

    The bias is strength g / (|g| + half), ``half`` in the field's unit per um.
    """

    field: str
    strength: float
    half: float
    number_class: NumberClass | None = None
    reference: str = ""


@dataclass(frozen=True)
class Rule:
    """A declared possible change; an event is one that happened.

    ``rate`` (1/h): per cell for die, become, divide, move, leave; per adjacent pair for contact;
    per pair within ``within`` sites for paracrine; per waiting cell for arrive from the pool; per
    compartment of the sample for arrive from outside.
    """

    name: str
    verb: Verb
    actor: Pattern
    outcomes: tuple[Outcome, ...]
    rate: float
    rate_text: str
    reference: str
    number_class: NumberClass
    partner: Pattern | None = None
    modifiers: tuple[Modifier, ...] = ()
    placement: Literal["attempt", "vacant", "push"] = "attempt"
    push: int = 0
    within: int = 1
    swap_with: Pattern | None = None
    bias: Bias | None = None
    emits: tuple[str, Product, float] | None = None
    is_from_outside: bool = False
    batch: int = 1
    compartments: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class CountReference:
    """Cells of a pattern in a compartment, relative to ``relative_to``.

    ``measure``: "cells" (body-scale number), "density" (cells per um^3 of the compartment's body
    volume); the term's value is measure / relative_to.
    """

    compartment: str
    pattern: Pattern
    measure: Literal["cells", "density"]
    relative_to: float


@dataclass(frozen=True)
class Assay:
    """How a laboratory measures an observable, every ``every_d`` days (0: never).

    ``cells``: counted, of a share; ``volume``: of blood in which cells are counted, um^3, of a
    density; 0: read without error. Below ``limit``, in the observable's unit, nothing is detected.
    """

    every_d: int = 1
    cells: int = 0
    volume: float = 0.0
    limit: float = 0.0
    reference: str = ""
    number_class: NumberClass = "assumption"


@dataclass(frozen=True)
class Observable:
    """What a laboratory reports: ``times`` the cells of ``count``, relative to its reference.

    With ``share_of`` the value is the share of the pattern's cells among those of another pattern
    in the same compartment. With ``signal`` it is ``times`` the level of that signal. ``observed``
    says what of this truth is seen, and when.
    """

    name: str
    unit: str
    count: CountReference | None
    times: float = 1.0
    share_of: Pattern | None = None
    reference: str = ""
    number_class: NumberClass = "assumption"
    signal: str = ""
    observed: Assay = Assay()


@dataclass(frozen=True)
class Risk:
    """A part of a hazard: ``rate`` (1/h) times the shape of an observable, in the latter's unit."""

    observable: str
    shape: Shape
    rate: float
    rate_text: str
    reference: str = ""
    number_class: NumberClass = "assumption"


@dataclass(frozen=True)
class Hazard:
    """Something that can befall a patient as a whole, once.

    With ``risks`` it comes at the rate of their sum. With ``exposure``, an observable that only grows,
    it comes when that passes what the patient can bear, the log10 of which differs between patients:
    normal with ``log10_median`` and ``log10_sd``; ``grades``: names with the log10 of the exposure
    above that from which each holds.
    """

    name: str
    risks: tuple[Risk, ...] = ()
    exposure: str = ""
    log10_median: float = 0.0
    log10_sd: float = 1.0
    grades: tuple[tuple[str, float], ...] = ()
    is_fatal: bool = False
    reference: str = ""
    number_class: NumberClass = "assumption"

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the observables it follows from."""
        return (self.exposure,) if self.exposure else tuple(r.observable for r in self.risks)


@dataclass(frozen=True)
class Input:
    """What a drug adds to a signal: ``rate`` (in the signal's unit, per hour) times the shape of the
    level of another signal, one that no cell influences."""

    signal: str
    shape: Shape
    rate: float
    reference: str = ""
    number_class: NumberClass = "assumption"


@dataclass(frozen=True)
class EventYield:
    """What events add to a signal: ``amount`` for every ``relative_to`` events in the whole body.

    Events of the rules named; or, with a ``pattern``, one for each cell of it that is lost in
    ``compartment`` by dying or by an act of another cell.
    """

    amount: float
    relative_to: float
    rules: tuple[str, ...] = ()
    compartment: str = ""
    pattern: Pattern | None = None


@dataclass(frozen=True)
class Signal:
    """A scalar shared by the whole body: ds/dt = input - clearance(s).

    dynamic:  ds/dt = production + sum(rate_i c_i) - (clearance + sum(rate_j c_j)) s
                      - maximum s / (half + s) + inputs
    drug:     plasma concentration of a drug in the protocol (``drug``), umol/L or relative
    metabolite: ds/dt = k (C / (C + saturates_at) - s), C the concentration of ``drug``, k = clearance;
                k (C - s) where saturates_at is infinite
    switch/constant: dynamic with all rates zero, ``initial`` for ever.

    ``events``: what happened in an exchange interval raises the level at the end of it.
    """

    name: str
    kind: Literal["dynamic", "drug", "metabolite"]
    unit: str
    initial: float = 0.0
    production: float = 0.0
    yields: tuple[tuple[float, CountReference], ...] = ()
    clearance: float = 0.0
    clearances: tuple[tuple[float, CountReference], ...] = ()
    saturable_maximum: float = 0.0
    saturable_half: float = 1.0
    drug: str = ""
    saturates_at: float = 0.0
    reference: str = ""
    number_class: NumberClass = "assumption"
    inputs: tuple[Input, ...] = ()
    events: tuple[EventYield, ...] = ()


@dataclass(frozen=True)
class Field:
    """A level in space, one to every block of ``block`` sites a side, in each patch of a lattice.

    dc/dt = diffusion Laplacian(c) + production + sum(rate_i n_i / relative_to_i) - decay c,
    n cells per um^3 of the block. ``diffusion`` um^2/h; ``yields``: (rate, pattern, relative_to per um^3).
    """

    name: str
    unit: str
    compartment: str
    block: int
    diffusion: float
    decay: float
    initial: float = 0.0
    production: float = 0.0
    yields: tuple[tuple[float, Pattern, float], ...] = ()
    reference: str = ""
    number_class: NumberClass = "assumption"


@dataclass(frozen=True)
class Compartment:
    """A space cells live in.

    lattice: ``shape`` sites per patch, ``spacing`` um, ``neighbours`` 4/8 (2-D) or 6/26 (3-D),
    ``is_periodic`` per axis, ``patches`` per body.
    mixed: ``capacity`` sites (0: none, mass action), ``neighbours`` virtual neighbours.
    ``volume`` um^3 of the whole body this stands for (0: not given); ``share`` of the body that
    is simulated (all patches together; 1 when no volume is given).
    ``site_fractions``: mixed only; (static type, mean number of adjacent sites of it).
    """

    name: str
    kind: Literal["lattice", "mixed"]
    shape: tuple[int, ...] = ()
    spacing: float = 8.0
    neighbours: int = 6
    is_periodic: tuple[bool, ...] = ()
    patches: int = 1
    capacity: int = 0
    volume: float = 0.0
    share: float = 1.0
    site_fractions: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Reservoir:
    """A class of cells too rare for a sample, held as a number of the whole body when it is.

    The reservoir owns the class from when fewer than ``below`` simulated cells are left until more than
    ``above`` would be there. ``probes``: ghosts that measure hazards, on random sites of pattern ``on``
    (a vacant site unless stated) that fit ``at``; cells handed back take vacant sites that fit ``at``.
    """

    name: str
    cells: Pattern
    compartment: str
    below: float
    above: float
    probes: int
    on: Pattern
    at: Modifier | None = None
    reference: str = ""
    number_class: NumberClass = "assumption"


@dataclass(frozen=True)
class InitialCells:
    """Cells present at time zero.

    ``measure``: "number" (of simulated cells, all patches of a body together), "density" (per
    um^3), "fraction" (of the compartment's sites). ``product`` is one species; ``weights`` spread
    the amount over several species instead (normalised). ``counters`` overrides a counter's
    initial weights. ``placement``: random, centre (a compact ball), tubes (static lines through
    the patch, ``spacing`` apart, ``radius`` thick), slabs (plates across the first axis, ``spacing``
    apart, ``thickness`` thick, the first one about the beginning of that axis), clusters (balls of ``radius``).
    """

    compartment: str
    species: tuple[tuple[Product, float], ...]
    measure: Literal["number", "density", "fraction"]
    amount: float
    counters: tuple[tuple[str, tuple[float, ...]], ...] = ()
    placement: Literal["random", "centre", "tubes", "slabs", "clusters"] = "random"
    spacing: float = 0.0
    radius: float = 0.0
    thickness: float = 0.0


@dataclass(frozen=True)
class Model:
    """Everything the compiler of tables needs; order is the order of the file."""

    types: tuple[CellType, ...]
    rules: tuple[Rule, ...]
    signals: tuple[Signal, ...]
    compartments: tuple[Compartment, ...]
    initial: tuple[InitialCells, ...]
    reservoirs: tuple[Reservoir, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    fields: tuple[Field, ...] = ()


def expected_in_patch(item: InitialCells, compartment: Compartment) -> float:
    """Simulated cells an item asks for in one patch, or in the mixed compartment."""
    is_lattice = compartment.kind == "lattice"
    sites = math.prod(compartment.shape) if is_lattice else compartment.capacity
    if item.measure == "number":
        return item.amount / (compartment.patches if is_lattice else 1)
    if item.measure == "fraction":
        return item.amount * sites
    if is_lattice:
        return item.amount * sites * compartment.spacing**3
    return item.amount * compartment.volume * compartment.share


def expected_number(item: InitialCells, compartment: Compartment) -> float:
    """Simulated cells of an item, all patches of a body together; anatomy without an amount by its shape."""
    if item.measure == "fraction" and item.amount == 0.0:
        if item.placement == "tubes":
            share = min(1.0, math.pi * (item.radius / item.spacing) ** 2)
            return share * n_sites(compartment)
        if item.placement == "slabs":
            return min(1.0, item.thickness / item.spacing) * n_sites(compartment)
    patches = compartment.patches if compartment.kind == "lattice" else 1
    return expected_in_patch(item, compartment) * patches


def n_sites(compartment: Compartment) -> int:
    """Sites of all patches, or the capacity of a mixed compartment (0: without limit)."""
    if compartment.kind == "lattice":
        return math.prod(compartment.shape) * compartment.patches
    return compartment.capacity
