"""Where candidate events go: attempts, executed events and null events by compartment, class and rule.

`Simulation` tells the sum of attempts, and executed events by rule and compartment. Attempts by place
follow from the state: in a compartment they come at rate sum over classes of n_c top_c, and a
channel of a species is tried at its own rate times the number of such cells. Both are taken at the
start and at the end of each exchange interval and averaged (the rates themselves are constant within
one). The sum is compared with the exact number; how far it is off is part of the answer.

What is missing in `Simulation` for an exact account: attempts by compartment (the kernels add all of
them to one number), and the rates of the last interval, which are read here from its scratch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mst_abm import Simulation
from mst_abm.engine.tables import PAIR


@dataclass
class Account:
    """Attempts and executed events since the account was opened."""

    attempts: int = 0  # exact
    estimated: float = 0.0
    by_compartment: Counter = field(default_factory=Counter)
    #: (compartment, class and who sets its top): chosen, but slower than that
    refused_by_class: Counter = field(default_factory=Counter)
    #: (compartment, what): tried by a channel
    by_channel: Counter = field(default_factory=Counter)
    executed: Counter = field(default_factory=Counter)  # (compartment, what), exact

    def lines(self, most: int = 12) -> Iterator[str]:
        """A table for people: compartments, then where null events come from."""
        yield (
            f"{self.attempts:,} attempts; estimated from rates {self.estimated:,.0f} "
            f"({self.estimated / max(self.attempts, 1) - 1:+.1%})"
        )
        yield f"{'compartment':<16}{'attempts':>14}{'share':>8}{'executed':>14}{'null':>7}"
        done: Counter = Counter()
        for (compartment, _), n in self.executed.items():
            done[compartment] += n
        for name, n in self.by_compartment.most_common():
            share = n / self.estimated
            null = 1 - done[name] / n if n else 0.0
            yield f"{name:<16}{n:>14,.0f}{share:>8.1%}{done[name]:>14,}{null:>7.1%}"
        yield f"{'null events of':<58}{'number':>14}{'share':>8}"
        for (compartment, what), n in self.null_events().most_common(most):
            yield f"{compartment + ': ' + what:<58}{n:>14,.0f}{n / self.estimated:>8.1%}"

    def null_events(self) -> Counter:
        """(compartment, cause) to the number of attempts that did nothing."""
        null = Counter(self.refused_by_class)
        for key, n in self.by_channel.items():
            null[key] = max(n - self.executed[key], 0.0)
        return null


def names_of_channels(simulation: Simulation) -> list[str]:
    """What each channel does; one that meets partners may stand for several rules."""
    tab, tallies = simulation.tables, simulation.compiled.tallies
    names = []
    for channel in tab.channels:
        if channel["verb"] != PAIR:
            names.append(tallies[channel["tally"]].rule)
            continue
        names.append(" | ".join(sorted(_rules_of(simulation, int(channel["pair_table"])))))
    return names


def _rules_of(simulation: Simulation, pair_table: int) -> set[str]:
    tab, tallies = simulation.tables, simulation.compiled.tallies
    mine = tab.entry_range[pair_table * tab.n_species : (pair_table + 1) * tab.n_species]
    return {
        tallies[tab.entries[e]["tally"]].rule for first, last in mine for e in range(first, last)
    }


def account(simulation: Simulation, to_h: float) -> Account:
    """Advance one replicate to ``to_h``, interval by interval, and say where attempts went."""
    book = Account()
    names = names_of_channels(simulation)
    grouped = _groups(simulation, names)
    before, tally = simulation.statistics["attempts"], simulation.tally[0]
    counts = _state(simulation)
    for edge in _edges(simulation, to_h):
        begin = simulation.time_h
        simulation.advance(edge)
        after = _state(simulation)
        for state in (counts, after):
            _book(book, simulation, names, state, 0.5 * (simulation.time_h - begin))
        counts = after
    book.attempts = simulation.statistics["attempts"] - before
    book.estimated = sum(book.by_compartment.values())
    for key, n in zip(grouped, simulation.tally[0] - tally, strict=True):
        book.executed[key] += int(n)
    return book


def _edges(simulation: Simulation, to_h: float) -> list[float]:
    """Ends of the exchange intervals up to a time."""
    every, begin = simulation.scenario.run.exchange_h, simulation.time_h
    n = max(1, round((to_h - begin) / every))
    return [min(begin + (i + 1) * every, to_h) for i in range(n)]


def _groups(simulation: Simulation, names: list[str]) -> list[tuple[str, str]]:
    """(compartment, name of the channel) under which each tally's events are booked."""
    groups = [(t.compartment, t.rule) for t in simulation.compiled.tallies]
    together = {rule: name for name in names for rule in name.split(" | ")}
    for i, (compartment, rule) in enumerate(groups):
        if simulation.compiled.tallies[i].partner:
            groups[i] = (compartment, together.get(rule, rule))
    return groups


