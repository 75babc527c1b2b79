"""A compiled model as a flow of mean numbers: states, events, and the contexts that set their hazards."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mst_abm.engine import mean_rates as F
from mst_abm.engine import tables as T
from mst_abm.engine.place import Items
from mst_abm.engine.tables import Tables
from mst_abm.meanfield.anatomy import Anatomy
from mst_abm.meanfield.states import Entering, Kind, made_of, products_of, reachable
from mst_abm.model.compile import CompiledModel
from mst_abm.model.fields import yields_of
from mst_abm.model.species import matches

OUTSIDE = 0  # the state of which there is always one
EVENT = np.dtype(
    [
        ("state", "i8"),
        ("context", "i8"),
        ("tally", "i8"),
        ("leaves", "b1"),  # the cell that acts is used up
        ("base", "f8"),
    ]
)
#: A factor, a look, room and a crowd: what a hazard is multiplied with.
Context = tuple[int, int, int, int]


@dataclass
class Plan:
    """A flow and where things stand in it.

    ``first``: state of the first counters of each kind; ``packed``: the counters, increasing.
    ``sent``: (tally, compartment, species, cells) that an event hands over to another compartment.
    """

    flow: F.Flow
    tables: Tables
    first: dict[Kind, int]
    packed: dict[Kind, np.ndarray]
    sent: np.ndarray
    anatomies: dict[int, Anatomy]
    order: np.ndarray  # place in the flow of every state as counted by ``first``

    def spread(self, kind: Kind, program: int) -> list[tuple[int, float]]:
        """States of new cells of a kind with their shares."""
        found = []
        for weight, made in made_of(self.tables, program, np.zeros(1, np.int64)):
            place = self.first[kind] + int(np.searchsorted(self.packed[kind], made[0]))
            found.append((int(self.order[place]), weight))
        return found

    def shares(self, compiled: CompiledModel) -> np.ndarray:
        """Share of the body that each state is counted in; 1 for the world outside."""
        found = np.ones(len(self.order))
        for kind in self.first:
            found[self.states(kind)] = compiled.geometry.spaces["share"][kind.compartment]
        return found

    def states(self, kind: Kind) -> np.ndarray:
        """Places of all states of a kind; none if it cannot occur."""
        if kind not in self.first:
            return np.zeros(0, np.int64)
        begin = self.first[kind]
        return self.order[begin : begin + len(self.packed[kind])]


def build_plan(
    compiled: CompiledModel,
    tables: Tables,
    items: Items,
    entering: Iterable[Entering],
    feeding: Iterable[tuple[int, int, float]] = (),
) -> Plan:
    """The flow of a model.

    Parameters
    ----------
    compiled : without tiles
    tables : the same, with all programs of counters that are used
    items : initial cells; ``entering``: kinds that a protocol brings in besides
    feeding : what one event of a tally adds to a signal: (tally, signal, amount)
    """
    builder = _Builder(compiled, tables, items, list(feeding))
    return builder.build(entering)


@dataclass
class _Builder:
    compiled: CompiledModel
    tab: Tables
    items: Items
    feeding: list[tuple[int, int, float]]
    events: list[np.ndarray] = field(default_factory=list)
    into: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    n_events: int = 0
    contexts: dict[Context, int] = field(default_factory=dict)
    looks: dict[tuple, int] = field(default_factory=lambda: {(): 0})
    rooms: dict[tuple[int, int, float], int] = field(default_factory=lambda: {(-1, -1, 0.0): 0})
    crowds: dict[tuple[Kind, tuple[int, int]], int] = field(default_factory=dict)
    sent: list[tuple[int, int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.geo = self.compiled.geometry
        self.lattices = self.geo.spaces["is_lattice"].astype(bool)
        self.anatomies = {
            int(m): Anatomy(self.compiled, self.items, int(m))
            for m in np.flatnonzero(self.lattices)
        }
        self.n_species = self.tab.n_species
        self.n_rows = self.n_species * self.tab.n_compartments
        self._contacts: dict[tuple[int, int], float] = {}
        self._local: dict[tuple[int, int, int, int], tuple[float, int]] = {}
        static = {t.name for t in self.compiled.model.types if t.is_static}
        self.is_static = [s.type in static for s in self.compiled.species]

    def build(self, entering: Iterable[Entering]) -> Plan:
        items, tab = self.items, self.tab
        rows = zip(items.compartment, items.species, items.update, strict=True)
        first_cells = [(Kind(int(m), int(s)), int(update)) for m, s, update in rows]
        outside = list(self._sources())
        entering = [*first_cells, *entering, *((kind, program) for _, kind, program, _ in outside)]
        self.packed = reachable(tab, self.lattices, entering)
        self.first, n = {}, 1
        for kind, values in self.packed.items():
            self.first[kind] = n
            n += len(values)
        for source, kind, program, room in outside:
            self._add_source(source, kind, program, room)
        for kind in self.packed:
            self._add_kind(kind)
        places = self._places()
        row = np.full(n, -1, np.int64)
        for kind, values in self.packed.items():
            if not kind.waits:
                begin = self.first[kind]
                row[begin : begin + len(values)] = kind.compartment * self.n_species + kind.species
        order, arrays = self._arrange(n)
        new_row = np.full(n, -1, np.int64)
        new_row[order] = row
        crowds = self._crowds(order)
        levels, counted = self._levels()
        fed = self._fed(levels, arrays["event_tally"])
        flow = F.Flow(
            n_species=self.n_species,
            row=new_row,
            **arrays,
            contexts=np.array(list(self.contexts), F.CONTEXT),
            **self._look_arrays(),
            rooms=np.array(list(self.rooms), F.ROOM),
            places=places,
            **crowds,
            levels=levels,
            counted=counted,
            fed=fed,
            factor_range=tab.factor_range,
            terms=tab.terms,
            law=tab.law,
            modifiers=tab.modifiers,
            modifier_values=tab.modifier_values,
            pattern_mask=tab.pattern_mask,
            kin=self._kin(),
        )
        sent = np.array(self.sent, float).reshape(-1, 4)
        return Plan(flow, tab, self.first, self.packed, sent, self.anatomies, order)

    def _arrange(self, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The new number of every state, and events and entries as arrays of `Flow`."""
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        goals, made_by, copies = map(np.concatenate, zip(nothing, *self.into, strict=True))
        events = np.concatenate([np.zeros(0, EVENT), *self.events])
        order, block_first = passing_order(n, events["state"][made_by], goals)
        goals, events["state"] = order[goals], order[events["state"]]
        by_state = np.argsort(events["state"], kind="stable")
        place = np.empty(len(events), np.int64)
        place[by_state] = np.arange(len(events))
        events, made_by = events[by_state], place[made_by]
        # what comes back to its state is a loss the less
        stays = goals == events["state"][made_by]
        loss = events["leaves"].astype(float)
        np.subtract.at(loss, made_by[stays], copies[stays])
        goals, made_by, copies = goals[~stays], made_by[~stays], copies[~stays]
        by_goal = np.argsort(goals, kind="stable")
        goals, made_by = goals[by_goal], made_by[by_goal]
        states = np.arange(n + 1)
        return order, {
            "block_first": block_first,
            "event_first": np.searchsorted(events["state"], states),
            "event_state": events["state"].astype(np.int32),
            "event_context": events["context"].astype(np.int32),
            "event_tally": events["tally"].astype(np.int32),
            "event_base": events["base"].copy(),
            "event_loss": loss,
            "into_first": np.searchsorted(goals, states),
            "into_event": made_by.astype(np.int32),
            "into_state": events["state"][made_by].astype(np.int32),
            "into_copies": copies[by_goal],
        }

    # events

    def _context(self, factor: int, look: int = 0, room: int = 0, crowd: int = -1) -> int:
        key = int(factor), look, room, crowd
        return self.contexts.setdefault(key, len(self.contexts))

    def _add(
        self,
        states: np.ndarray,
        base: np.ndarray,
        context: int,
        tally: int,
        products: Iterable[tuple[Kind, int, float]],
        packed: np.ndarray,
        leaves: bool = True,
    ) -> None:
        """Events of some states of one kind."""
        new = np.zeros(len(states), EVENT)
        new["state"], new["base"] = states, base
        new["context"], new["tally"], new["leaves"] = context, tally, leaves
        numbers = self.n_events + np.arange(len(states))
        self.events.append(new)
        self.n_events += len(states)
        for kind, program, copies in products:
            for weight, made in made_of(self.tab, program, packed):
                goal = self.first[kind] + np.searchsorted(self.packed[kind], made)
                self.into.append((goal, numbers, np.full(len(states), copies * weight)))

    def _add_kind(self, kind: Kind) -> None:
        tab, packed = self.tab, self.packed[kind]
        m, s = kind.compartment, kind.species
        states = self.first[kind] + np.arange(len(packed))
        record = tab.rows[m * self.n_species + s]
        if kind.waits:
            self._add_landing(kind, record, states)
            return
        for ch in tab.channels[record["channel_first"] : record["pair_start"]]:
            if ch["verb"] == T.MOVE:
                continue
            local, look = self._modified(kind, ch["modifier_first"], ch["modifier_last"])
            base = ch["base"] * local * self._counted(ch, packed)
            room = self._room_of(ch, m) if ch["verb"] == T.DIVIDE else 0
            context = self._context(ch["factor"], look, room)
            products = products_of(ch, m, self.lattices)
            if ch["verb"] in (T.LEAVE, T.EMIT):
                ((goal, _, copies),) = products
                self.sent.append((int(ch["tally"]), goal.compartment, goal.species, copies))
            leaves = ch["verb"] != T.EMIT
            self._add(states, base, context, int(ch["tally"]), products, packed, leaves)
        for ch in tab.channels[record["pair_start"] : record["channel_last"]]:
            for t in range(1, self.n_species):
                partner = Kind(m, t)
                if partner in self.packed:
                    first, last = tab.entry_range[ch["pair_table"] * self.n_species + t]
                    for entry in tab.entries[first:last]:
                        self._add_meeting(kind, partner, ch, entry)

    def _add_meeting(self, actor: Kind, partner: Kind, ch: np.void, entry: np.void) -> None:
        """Both sides of a contact: each cell's hazard is in proportion to the number of the others."""
        m = actor.compartment
        local, look = self._modified(actor, entry["modifier_first"], entry["modifier_last"])
        each = entry["base"] * local * self._meetings(actor, partner, int(ch["reach"]))
        if each == 0.0:
            return
        packed, others = self.packed[actor], self.packed[partner]
        by_counter = self._counted(entry, packed)
        crowd = m * self.n_species + partner.species
        a, b = int(entry["product_a"]), int(entry["product_b"])
        states = self.first[actor] + np.arange(len(packed))
        stays = a == actor.species and self._keeps(int(entry["update_a"]), packed)
        made = ((Kind(m, a), int(entry["update_a"]), 1.0),) if a and not stays else ()
        context = self._context(entry["factor"], look, crowd=crowd)
        tally = int(entry["tally"])
        self._add(states, each * by_counter, context, tally, made, packed, not stays)
        if b == partner.species and self._keeps(int(entry["update_b"]), others):
            return
        crowd = m * self.n_species + actor.species
        if np.ptp(by_counter):
            modifiers = int(entry["modifier_first"]), int(entry["modifier_last"])
            number = self.crowds.setdefault((actor, modifiers), len(self.crowds))
            crowd, each_b = self.n_rows + number, each
        else:
            each_b = each * by_counter[0]
        made = ((Kind(m, b), int(entry["update_b"]), 1.0),) if b else ()
        states = self.first[partner] + np.arange(len(others))
        context = self._context(entry["factor"], look, crowd=crowd)
        unbooked = len(self.compiled.tallies)  # the event is booked on the actor's side
        self._add(states, np.full(len(states), each_b), context, unbooked, made, others)

    def _keeps(self, program: int, packed: np.ndarray) -> bool:
        ways = made_of(self.tab, program, packed)
        return len(ways) == 1 and np.array_equal(ways[0][1], packed)

    def _meetings(self, actor: Kind, partner: Kind, reach: int) -> float:
        """Tries of a cell to meet one other cell of the compartment, per unit of rate."""
        m = actor.compartment
        space = self.geo.spaces[m]
        offsets = int(space["neighbours"])
        if reach:
            offsets = int(self.geo.ball_count[space["ball_row"], reach])
        if not self.lattices[m]:
            return offsets / (float(space["capacity"]) or float(space["room"]))
        anatomy = self.anatomies[m]
        sites = anatomy.n_sites * int(space["patches"])
        if not sites:
            return 0.0
        for kind in (actor, partner):
            if self.is_static[kind.species] and not reach:
                present = np.count_nonzero(anatomy.species == kind.species)
                if present:
                    key = m, kind.species
                    if key not in self._contacts:
                        self._contacts[key] = anatomy.contacts(kind.species)
                    return self._contacts[key] / (present * int(space["patches"]))
        return offsets * anatomy.open_share / sites

    def _add_landing(self, kind: Kind, record: np.void, states: np.ndarray) -> None:
        m = kind.compartment
        first, last = int(record["arrive_modifier_first"]), int(record["arrive_modifier_last"])
        local, _ = self._modified(kind, first, last)
        if record["arrive_rate"] == 0.0 or local == 0.0:
            return
        context = self._context(record["arrive_factor"], room=self._room((F.A_PLACE, m, 0.0)))
        base = np.full(len(states), float(record["arrive_rate"]))
        landed = ((Kind(m, kind.species), -2, 1.0),)
        self._add(states, base, context, int(record["arrive_tally"]), landed, self.packed[kind])

    def _sources(self) -> Iterable[tuple[np.void, Kind, int, int]]:
        for m, space in enumerate(self.geo.spaces):
            for source in self.tab.sources[space["source_first"] : space["source_last"]]:
                room = 0
                if space["capacity"]:
                    room = self._room((F.A_BATCH, m, float(source["batch"])))
                yield source, Kind(m, int(source["species"])), int(source["update"]), room

    def _add_source(self, source: np.void, kind: Kind, program: int, room: int) -> None:
        context = self._context(source["factor"], room=room)
        products = ((kind, program, float(source["batch"])),)
        self._add(
            np.array([OUTSIDE]), np.array([source["rate"]]), context, int(source["tally"]), products,
            np.zeros(1, np.int64), leaves=False,
        )  # fmt: skip

    # contexts

    def _counted(self, record: np.void, packed: np.ndarray) -> np.ndarray:
        """Product of the modifiers that read a counter, for each value of the counters."""
        found = np.ones(len(packed))
        for row in self.tab.modifiers[record["modifier_first"] : record["modifier_last"]]:
            if row["kind"] == T.COUNTER:
                x = np.minimum((packed >> row["target"]) & row["reach"], row["length"] - 1)
                found *= self.tab.modifier_values[row["table"] + x]
        return found

    def _modified(self, kind: Kind, first: int, last: int) -> tuple[float, int]:
        """A constant and a look: the other modifiers of a rule."""
        m = kind.compartment
        static_actor = kind.species if self.is_static[kind.species] else 0
        key = m, int(first), int(last), static_actor
        if key not in self._local:
            self._local[key] = self._modified_anew(kind, int(first), int(last))
        return self._local[key]

    def _modified_anew(self, kind: Kind, first: int, last: int) -> tuple[float, int]:
        m, tab = kind.compartment, self.tab
        anatomy = self.anatomies.get(m)
        fixed, seen = [], []
        for i in range(first, last):
            row = tab.modifiers[i]
            if row["kind"] == T.COUNTER:
                continue
            if anatomy is not None and anatomy.looks_static(row):
                fixed.append(i)
            elif row["kind"] == T.FIELD:
                reading = tab.readings[row["target"]]
                level = len(tab.signals) + int(reading["medium"])
                term, bound = int(reading["term"]), float(reading["bound"])
                seen.append((F.LEVEL_HERE, term, level, 0, bound))
            else:
                how = F.MEAN_AROUND if anatomy is None else F.AROUND
                ball = self.geo.ball_count[self.geo.spaces[m]["ball_row"], row["reach"]]
                seen.append((how, i, m, int(ball), 1.0))
        constant = 1.0
        if fixed:
            assert anatomy is not None
            constant = anatomy.acceptance(tab.modifiers[fixed], kind.species)
        return constant, self.looks.setdefault(tuple(seen), len(self.looks))

    def _look_arrays(self) -> dict[str, np.ndarray]:
        ends = np.cumsum([0] + [len(parts) for parts in self.looks])
        flat = [look for parts in self.looks for look in parts]
        return {
            "look_range": np.stack([ends[:-1], ends[1:]], axis=1),
            "looks": np.array(flat, F.LOOK),
        }

    def _room(self, room: tuple[int, int, float]) -> int:
        return self.rooms.setdefault(room, len(self.rooms))

    def _room_of(self, ch: np.void, m: int) -> int:
        """What a division in a compartment asks for; 0 where there is always room."""
        space = self.geo.spaces[m]
        if not space["is_lattice"] and not space["capacity"]:
            return 0
        if ch["placement"] == T.ATTEMPT:
            return self._room((F.ONE_SITE, m, 1.0))
        number = int(space["neighbours"])
        if ch["placement"] == T.PUSH:
            number = int(self.geo.ball_count[space["ball_row"], ch["push"]])
        return self._room((F.ANY_SITE, m, float(number)))

    def _crowds(self, order: np.ndarray) -> dict[str, np.ndarray]:
        states, weights, ends = [], [], [0]
        for actor, (first, last) in self.crowds:
            packed = self.packed[actor]
            record = {"modifier_first": first, "modifier_last": last}
            states.append(order[self.first[actor] + np.arange(len(packed))])
            weights.append(self._counted(record, packed))  # type: ignore[arg-type]
            ends.append(ends[-1] + len(packed))
        return {
            "crowd_first": np.array(ends, np.int64),
            "crowd_state": np.concatenate([np.zeros(0, np.int64), *states]),
            "crowd_weight": np.concatenate([np.zeros(0), *weights]),
        }

    # what does not hang on states

    def _places(self) -> np.ndarray:
        found = np.zeros(len(self.geo.spaces), F.PLACE)
        for m, (place, space) in enumerate(zip(found, self.geo.spaces, strict=True)):
            place["share"], place["open"] = space["share"], 1.0
            place["sites"] = float(space["capacity"]) or float(space["room"])
            place["has_sites"] = bool(space["capacity"])
            if m in self.anatomies:
                anatomy, patches = self.anatomies[m], int(space["patches"])
                place["sites"] = max(anatomy.n_sites * patches, 1)
                place["held"] = anatomy.n_static * patches
                place["open"], place["has_sites"] = anatomy.open_share, True
        return found

    def _kin(self) -> np.ndarray:
        types = {t.name: i for i, t in enumerate(self.compiled.model.types)}
        kin = [types.get(s.type, 0) for s in self.compiled.species]
        return np.tile(np.array(kin, np.int64), self.tab.n_compartments)

    def _levels(self) -> tuple[np.ndarray, np.ndarray]:
        tab, model = self.tab, self.compiled.model
        counted: list[tuple[int, float]] = []
        found = np.zeros(len(tab.signals) + len(model.fields), F.LEVEL)

        def add(first: int, last: int) -> tuple[int, int]:
            begin = len(counted)
            for term in tab.count_terms[first:last]:
                members = np.flatnonzero(tab.pattern_mask[term["pattern"]])
                here = term["compartment"] * self.n_species
                counted.extend((int(here + s), float(term["rate"])) for s in members if s)
            return begin, len(counted)

        for level, signal in zip(found, tab.signals, strict=False):
            level["is_given"] = signal["kind"] == T.GIVEN
            for name in ("production", "clearance", "maximum", "half"):
                level[name] = signal[name]
            gains = add(signal["yield_first"], signal["yield_last"])
            losses = add(signal["clear_first"], signal["clear_last"])
            level["gain_first"], level["gain_last"] = gains
            level["loss_first"], level["loss_last"] = losses
        places = {c.name: i for i, c in enumerate(model.compartments)}
        for level, medium in zip(found[len(tab.signals) :], model.fields, strict=True):
            compartment = model.compartments[places[medium.compartment]]
            level["production"], level["clearance"], level["half"] = (
                medium.production, medium.decay, 1.0,
            )  # fmt: skip
            blocks = compartment.patches * math.prod(n // medium.block for n in compartment.shape)
            begin = len(counted)
            each = yields_of(medium, compartment)
            for amount, (_, pattern, _) in zip(each, medium.yields, strict=True):
                members = (i for i, s in enumerate(self.compiled.species) if matches(pattern, s))
                here = places[medium.compartment] * self.n_species
                counted.extend((here + s, amount / blocks) for s in members)
            level["gain_first"], level["gain_last"] = begin, len(counted)
        return found, np.array(counted, F.COUNTED)

    def _fed(self, levels: np.ndarray, tallies: np.ndarray) -> np.ndarray:
        """Events that feed signals. Changes: levels."""
        rows: list[tuple[int, float]] = []
        for g, level in enumerate(levels):
            level["event_first"] = len(rows)
            for tally, signal, amount in self.feeding:
                if signal == g:
                    rows += [(int(e), amount) for e in np.flatnonzero(tallies == tally)]
            level["event_last"] = len(rows)
        return np.array(rows, F.FED)


def passing_order(n: int, sources: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """New numbers of states, and the first of each block: cells pass from lower to higher blocks only.

    Blocks are strongly connected; they are in the order in which a search in depth leaves them, last first, and
    so are states within them. The world outside stays number 0.
    """
    by_source = np.argsort(sources, kind="stable")
    ends = np.searchsorted(sources[by_source], np.arange(n + 1)).tolist()
    nexts = goals[by_source].tolist()
    is_seen = [False] * n
    done: list[int] = []
    for root in range(1, n):
        if is_seen[root]:
            continue
        is_seen[root] = True
        stack = [(root, ends[root])]
        while stack:
            state, at = stack.pop()
            while at < ends[state + 1] and is_seen[nexts[at]]:
                at += 1
            if at == ends[state + 1]:
                done.append(state)
                continue
            stack.append((state, at + 1))
            is_seen[nexts[at]] = True
            stack.append((nexts[at], ends[nexts[at]]))
    left = np.zeros(n, np.int64)
    left[done[::-1]] = np.arange(1, n)
    links = coo_array((np.ones(len(goals)), (sources, goals)), (n, n))
    _, block = connected_components(links, connection="strong")
    earliest = np.full(n, n)
    np.minimum.at(earliest, block, left)
    sequence = np.lexsort((left, earliest[block]))
    order = np.empty(n, np.int64)
    order[sequence] = np.arange(n)
    first = np.flatnonzero(np.diff(block[sequence], prepend=-1))
    return order, np.append(first, n)
