"""Rules to channels: for every compartment and species, what its cells can do and at what rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mst_abm.engine import tables as T
from mst_abm.engine.tables import Geometry
from mst_abm.errors import ModelError
from mst_abm.model.definition import Compartment, Model, Modifier, Outcome, Product, Rule
from mst_abm.model.fields import Readings
from mst_abm.model.laws import Factors, Layout, LocalModifiers, Patterns, Updates, evaluate
from mst_abm.model.species import EMPTY, Species, matches, resolve

VERBS = {"die": T.DIE, "become": T.BECOME, "divide": T.DIVIDE, "move": T.MOVE}
PLACEMENTS = {"attempt": T.ATTEMPT, "vacant": T.VACANT, "push": T.PUSH}
SAME = Product("same")


@dataclass
class Tally:
    """One line of the table of events: what is booked under a number."""

    rule: str
    verb: str
    compartment: str
    actor: str
    partner: str
    products: str
    changes: list[tuple[int, int, int]]  # (compartment, species, +-n) per event


@dataclass
class Channel:
    """One row of the channel columns of `Tables`."""

    verb: int
    base: float
    factor: int = 0
    modifiers: tuple[int, int] = (0, 0)
    tally: int = -1
    product_a: int = 0
    product_b: int = 0
    update_a: int = -1
    update_b: int = -1
    placement: int = 0
    push: int = 0
    swap: int = -1
    destination: int = -1
    copies: float = 0.0
    reach: int = 0
    pair_table: int = 0
    steer: int = -1


@dataclass
class Entry:
    """One row of the entry columns of `Tables`."""

    base: float
    factor: int
    modifiers: tuple[int, int]
    tally: int
    product_a: int
    product_b: int
    update_a: int
    update_b: int


@dataclass
class Arrival:
    rate: float = 0.0
    factor: int = 0
    modifiers: tuple[int, int] = (0, 0)
    tally: int = -1


@dataclass
class Source:
    rate: float
    factor: int
    tally: int
    species: int
    update: int
    batch: int


@dataclass
class ChannelSet:
    """Everything rules turn into, row by row (row = compartment * species + species)."""

    model: Model
    geometry: Geometry
    species: Sequence[Species]
    patterns: Patterns
    layout: Layout
    updates: Updates
    factors: Factors
    local: LocalModifiers
    readings: Readings
    rows: dict[int, list[Channel]] = field(default_factory=dict)
    pairs: dict[tuple[int, int], dict[int, list[Entry]]] = field(default_factory=dict)
    arrivals: dict[int, Arrival] = field(default_factory=dict)
    sources: dict[int, list[Source]] = field(default_factory=dict)
    tallies: list[Tally] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.types = {t.name: t for t in self.model.types}
        self.number = {s: i for i, s in enumerate(self.species)}
        self._weighed: dict[tuple[str, int, str], tuple[float, int, tuple[int, int]]] = {}
        self.places = {c.name: i for i, c in enumerate(self.model.compartments)}
        for rule in self.model.rules:
            for m, compartment in enumerate(self.model.compartments):
                if rule.compartments and compartment.name not in rule.compartments:
                    continue
                self._add_rule(rule, m, compartment)

    def _add_rule(self, rule: Rule, m: int, compartment: Compartment) -> None:
        if rule.rate == 0.0:
            return
        if rule.verb == "arrive" and rule.is_from_outside:
            self._add_source(rule, m, compartment)
            return
        if rule.verb == "move" and compartment.kind == "mixed":
            return
        if rule.verb == "leave" and any(o.destination == compartment.name for o in rule.outcomes):
            return
        for a, actor in enumerate(self.species):
            if actor == EMPTY or not matches(rule.actor, actor):
                continue
            if rule.verb in ("contact", "paracrine"):
                self._add_pairs(rule, m, compartment, a, actor)
            elif rule.verb == "arrive":
                self._add_arrival(rule, m, compartment, a, actor)
            else:
                for outcome in rule.outcomes or (Outcome(1.0, ()),):
                    self._add_channel(rule, outcome, m, compartment, a, actor)

    def _weigh(
        self, rule: Rule, m: int, compartment: Compartment, actor: Species
    ) -> tuple[float, int, tuple[int, int]]:
        """Rate with bounds, signal factor, and local modifiers of a rule for one actor's type."""
        key = rule.name, m, actor.type
        if key not in self._weighed:
            self._weighed[key] = self._weigh_anew(rule, m, compartment, actor)
        return self._weighed[key]

    def _weigh_anew(
        self, rule: Rule, m: int, compartment: Compartment, actor: Species
    ) -> tuple[float, int, tuple[int, int]]:
        where = f"rule '{rule.name}'"
        rate = rule.rate
        signal = [x for x in rule.modifiers if x.source == "signal"]
        first = len(self.local.rows)
        for modifier in rule.modifiers:
            if modifier.source == "signal":
                continue
            if compartment.kind == "mixed" and modifier.source in ("site", "distance"):
                rate *= self._expected(modifier, compartment, where)
                continue
            if modifier.source == "field":
                number, bound = self.readings.factor(modifier, compartment, where)
                self.local.add_reading(number)
                rate *= bound
                continue
            self._check_reach(modifier.within, modifier.source == "near", compartment, where)
            row = self.geometry.spaces[m]["ball_row"]
            n_ball = int(self.geometry.ball_count[row, modifier.within])
            rate *= self.local.add(modifier, actor, n_ball, where)
        return rate, self.factors.number(signal), (first, len(self.local.rows))

    @staticmethod
    def _expected(modifier: Modifier, compartment: Compartment, where: str) -> float:
        """Mean of a site modifier in a mixed compartment, from its declared site fractions."""
        fractions = dict(compartment.site_fractions)
        if modifier.target not in fractions:
            raise ModelError(
                f"{where}: the mixed compartment '{compartment.name}' has no sites; give "
                f"site_fractions: {{{modifier.target}: ...}} (mean number of adjacent "
                f"'{modifier.target}') or restrict the rule with 'in'."
            )
        if modifier.source == "site":
            return evaluate(modifier.shape, fractions[modifier.target])
        share = min(fractions[modifier.target], 1.0)
        return share * evaluate(modifier.shape, 1) + (1.0 - share) * evaluate(modifier.shape, 2)

    def _check_reach(
        self, within: int, is_ranged: bool, compartment: Compartment, where: str
    ) -> None:
        if not is_ranged or compartment.kind == "mixed":
            return
        for n, is_periodic in zip(compartment.shape, compartment.is_periodic, strict=True):
            if is_periodic and n < 2 * within + 1:
                raise ModelError(
                    f"{where}: a range of {within} sites needs periodic sides of at least "
                    f"{2 * within + 1} in '{compartment.name}', got {n}."
                )

    def _tally(
        self,
        rule: Rule,
        m: int,
        actor: Species | None,
        partner: Species | None,
        products: Sequence[Species],
        changes: Sequence[tuple[int, Species, int]],
    ) -> int:
        summed: dict[tuple[int, int], int] = {}
        for compartment, species, n in changes:
            if species != EMPTY:
                key = compartment, self.number[species]
                summed[key] = summed.get(key, 0) + n
        self.tallies.append(
            Tally(
                rule.name,
                rule.verb,
                self.model.compartments[m].name,
                actor.name if actor else "",
                partner.name if partner else "",
                " + ".join(p.name for p in products),
                [(c, s, n) for (c, s), n in summed.items() if n],
            )
        )
        return len(self.tallies) - 1

    def _add_channel(
        self, rule: Rule, outcome: Outcome, m: int, compartment: Compartment, a: int, actor: Species
    ) -> None:
        where = f"rule '{rule.name}'"
        rate, factor, modifiers = self._weigh(rule, m, compartment, actor)
        if rate * outcome.probability == 0.0:
            return
        channel = Channel(VERBS.get(rule.verb, T.LEAVE), rate * outcome.probability, factor)
        channel.modifiers = modifiers
        products = [resolve(p, actor, self.types, where) for p in outcome.products]
        changes = [(m, actor, -1)]
        if rule.verb == "become":
            channel.product_a = self.number[products[0]]
            channel.update_a = self.updates.program(actor, products[0], outcome.products[0], "same")
            changes.append((m, products[0], 1))
        elif rule.verb == "divide":
            channel.product_a, channel.product_b = (self.number[p] for p in products)
            first, second = outcome.products
            channel.update_a = self.updates.program(actor, products[0], first, "first")
            channel.update_b = self.updates.program(actor, products[1], second, "second")
            channel.placement, channel.push = PLACEMENTS[rule.placement], rule.push
            if rule.placement == "push":
                self._check_reach(rule.push, True, compartment, where)
            changes += [(m, products[0], 1), (m, products[1], 1)]
        elif rule.verb == "move":
            products, changes = [], []
            if rule.swap_with is not None:
                channel.swap = self.patterns.row(rule.swap_with)
            if rule.bias is not None:
                channel.steer = self.readings.bias(rule.bias, compartment, where)
        elif rule.verb == "leave" and rule.emits is not None:
            name, product, amount = rule.emits
            emitted = resolve(product, None, self.types, where)
            channel.verb = T.EMIT
            channel.product_b = self.number[emitted]
            channel.update_b = self.updates.program(None, emitted, product, "same")
            self._address(channel, compartment, name, amount)
            products, changes = [emitted], []
        elif rule.verb == "leave":
            product = outcome.products[0] if outcome.products else SAME
            products = [resolve(product, actor, self.types, where)]
            channel.product_a = self.number[products[0]]
            channel.update_a = self.updates.program(actor, products[0], product, "same")
            assert outcome.destination is not None
            self._address(channel, compartment, outcome.destination, 1.0)
        channel.tally = self._tally(rule, m, actor, None, products, changes)
        self.rows.setdefault(m * len(self.species) + a, []).append(channel)

    def _address(self, channel: Channel, source: Compartment, name: str, amount: float) -> None:
        """Destination, and cells there per cell here: shares of the body may differ."""
        target = self.model.compartments[self.places[name]]
        if target.kind == "mixed" and target.capacity:
            raise ModelError(
                f"cells leave '{source.name}' for '{name}', which has a capacity; a compartment "
                "that receives cells is a lattice or is mixed without a capacity."
            )
        channel.destination = self.places[name]
        channel.copies = amount * target.share / source.share

    def _add_pairs(
        self, rule: Rule, m: int, compartment: Compartment, a: int, actor: Species
    ) -> None:
        """Entries of a pair rule; where both cells could be the actor each takes half the rate."""
        where = f"rule '{rule.name}'"
        assert rule.partner is not None
        reach = rule.within if rule.verb == "paracrine" else 0
        self._check_reach(reach, reach > 0, compartment, where)
        partners = [(t, s) for t, s in enumerate(self.species) if s != EMPTY]
        for t, partner in partners:
            if not matches(rule.partner, partner):
                continue
            is_mutual = matches(rule.actor, partner) and matches(rule.partner, actor)
            for outcome in rule.outcomes:
                rate, factor, modifiers = self._weigh(rule, m, compartment, actor)
                rate *= outcome.probability * (0.5 if is_mutual else 1.0)
                if rate == 0.0:
                    continue
                first, second = outcome.products
                product_a = resolve(first, actor, self.types, where)
                product_b = resolve(second, partner, self.types, where)
                changes = [(m, actor, -1), (m, partner, -1), (m, product_a, 1), (m, product_b, 1)]
                tally = self._tally(rule, m, actor, partner, (product_a, product_b), changes)
                entry = Entry(
                    rate,
                    factor,
                    modifiers,
                    tally,
                    self.number[product_a],
                    self.number[product_b],
                    self.updates.program(actor, product_a, first, "same"),
                    self.updates.program(partner, product_b, second, "same"),
                )
                row = m * len(self.species) + a
                self.pairs.setdefault((row, reach), {}).setdefault(t, []).append(entry)

    def _add_arrival(
        self, rule: Rule, m: int, compartment: Compartment, a: int, actor: Species
    ) -> None:
        if compartment.kind == "mixed":
            return
        if any(x.source == "counter" for x in rule.modifiers):
            raise ModelError(
                f"rule '{rule.name}': a counter cannot change how cells arrive; local modifiers of "
                "'arrive' weigh the sites against each other."
            )
        # the rate is that of the rule: local modifiers only say where
        _, factor, modifiers = self._weigh(rule, m, compartment, actor)
        rate = rule.rate
        tally = self._tally(rule, m, actor, None, (actor,), [(m, actor, 1)])
        row = m * len(self.species) + a
        if row in self.arrivals:
            raise ModelError(f"rule '{rule.name}': '{actor.name}' already has an arrival rule.")
        self.arrivals[row] = Arrival(rate, factor, modifiers, tally)

    def _add_source(self, rule: Rule, m: int, compartment: Compartment) -> None:
        product = rule.outcomes[0].products[0] if rule.outcomes else None
        for a, actor in enumerate(self.species):
            if actor == EMPTY or not matches(rule.actor, actor):
                continue
            rate, factor, _ = self._weigh(rule, m, compartment, actor)
            tally = self._tally(rule, m, None, None, (actor,), [(m, actor, rule.batch)])
            program = self.updates.program(None, actor, product or Product("same"), "same")
            self.sources.setdefault(m, []).append(
                Source(rate, factor, tally, a, program, rule.batch)
            )

    def finish(self) -> None:
        """Add a pair channel to each row for every reach it has entries for."""
        for table, (row, reach) in enumerate(self.pairs):
            channel = Channel(T.PAIR, 0.0, reach=reach, pair_table=table)
            self.rows.setdefault(row, []).append(channel)

    def stoichiometry(self) -> np.ndarray:
        """(n, 4): tally, compartment, species, cells gained per event."""
        rows = [(i, *change) for i, t in enumerate(self.tallies) for change in t.changes]
        return np.array(rows, np.int64).reshape(-1, 4)