def _state(simulation: Simulation) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Counts by compartment and species, cells by class of each compartment, waiting cells."""
    geo, tab, state = simulation.geometry, simulation.tables, simulation.state
    members = [np.zeros(tab.n_classes) for _ in range(tab.n_compartments)]
    waiting = np.zeros(tab.n_compartments)
    for k, patch in enumerate(geo.patches):
        members[patch["compartment"]] += np.diff(state.lattice.bounds[0, patch["unit"], :-1])
        waiting[patch["compartment"]] += state.pool.n[0, k]
    for q, m in enumerate(geo.mixed_compartment):
        members[m] += np.diff(state.mixed.bounds[0, q])[: tab.n_classes]
    return state.body.counts[0].copy(), members, waiting


def _book(book: Account, simulation: Simulation, names: list[str], state, hours: float) -> None:
    """Add what the present rates and a state make of ``hours``."""
    counts, members, waiting = state
    geo, tab = simulation.geometry, simulation.tables
    rates = simulation.workers[
        0
    ].rates  # of the interval that has just ended; see the module's head
    for m, compartment in enumerate(simulation.compiled.compartment_names):
        density = _density(geo, m, counts[m])
        classes = rates.classes[m]
        tops = classes["top"] if geo.spaces[m]["is_lattice"] else (
            classes["single"] + density * classes["paired"]
        )  # fmt: skip
        chosen = members[m] * tops[: tab.n_classes] * hours
        outside = waiting[m] * rates.spaces[m]["arrive_top"] * hours
        if not geo.spaces[m]["is_lattice"]:
            outside = rates.spaces[m]["source_sum"] * hours
        book.by_compartment[compartment] += float(chosen.sum() + outside)
        what = "landing" if geo.spaces[m]["is_lattice"] else "from outside"
        if outside:
            book.by_channel[compartment, what] += float(outside)
        tried = np.zeros(tab.n_classes)
        for s in np.nonzero(counts[m][1:])[0] + 1:
            row = m * tab.n_species + int(s)
            if tab.rows[row]["class_of"] < 0:
                continue
            for ch, rate in _channel_rates(tab, rates, row, density):
                n = float(counts[m][s] * rate * hours)
                book.by_channel[compartment, names[ch]] += n
                tried[tab.rows[row]["class_of"]] += n
        for c in range(tab.n_classes):
            if chosen[c] > tried[c]:
                fastest = _fastest(simulation, rates, m, c, density, counts[m])
                book.refused_by_class[compartment, f"slower than {fastest}"] += float(
                    chosen[c] - tried[c]
                )


def _fastest(simulation: Simulation, rates, m: int, c: int, density: float, counts) -> str:
    """Who sets the top of a rate class, and whether such cells are there at all."""
    tab = simulation.tables
    rows = slice(m * tab.n_species, (m + 1) * tab.n_species)
    total = rates.rows["single"][rows] + density * rates.rows["paired"][rows]
    s = int(np.argmax(np.where(tab.rows["class_of"][rows] == c, total, -1.0)))
    name = simulation.compiled.species_names[s]
    return f"class {c}, {name}" + ("" if counts[s] else " (none there)")


def _density(geo, m: int, counts: np.ndarray) -> float:
    """Tries to meet per neighbour in a mixed compartment, as the kernel has it."""
    if geo.spaces[m]["is_lattice"] or geo.spaces[m]["capacity"] > 0:
        return 1.0
    return max(counts[1:].sum() - 1, 0) / geo.spaces[m]["room"]


def _channel_rates(tab, rates, row: int, density: float) -> Iterator[tuple[int, float]]:
    """Channels of a row and the rates at which a cell tries them, from the running sums."""
    first, pair, last = (
        int(tab.rows[row][k]) for k in ("channel_first", "pair_start", "channel_last")
    )
    for begin, end, scale in ((first, pair, 1.0), (pair, last, density)):
        below = 0.0
        for ch in range(begin, end):
            yield ch, (rates.cumulative[ch] - below) * scale
            below = rates.cumulative[ch]
