"""When a run stops to exchange, and the signals that no cell influences.

The edges of exchange intervals are a property of the scenario alone: multiples of the exchange
interval, times of records and snapshots, starts and ends of doses, infusions, resets; where the
protocol reacts, also the daily looks and, on every day, what may follow from one. A run that is stopped
and continued on an edge therefore gives the same bits as one that is not, and a replicate the same
alone and among others that are treated otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from mst_abm.clinic.pharmacokinetics import concentration
from mst_abm.clinic.protocol import Dose
from mst_abm.engine.signals import NODE, NODE_WEIGHT
from mst_abm.engine.tables import NODES
from mst_abm.model.channels import Tally
from mst_abm.model.compile import CompiledModel
from mst_abm.model.definition import Pattern, Signal
from mst_abm.model.laws import evaluate
from mst_abm.model.species import matches
from mst_abm.scenario.definition import Scenario

MERGED_H = 1e-9
DAY_H = 24.0


def multiples(step: float, until: float) -> np.ndarray:
    """0, step, 2 step ... up to and including ``until``; only the ends when step is 0."""
    if step <= 0.0:
        return np.array([0.0, until])
    inner = np.arange(0, int(until / step) + 1) * step
    return np.append(inner[inner < until * (1 - 1e-12)], until)


def needs_exchange(compiled: CompiledModel) -> bool:
    """Whether anything passes between spaces, signals, fields or reservoirs at edges."""
    model = compiled.model
    has_levels = bool(model.signals or model.fields or model.reservoirs)
    return has_levels or len(model.compartments) > 1


def run_edges(
    scenario: Scenario, compiled: CompiledModel, exchange_h: float | None = None
) -> np.ndarray:
    """Edges of all exchange intervals of a run, h, increasing from 0.

    ``exchange_h``: instead of the run's own.
    """
    run = scenario.run
    every_h = run.exchange_h if exchange_h is None else exchange_h
    times = [multiples(run.counts_every_h, run.until_h)]
    if run.snapshots_every_h > 0:
        times.append(multiples(run.snapshots_every_h, run.until_h))
    if needs_exchange(compiled):
        times.append(multiples(every_h, run.until_h))
    for dose in scenario.doses:
        times.append(np.array([dose.start_h, dose.start_h + dose.duration_h]))
    for offset in sorted(decided_times(scenario)):
        times.append(multiples(DAY_H, run.until_h) + offset)
    events = [e.at_h for e in (*scenario.infusions, *scenario.resets)]
    edges = np.sort(np.concatenate([*times, np.array(events)]))
    edges = edges[(edges >= 0.0) & (edges < run.until_h - MERGED_H)]
    # the same instant written in two ways is one edge
    apart = np.concatenate([[True], np.diff(edges) > MERGED_H])
    return np.append(edges[apart], run.until_h)


def decided_times(scenario: Scenario) -> set[float]:
    """Times of the day, h, at which something can happen that is decided in the run."""
    later = {time % DAY_H for reaction in scenario.reactions for time in reaction.acts.times_h}
    return later | {0.0} if scenario.reactions else set()


def drug_level(
    scenario: Scenario, name: str, times: np.ndarray, doses: Sequence[Dose] | None = None
) -> np.ndarray:
    """Plasma concentration of a drug, umol/L, at times in h; of the planned doses or of others."""
    drug = next(d for d in scenario.drugs if d.name == name)
    doses = [d for d in (scenario.doses if doses is None else doses) if d.drug == name]
    return concentration(drug, doses, times, patient=scenario.patient)


def given_levels(
    scenario: Scenario,
    signals: tuple[Signal, ...],
    edges: np.ndarray,
    doses: Sequence[Dose] | None = None,
) -> np.ndarray:
    """Signals that do not depend on cells, at the nodes and the end of every interval.

    ``doses``: instead of those planned.

    Returns
    -------
    float64, shape (intervals, signals, NODES + 1)
    """
    widths = np.diff(edges)
    places = np.append(NODE, 1.0)
    times = edges[:-1, None] + widths[:, None] * places
    levels = np.zeros((len(widths), len(signals), NODES + 1))
    for i, signal in enumerate(signals):
        if signal.kind == "drug":
            levels[:, i] = drug_level(scenario, signal.drug, times, doses)
        else:
            levels[:, i] = _metabolite(scenario, signal, edges[:-1], widths, places, doses)
    return levels


def _metabolite(
    scenario: Scenario,
    signal: Signal,
    starts: np.ndarray,
    widths: np.ndarray,
    places: np.ndarray,
    doses: Sequence[Dose] | None,
) -> np.ndarray:
    """ds/dt = k (C/(C + h) - s), k (C - s) without h: exact decay, Gauss-Legendre between nodes."""
    k, half = signal.clearance, signal.saturates_at
    ends = widths[:, None] * places
    begins = np.hstack([np.zeros((len(widths), 1)), ends[:, :-1]])
    spans = ends - begins
    inner = starts[:, None, None] + begins[..., None] + spans[..., None] * NODE
    level = drug_level(scenario, signal.drug, inner, doses)
    uptake = level if np.isinf(half) else level / (level + half)
    decay = np.exp(-k * spans[..., None] * (1.0 - NODE))
    gain = k * spans * np.sum(NODE_WEIGHT * uptake * decay, axis=-1)
    kept = np.exp(-k * spans)
    result = np.zeros_like(gain)
    s = signal.initial
    for w in range(len(widths)):
        for n in range(len(places)):
            s = s * kept[w, n] + gain[w, n]
            result[w, n] = s
    return result


def event_yields(compiled: CompiledModel) -> list[tuple[int, int, float]]:
    """What one simulated event of a tally adds to a signal: (tally, signal, amount), in that order."""
    places = {c.name: i for i, c in enumerate(compiled.model.compartments)}
    gained = np.zeros((len(compiled.tallies), len(compiled.model.signals)))
    for i, signal in enumerate(compiled.model.signals):
        for source in signal.events:
            for t, tally in enumerate(compiled.tallies):
                place = places[tally.compartment]
                share = compiled.model.compartments[place].share
                number = float(tally.rule in source.rules)
                if source.pattern is not None and source.compartment == tally.compartment:
                    number = _lost(compiled, tally, place, source.pattern)
                gained[t, i] += number * source.amount / source.relative_to / share
    return [(int(t), int(i), float(gained[t, i])) for t, i in np.argwhere(gained)]


def _lost(compiled: CompiledModel, tally: Tally, place: int, pattern: Pattern) -> int:
    """Cells of a pattern that an event takes away by death, not by a change or a journey."""
    if tally.verb not in ("die", "contact", "paracrine"):
        return 0
    gain = sum(
        n
        for where, species, n in tally.changes
        if where == place and matches(pattern, compiled.species[species])
    )
    return max(-gain, 0)


def signal_inputs(compiled: CompiledModel, levels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """What drugs add to signals in every interval: the integral of rate times law of the level.

    ``levels``: of the signals that no cell influences, as from `given_levels`.

    Returns
    -------
    float64, shape (intervals, signals)
    """
    widths = np.diff(edges)
    rows = {signal.name: i for i, signal in enumerate(compiled.given_signals)}
    added = np.zeros((len(widths), len(compiled.model.signals)))
    for i, signal in enumerate(compiled.model.signals):
        for source in signal.inputs:
            law = np.vectorize(partial(evaluate, source.shape), otypes=[float])
            mean = law(levels[:, rows[source.signal], :NODES]) @ NODE_WEIGHT
            added[:, i] += source.rate * widths * mean
    return added
