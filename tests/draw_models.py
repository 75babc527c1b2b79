"""Models drawn at random from the whole grammar, small enough for their exact Markov chain.

python tests/draw_models.py NUMBER        prints model NUMBER as a file would state it
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from draw_parts import NotDrawn, Parts
from exact import LOST, Chain, Explored, TooLarge
from worlds import lattice, mixed, rule, world

from mst_abm.errors import ModelError, ScenarioError
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario

MOST_STATES = 3_000
FLOWING_CELLS = 14  # in a compartment without a capacity, before a state counts as lost
NEGLIGIBLE = 1e-16  # probability of a lost state


@dataclass
class Drawn:
    """A model, how it came about, and its chain."""

    number: int
    document: dict[str, Any]
    scenario: Scenario
    time: float
    traits: Counter
    chain: Chain = field(repr=False)
    explored: Explored = field(repr=False)
    refused: int = 0

    def text(self) -> str:
        spaces = [
            f"{c.name}: {c.shape}, periodic {c.is_periodic}, {c.neighbours} neighbours"
            for c in self.scenario.model.compartments
            if c.kind == "lattice"
        ]
        again = f"python tests/draw_models.py {self.number}"
        return (
            f"{again}\n{json.dumps(self.document)}\nlattices as drawn: {spaces}\ntime {self.time} h"
        )


class Draw(Parts):
    """Rules, spaces and first cells."""

    def rules(self) -> list[dict]:
        verbs = ["die", "become", "divide", "contact", "paracrine"]
        weights = [3, 3, 4, 4, 2]
        if self.has_lattice:
            verbs, weights = [*verbs, "move"], [*weights, 4]
        if len(self.rooms) == 2:
            verbs, weights = [*verbs, "leave"], [*weights, 4]
        if self.arena != "lattice":
            verbs, weights = [*verbs, "source"], [*weights, 2]
        found = []
        self.lands = False
        for i in range(self.r.randint(3, 6)):
            verb = "leave" if i == 0 and len(self.rooms) == 2 else self.r.choices(verbs, weights)[0]
            room = self.r.choice(self.rooms)
            if i == 0 and self.r.random() < 0.3:
                room = self.rooms[-1]
            if verb == "move":
                room = "box"
            if verb == "source":
                room = self.rooms[-1]
            self.traits["verb", {"source": "arrive from outside"}.get(verb, verb)] += 1
            found.append(getattr(self, f"draw_{verb}")(room))
        if self.lands:
            at = {"at": self.r.choice(({"next_to": "wall"}, {"distance": "wall", "at_most": 2}))}
            more = at if self.wall and self.r.random() < 0.3 else {}
            for kind in self.r.choice((["*"], [k for k in self.kinds if k != "wall"])):
                self.traits["verb", "arrive"] += 1
                where = self.modifiers(kind, "box", arriving=True)
                found.append(rule("arrive", kind, self.rate(), on="box", modifiers=where, **more))
        return found

    def draw_die(self, room: str) -> dict:
        what = self.pattern()
        return rule("die", what, self.rate(), on=room, modifiers=self.modifiers(what, room))

    def draw_become(self, room: str) -> dict:
        what = self.pattern()
        outcomes, left = [], 1.0
        for _ in range(self.r.choice((1, 1, 2))):
            p = self.r.uniform(0.3, 1.0) * left
            left -= p
            to = self.r.choice(self.species)
            outcome = {"probability": p, "to": to, "counters": self.changes(to[0])}
            outcomes.append({k: v for k, v in outcome.items() if v})
        self.traits["outcomes", str(len(outcomes))] += 1
        return rule(
            "become",
            what,
            self.rate(),
            on=room,
            outcomes=outcomes,
            modifiers=self.modifiers(what, room),
        )

    def draw_divide(self, room: str) -> dict:
        what = self.pattern()
        place: Any = self.r.choice(("attempt", "vacant", "push"))
        if place == "push":
            place = {"push": self.reach(room, 2)}
        self.traits["placement", place if isinstance(place, str) else f"push {place['push']}"] += 1
        if self.r.random() < 0.4:
            first, second = self.r.choice(self.species), self.r.choice(self.species)
            outcome = {"probability": self.r.uniform(0.5, 1.0), "daughters": f"{first} + {second}"}
            if first[0] == second[0]:
                outcome["counters"] = self.changes(first[0], divided=True)
            outcomes = [{k: v for k, v in outcome.items() if v}]
            return rule("divide", what, self.rate(), on=room, place=place, outcomes=outcomes,
                        modifiers=self.modifiers(what, room))  # fmt: skip
        if what == "*" or self.r.random() < 0.3:
            second = self.r.choice(self.species)
            first = self.r.choice(self.species)
        else:
            first = second = what
        return rule("divide", f"{what} -> {first} + {second}", self.rate(), on=room, place=place,
                    modifiers=self.modifiers(what, room))  # fmt: skip

    def draw_move(self, room: str) -> dict:
        what = self.pattern()
        more = {}
        if self.r.random() < 0.5:
            more["swap_with"] = self.r.sample(self.patterns, self.r.choice((1, 2)))
        self.traits["move", "with swap" if more else "without swap"] += 1
        return rule(
            "move", what, self.rate(), on=room, modifiers=self.modifiers(what, room), **more
        )

    def partner_outcome(self, pattern: str) -> Any:
        """What becomes of one cell of a pair."""
        options: list[Any] = ["same", "empty", *self.species]
        if self.owners(pattern):
            changed = self.changes(pattern[0])
            if pattern == "a" or (pattern[0] == "a" and self.axis):
                changed["phase"] = self.r.choice("xy") if self.axis else None
            changed = {k: v for k, v in changed.items() if v is not None}
            if changed:
                options += [changed] * 2
        return self.r.choice(options)

    def draw_contact(self, room: str, verb: str = "contact", **more: Any) -> dict:
        actor, partner = self.pattern(), self.pattern()
        outcomes, left = [], 1.0
        for _ in range(self.r.choice((1, 2, 2, 3))):
            p = self.r.uniform(0.3, 0.9) * left
            left -= p
            outcomes.append(
                {
                    "probability": p,
                    "actor": self.partner_outcome(actor),
                    "partner": self.partner_outcome(partner),
                }
            )
        self.traits["outcomes", str(len(outcomes))] += 1
        self.traits["pair", "of one kind" if actor == partner else "of two kinds"] += 1
        return rule(verb, f"{actor} + {partner}", self.rate(), on=room, outcomes=outcomes,
                    modifiers=self.modifiers(actor, room), **more)  # fmt: skip

    def draw_paracrine(self, room: str) -> dict:
        within = self.reach(room, 3)
        self.traits["paracrine", f"within {within}"] += 1
        return self.draw_contact(room, "paracrine", within=within)

    def draw_leave(self, room: str) -> dict:
        there = next(r for r in self.rooms if r != room)
        if there == "box":
            self.lands = True
        self.traits[
            "leave",
            f"{'lattice' if room == 'box' else 'mixed'} to {'lattice' if there == 'box' else 'mixed'}",
        ] += 1
        what = self.pattern()
        more: dict[str, Any] = {}
        if self.wall and self.r.random() < 0.3:
            more["at"] = self.r.choice(({"next_to": "wall"}, {"distance": "wall", "at_most": 1}))
            self.traits["leave", "at a static type"] += 1
        if self.r.random() < 0.25:
            self.traits["leave", "emit"] += 1
            if self.wall and room == "box" and self.r.random() < 0.4:
                what = "wall"
            emit = {
                "to": f"{there}.{self.r.choice(self.species)}",
                "yield": self.r.choice((1, 0.6, 1.5)),
            }
            more["modifiers"] = self.modifiers(what, room)
            return rule("leave", what, self.rate(), on=room, emit=emit, **more)
        modifiers = self.modifiers(what, room)
        to = there if self.r.random() < 0.5 else f"{there}.{self.r.choice(self.species)}"
        if self.r.random() < 0.5:
            return rule(
                "leave", f"{what} -> {to}", self.rate(), on=room, modifiers=modifiers, **more
            )
        outcomes = [{"probability": self.r.uniform(0.3, 1.0), "to": to}]
        return rule(
            "leave", what, self.rate(), on=room, outcomes=outcomes, modifiers=modifiers, **more
        )

    def draw_source(self, room: str) -> dict:
        batch = self.r.choice((1, 1, 2))
        signals = [m for m in self.modifiers("*", room) if "signal" in m]
        return rule("arrive", self.r.choice(self.species), self.rate(), batch=batch, on=room,
                    modifiers=signals, **{"from": "outside"})  # fmt: skip

    # spaces

    def compartments(self) -> dict[str, dict]:
        found: dict[str, dict] = {}
        fractions = (
            {"site_fractions": {"wall": self.r.choice((0.4, 0.8, 1.5))}} if self.wall else {}
        )
        for room in self.rooms:
            if room == "box":
                name = " x ".join(map(str, self.shape)) + f", {self.z} neighbours"
                self.traits["lattice", name] += 1
                kinds = {True: "periodic", False: "no-flux"}
                both = {kinds[r] for r in self.ring}
                self.traits[
                    "boundary", both.pop() if len(both) == 1 else "periodic and no-flux"
                ] += 1
                side = [3] * max(len(self.shape), 2)
                found[room] = lattice(*side, neighbours=2 * len(side))
            elif self.arena == "capacity":
                found[room] = mixed(
                    self.r.choice((4, 6, 8)), self.r.choice((2, 6, 26)), **fractions
                )
            else:
                more = dict(fractions)
                if room == "blood" and self.r.random() < 0.4:
                    more["share"] = self.r.choice((0.5, 0.7, 1.0))
                has_sites = self.arena == "two mixed" and room == "dish" and self.r.random() < 0.4
                if has_sites:
                    self.traits["arena", "two mixed, one with a capacity"] += 1
                found[room] = mixed(
                    6 if has_sites else 0,
                    self.r.choice((1, 6)),
                    0.0 if has_sites else self.r.choice((12.0, 40.0)),
                    **more,
                )
        return found

    def initial(self) -> dict[str, list]:
        found: dict[str, list] = {room: [] for room in self.rooms}
        first = self.r.choice(self.species)
        for room in self.rooms:
            kinds = {first} | {s for s in self.species if self.r.random() < 0.5}
            most = 2 if len(self.rooms) == 2 else 3
            if self.has_lattice and math.prod(self.shape) > 12:
                most = 1
            for kind in sorted(kinds):
                found[room].append({"cells": kind, "number": self.r.randint(1, most)})
            if room == "box" and self.wall:
                found[room].append({"cells": "wall", "number": self.r.choice((1, 1, 2))})
        return found

    def document(self) -> dict[str, Any]:
        rules = self.rules()
        names = {f"rule {i}": r for i, r in enumerate(rules)}
        level = {
            "unit": "dimensionless",
            "initial": self.r.choice((0.5, 1.0, 2.0)),
            "source": "test",
        }
        return {
            "rules": [
                {k: v for k, v in r.items() if v != []} | {"name": n} for n, r in names.items()
            ],
            "compartments": self.compartments(),
            "initial": self.initial(),
            "types": self.kinds,
            "sets": {"both": ["a", "b"]},
            "signals": {"level": level},
        }

    def scenario(self, document: dict[str, Any], until: float) -> Scenario:
        """The document with the lattice as drawn."""
        rules = [{k: v for k, v in r.items() if k != "name"} for r in document["rules"]]
        rest = {k: v for k, v in document.items() if k != "rules"}
        made = world(rules, until=until, exchange=0.5, record=until, **rest)
        rooms = tuple(
            replace(c, shape=self.shape, neighbours=self.z, is_periodic=tuple(self.ring))
            if c.kind == "lattice"
            else c
            for c in made.model.compartments
        )
        return replace(made, model=replace(made.model, compartments=rooms))


def draw(number: int) -> Drawn:
    """Model ``number``; the same every time."""
    refused = 0
    for attempt in range(500):
        try:
            found = one_attempt(number, attempt)
        except NotDrawn:
            refused += 1
            continue
        found.refused = refused
        return found
    raise AssertionError(f"500 attempts gave no model {number}")


def one_attempt(number: int, attempt: int) -> Drawn:
    drawing = Draw(number, attempt)
    document = drawing.document()
    try:
        sim = Simulation(drawing.scenario(document, 1.0))
        chain = Chain(sim, FLOWING_CELLS)
        explored = chain.explore(MOST_STATES)
    except (ModelError, ScenarioError, TooLarge) as why:
        raise NotDrawn(str(why)) from why
    if len(explored.acting()) < 2 or len(explored.states) < 8:
        raise NotDrawn("too little happens")
    time = horizon(drawing, explored, chain)
    return Drawn(
        number, document, drawing.scenario(document, time), time, drawing.traits, chain, explored
    )


def horizon(drawing: Draw, explored: Explored, chain: Chain) -> float:
    """A time at which to look, before any cell could have been lost from the chain."""
    for time in (drawing.r.choice((1.0, 1.5, 2.0)), 0.75, 0.4, 0.2):
        if LOST not in explored.states:
            return time
        (p,) = explored.laws([time], multiples_of_half(time))
        if p[explored.states.index(LOST)] < NEGLIGIBLE:
            return time
    raise NotDrawn("it grows too fast")


def multiples_of_half(time: float) -> list[float]:
    return [0.5 * i for i in range(1, 10) if 0.5 * i < time]


if __name__ == "__main__":
    print(draw(int(sys.argv[1])).text())
