"""The compiler of tables: a `Model` in, the engine's arrays and the names of their rows out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mst_abm.engine import tables as T
from mst_abm.engine.reserves import Reserves
from mst_abm.engine.tables import Geometry, Tables
from mst_abm.model.channels import Arrival, Channel, ChannelSet, Entry, Source, Tally
from mst_abm.model.definition import CountReference, Model, Product, Signal
from mst_abm.model.fields import Readings
from mst_abm.model.geometry import Tiling, build_geometry
from mst_abm.model.laws import Factors, Layout, LocalModifiers, Patterns, Updates
from mst_abm.model.reserves import build_reserves, reservoir_sites
from mst_abm.model.species import EMPTY, Species, reachable_species


@dataclass(frozen=True)
class CompiledModel:
    """Tables, geometry, and what their numbers mean."""

    model: Model
    tables: Tables
    geometry: Geometry
    species: tuple[Species, ...]
    tallies: tuple[Tally, ...]
    stoichiometry: np.ndarray
    fields: tuple[tuple[str, str], ...]
    given_signals: tuple[Signal, ...]
    layout: Layout
    updates: Updates  # programs of initial and infused cells may be added before a run
    nominal_rates: np.ndarray  # of tries at time zero, 1/h, by row
    reserves: Reserves

    @property
    def species_names(self) -> list[str]:
        return [s.name for s in self.species]

    @property
    def compartment_names(self) -> list[str]:
        return [c.name for c in self.model.compartments]

    @property
    def signal_names(self) -> list[str]:
        return [s.name for s in self.model.signals]

    def species_number(self, species: Species) -> int:
        return self.species.index(species)


def _records(items: Sequence, dtype: np.dtype) -> np.ndarray:
    """Dataclass rows to records; the pair ``modifiers`` becomes two fields."""
    records = np.zeros(len(items), dtype)
    for record, item in zip(records, items, strict=True):
        for name in dtype.names or ():
            if name in ("modifier_first", "modifier_last"):
                record[name] = item.modifiers[name == "modifier_last"]
            else:
                record[name] = getattr(item, name)
    return records


def _classes(
    channel_set: ChannelSet, geometry: Geometry, n_rows: int, levels: dict[str, float]
) -> tuple[np.ndarray, int, np.ndarray]:
    """Rate class of every row: factors of 4 below the fastest of the compartment, at most 8.

    Also the number of classes, and every row's rate of tries at time zero, 1/h.
    """
    nominal = np.full(n_rows, -1.0)
    n_species = len(channel_set.species)
    tops = {}
    for table, partners in enumerate(channel_set.pairs.values()):
        sums = [
            sum(e.base * channel_set.factors.nominal(e.factor, levels) for e in entries)
            for entries in partners.values()
        ]
        tops[table] = max(sums)
    for row, channels in channel_set.rows.items():
        m = row // n_species
        total = 0.0
        for ch in channels:
            if ch.verb == T.PAIR:
                space = geometry.spaces[m]
                offsets = space["neighbours"]
                if ch.reach:
                    offsets = geometry.ball_count[space["ball_row"], ch.reach]
                total += offsets * tops[ch.pair_table]
            else:
                total += ch.base * channel_set.factors.nominal(ch.factor, levels)
        nominal[row] = total
    classes = np.full(n_rows, -1, np.int8)
    for m in range(n_rows // n_species):
        rows = np.arange(m * n_species, (m + 1) * n_species)
        rows = rows[nominal[rows] >= 0.0]
        if not len(rows):
            continue
        top = max(nominal[rows].max(), 1e-300)
        depth = [
            min(int(math.log(top / nominal[row], 4)), T.MAX_CLASSES - 1)
            if nominal[row] > 0
            else T.MAX_CLASSES - 1
            for row in rows
        ]
        used = sorted(set(depth))
        classes[rows] = [used.index(d) for d in depth]
    n_classes = int(classes.max()) + 1 if classes.max() >= 0 else 1
    return classes, n_classes, np.maximum(nominal, 0.0)


def _flatten_rows(
    channel_set: ChannelSet, n_rows: int, class_of: np.ndarray, static: set[str]
) -> dict[str, np.ndarray]:
    flat: list[Channel] = []
    rows = np.zeros(n_rows, T.ROW)
    species = channel_set.species
    for row, record in enumerate(rows):
        channels = channel_set.rows.get(row, [])
        # fastest first: the search through running sums is linear
        singles = sorted((c for c in channels if c.verb != T.PAIR), key=lambda c: -c.base)
        record["class_of"] = class_of[row]
        record["is_static"] = species[row % len(species)].type in static
        record["channel_first"] = len(flat)
        record["pair_start"] = len(flat) + len(singles)
        flat += singles + [c for c in channels if c.verb == T.PAIR]
        record["channel_last"] = len(flat)
        arrival = channel_set.arrivals.get(row, Arrival())
        record["arrive_rate"], record["arrive_factor"] = arrival.rate, arrival.factor
        record["arrive_modifier_first"], record["arrive_modifier_last"] = arrival.modifiers
        record["arrive_tally"] = arrival.tally
    return {"rows": rows, "channels": _records(flat, T.CHANNEL)}


def _flatten_entries(channel_set: ChannelSet, n_species: int) -> dict[str, np.ndarray]:
    flat: list[Entry] = []
    ranges = np.zeros((max(len(channel_set.pairs), 1) * n_species, 2), np.int64)
    for table, partners in enumerate(channel_set.pairs.values()):
        for t in range(n_species):
            first = len(flat)
            flat += partners.get(t, [])
            ranges[table * n_species + t] = first, len(flat)
    return {"entries": _records(flat, T.ENTRY), "entry_range": ranges}


def _flatten_sources(channel_set: ChannelSet, geometry: Geometry) -> np.ndarray:
    flat: list[Source] = []
    for m, space in enumerate(geometry.spaces):
        space["source_first"] = len(flat)
        flat += channel_set.sources.get(m, [])
        space["source_last"] = len(flat)
    return _records(flat, T.SOURCE)


def _flatten_signals(
    model: Model, patterns: Patterns, given: list[Signal]
) -> dict[str, np.ndarray]:
    places = {c.name: i for i, c in enumerate(model.compartments)}
    references: list[tuple[int, int, float]] = []

    def add(terms: Iterable[tuple[float, CountReference]]) -> tuple[int, int]:
        first = len(references)
        for rate, reference in terms:
            compartment = model.compartments[places[reference.compartment]]
            per_cell = rate / reference.relative_to / compartment.share
            if reference.measure == "density":
                per_cell /= compartment.volume or math.prod(compartment.shape) * (
                    compartment.patches * compartment.spacing**3
                )
            references.append(
                (places[reference.compartment], patterns.row(reference.pattern), per_cell)
            )
        return first, len(references)

    records = np.zeros(len(model.signals), T.SIGNAL)
    for record, signal in zip(records, model.signals, strict=True):
        record["kind"] = T.DYNAMIC if signal.kind == "dynamic" else T.GIVEN
        record["given"] = given.index(signal) if signal in given else -1
        record["production"], record["clearance"] = signal.production, signal.clearance
        record["maximum"], record["half"] = signal.saturable_maximum, signal.saturable_half
        record["yield_first"], record["yield_last"] = add(signal.yields)
        record["clear_first"], record["clear_last"] = add(signal.clearances)
    return {"signals": records, "count_terms": np.array(references, T.COUNT_TERM)}


def reach_of(model: Model) -> int:
    """How far, in sites, a cell acts or looks."""
    acts = [max(rule.push, rule.within) for rule in model.rules]
    looks = [m.within for rule in model.rules for m in rule.modifiers if m.source == "near"]
    return max([1, *acts, *looks])


def compile_model(
    model: Model, entering: Iterable[Product] = (), tile_side: int | None = None
) -> CompiledModel:
    """Compile a model; ``entering`` are products a protocol brings in.

    ``tile_side``: cut patches into tiles, of so many sites a side (0: the usual); None: do not.

    Raises
    ------
    ModelError
        If the rules contradict the types or the spaces.
    """
    species = reachable_species(model, entering)
    tiling = None if tile_side is None else Tiling(tile_side, reach_of(model))
    geometry = build_geometry(model.compartments, tiling)
    patterns, layout = Patterns(species), Layout(model.types)
    factors = Factors([s.name for s in model.signals])
    channel_set = ChannelSet(
        model,
        geometry,
        species,
        patterns,
        layout,
        Updates(layout),
        factors,
        LocalModifiers(patterns, layout),
        Readings(model, geometry, factors),
    )
    channel_set.finish()
    sites = reservoir_sites(channel_set)
    n_species, n_compartments = len(species), len(model.compartments)
    n_rows = n_species * n_compartments
    given = [s for s in model.signals if s.kind != "dynamic"]
    levels = {s.name: s.initial for s in model.signals}
    class_of, n_classes, nominal = _classes(channel_set, geometry, n_rows, levels)
    static = {t.name for t in model.types if t.is_static}
    signals = _flatten_signals(model, patterns, given)
    fields = channel_set.readings.arrays(patterns)
    tables = Tables(
        n_species=n_species,
        n_compartments=n_compartments,
        n_classes=n_classes,
        has_counters=layout.is_used,
        has_identity=False,
        has_factors=len(channel_set.factors.products) > 1,
        **_flatten_rows(channel_set, n_rows, class_of, static),
        **_flatten_entries(channel_set, n_species),
        **channel_set.local.arrays(),
        pattern_mask=patterns.array(),
        **channel_set.updates.arrays(),
        sources=_flatten_sources(channel_set, geometry),
        **channel_set.factors.arrays(),
        **signals,
        **fields,
    )
    return CompiledModel(
        model,
        tables,
        geometry,
        tuple(species),
        tuple(channel_set.tallies),
        channel_set.stoichiometry(),
        tuple(channel_set.local.fields),
        tuple(given),
        layout,
        channel_set.updates,
        nominal,
        build_reserves(channel_set, sites),
    )


__all__ = ["EMPTY", "CompiledModel", "compile_model"]
