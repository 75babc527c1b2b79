"""Parts of a random model: types, counters, patterns, shapes, modifiers. See `draw_models`."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

#: Sides and neighbours a lattice may have; the front door takes two or three sides of at least 3, the engine any.
LATTICES = (
    ((4,), 2), ((5,), 2), ((6,), 2), ((7,), 2), ((2, 3), 4), ((3, 3), 4), ((3, 3), 8), ((4, 2), 4),
    ((2, 4), 8), ((5, 2), 4), ((2, 2, 2), 6), ((2, 2, 2), 26), ((3, 2, 2), 6), ((3, 3, 3), 6), ((3, 3, 3), 26),
)  # fmt: skip
#: Beside a mixed compartment.
SMALL = ((3,), 2), ((4,), 2), ((5,), 2), ((2, 2), 4), ((2, 2), 8)
SHAPES = ("hill", "geometric hill", "inverse_hill", "linear", "step", "exponential", "table")
LAWS = ("inherit", "halve", "zero", "resample", "minus_one", "plus_one")


class NotDrawn(Exception):
    """This draw is of no use; the next one is taken."""


class Parts:
    """One model, drawn part by part; every choice is noted in ``traits``."""

    def __init__(self, number: int, attempt: int):
        self.r = random.Random(f"{number}/{attempt}")
        self.traits: Counter = Counter()
        self.arena = self.r.choices(
            ("lattice", "capacity", "mass action", "two mixed", "lattice and mixed"),
            (9, 3, 3, 3, 7),
        )[0]
        self.traits["arena", self.arena] += 1
        self.has_lattice = "lattice" in self.arena
        self.shape, self.z = self.r.choice(SMALL if "and" in self.arena else LATTICES)
        self.ring = [self.r.random() < 0.5 for _ in self.shape]
        if self.r.random() < 0.4:
            self.ring = [self.ring[0]] * len(self.shape)
        self.rooms = {
            "lattice": ["box"], "capacity": ["dish"], "mass action": ["dish"],
            "two mixed": ["dish", "blood"], "lattice and mixed": ["box", "blood"],
        }[self.arena]  # fmt: skip
        self.types()

    def rate(self) -> float:
        return math.exp(self.r.uniform(math.log(0.05), math.log(2.0)))

    # types

    def types(self) -> None:
        self.kinds: dict[str, dict] = {"a": {}, "b": {}}
        if self.r.random() < 0.2:
            self.kinds["c"] = {}
        self.axis = self.r.random() < 0.35
        if self.axis:
            self.kinds["a"]["axes"] = {"phase": ["x", "y"]}
            self.traits["axes", "one"] += 1
        self.counters: dict[str, list[str]] = {}
        for kind in [k for k in ("a", "b") if self.r.random() < 0.3]:
            self.kinds[kind]["counters"] = self.draw_counters(kind)
        self.wall = self.r.random() < (0.45 if self.has_lattice else 0.2)
        if self.wall:
            self.kinds["wall"] = {"static": True}
            self.traits["static type", "yes"] += 1
        self.species = ["a[phase=x]", "a[phase=y]"] if self.axis else ["a"]
        self.species += [k for k in ("b", "c") if k in self.kinds]
        self.patterns = [*self.species, "*", "both"] + ["a"] * self.axis

    def draw_counters(self, kind: str) -> dict:
        found = {}
        for name in ("n", "m")[: self.r.choice((1, 1, 2))]:
            top = self.r.choice((1, 2, 2, 3))
            initial = self.r.choice(
                (0, top, "uniform", [self.r.randint(1, 4) for _ in range(top + 1)])
            )
            law = self.r.choice(LAWS)
            self.traits["counter law", law] += 1
            kind_of = "weights" if isinstance(initial, list) else initial
            self.traits["initial counter", "integer" if isinstance(kind_of, int) else kind_of] += 1
            found[name] = {"max": top, "initial": initial, "on_division": law}
        self.counters[kind] = list(found)
        return found

    def pattern(self) -> str:
        picked = self.r.choice(self.patterns)
        if picked in ("*", "both") or (picked == "a" and self.axis):
            self.traits["pattern", {"*": "*", "both": "set", "a": "open axis"}[picked]] += 1
        return picked

    def owners(self, pattern: str) -> list[str]:
        """Types whose counters a cell of the pattern surely has."""
        return [] if pattern in ("*", "both", "wall") else [pattern[0]]

    def changes(self, kind: str, *, divided: bool = False) -> dict[str, Any]:
        """Changes of counters of a type, sometimes."""
        found: dict[str, Any] = {}
        for name in self.counters.get(kind, []):
            if self.r.random() < 0.5:
                continue
            law = self.kinds[kind]["counters"][name]["on_division"]
            how = (
                "=1"
                if divided and law in ("halve", "resample")
                else self.r.choice(("+1", "-1", "=1"))
            )
            self.traits["counter change", how] += 1
            found[name] = how
        return found

    # modifiers

    def shape_of(self, top: int) -> dict:
        kind = self.r.choice(SHAPES)
        self.traits["shape", kind] += 1
        low, high = self.r.uniform(0.1, 0.5), self.r.uniform(0.7, 1.5)
        if self.r.random() < 0.5:
            low, high = high, low
        half, power = self.r.uniform(0.4, 0.4 + top), self.r.choice((1, 2, 1.7))
        hill = {"half": half, "power": power, "bottom": low, "top": high}
        if kind != "geometric hill" and low > 0.5:
            hill["offset"] = self.r.choice((0, 0, 0.5))
        return {
            "hill": {"hill": hill},
            "geometric hill": {"hill": {**hill, "geometric": True}},
            "inverse_hill": {"inverse_hill": {k: v for k, v in hill.items() if k != "offset"}},
            "linear": {
                "linear": {
                    "intercept": low,
                    "slope": (high - low) / max(top, 1),
                    "high": high + low,
                }
            },
            "step": {"step": {"at": self.r.choice((1, 1, 2)), "below": low, "above": high}},
            "exponential": {"exponential": {"top": high, "scale": half}},
            "table": {"table": {"x": [0, 1, 1 + top], "y": [low, high, self.r.uniform(0, 1.2)]}},
        }[kind]

    def modifiers(self, pattern: str, room: str, *, arriving: bool = False) -> list[dict]:
        found = []
        for _ in range(self.r.choices((0, 1, 2), (5, 4, 1))[0]):
            sources = ["near", "near"] + ["signal"] * (not arriving)
            if self.wall:
                sources += ["site", "distance"] * 2
            counted = [n for k in self.owners(pattern) for n in self.counters.get(k, [])]
            if counted and not arriving:
                sources += ["counter"] * 4
            source = self.r.choice(sources)
            self.traits["modifier", source] += 1
            if source == "near":
                what: Any = self.r.choice([*self.patterns, "empty", "empty"])
                if self.r.random() < 0.2:
                    what = self.r.sample(self.patterns, 2)
                within = self.reach(room, 3)
                self.traits["near", f"within {within}"] += 1
                kind = "list" if isinstance(what, list) else "empty" if what == "empty" else "cells"
                self.traits["near", kind] += 1
                found.append({"near": what, "within": within, "shape": self.shape_of(3)})
            elif source == "signal":
                found.append({"signal": "level", "shape": self.shape_of(2)})
            elif source == "counter":
                found.append({"counter": self.r.choice(counted), "shape": self.shape_of(2)})
            else:
                found.append({source: "wall", "shape": self.shape_of(2)})
        return found

    def reach(self, room: str, most: int) -> int:
        """A range that the space allows."""
        if room == "box":
            rings = [n for n, r in zip(self.shape, self.ring, strict=True) if r]
            most = min(most, (min(rings, default=99) - 1) // 2)
        if most < 1:
            raise NotDrawn("no range on so short a ring")
        return self.r.randint(1, most)
