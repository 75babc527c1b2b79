"""A simulation of nothing with the interface of the real one: exact, tiny, quick.

Blasts double, one dies, donor cells wait; every number is known beforehand, so what a file says can
be compared with what went in.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from mst_abm.clinic.protocol import Dose, Infusion
from mst_abm.model.definition import (
    CellType,
    Compartment,
    CountReference,
    Model,
    Observable,
    Pattern,
    PatternTerm,
    Product,
    Signal,
)
from mst_abm.model.species import Species
from mst_abm.runs.needs import Needs
from mst_abm.scenario.definition import Run, Scenario

SPECIES = (
    ("empty", ()),
    ("blast", (("phase", "g0"),)),
    ("blast", (("phase", "g1"),)),
    ("cd8", (("origin", "host"), ("status", "resting"))),
    ("cd8", (("origin", "donor"), ("status", "resting"))),
    ("cd8", (("origin", "donor"), ("status", "active"))),
    ("stroma", ()),
)
TALLIES = (
    ("blasts divide", "divide", "marrow", 2, None, (1, 1), [(0, 0, -1), (0, 1, 2), (0, 2, -1)]),
    ("blasts enter g1", "become", "marrow", 1, None, (2,), [(0, 1, -1), (0, 2, 1)]),
    ("donor cells wake", "contact", "marrow", 4, 1, (5, 1), [(0, 4, -1), (0, 5, 1)]),
    ("blasts die", "die", "marrow", 1, None, (0,), [(0, 1, -1), (0, 0, 1)]),
)
SHAPE = (8, 8, 4)


def multiples(step: float, until: float) -> np.ndarray:
    """0, step, 2 step ... until."""
    return np.append(np.arange(0.0, until, step), until)


def species_name(number: int) -> str:
    """As the compiler names species."""
    kind, values = SPECIES[number]
    return f"{kind}[{', '.join('='.join(v) for v in values)}]" if values else kind


def make_model() -> Model:
    """Two compartments, four types, two signals, no rule."""
    return Model(
        types=(
            CellType("blast", {"phase": ("g0", "g1")}),
            CellType("cd8", {"origin": ("host", "donor"), "status": ("resting", "active")}),
            CellType("stroma", is_static=True),
        ),
        rules=(),
        signals=(
            Signal("g_csf", "dynamic", "1", initial=1.0),
            Signal("time", "drug", "umol/L", number_class="measured"),  # a name the file takes
        ),
        compartments=(
            Compartment("marrow", "lattice", SHAPE, patches=2, volume=1e9, share=0.001),
            Compartment("blood", "mixed", share=0.001),
        ),
        initial=(),
    )


def make_compiled(model: Model) -> SimpleNamespace:
    """Names of species and channels."""
    tallies = [
        SimpleNamespace(
            rule=rule,
            verb=verb,
            compartment=place,
            actor=species_name(actor),
            partner="" if partner is None else species_name(partner),
            products=" + ".join(species_name(p) for p in products),
            changes=changes,
        )
        for rule, verb, place, actor, partner, products, changes in TALLIES
    ]
    changes = [(i, *change) for i, tally in enumerate(tallies) for change in tally.changes]
    return SimpleNamespace(
        model=model,
        species=[Species(kind, tuple(values)) for kind, values in SPECIES],
        tallies=tallies,
        stoichiometry=np.array(changes),
    )


def make_scenario(
    *, until_h: float = 72.0, counts_every_h: float = 6.0, snapshots_every_h: float = 24.0
) -> Scenario:
    """A scenario with a dose, an infusion and one observable."""
    blasts = Pattern((PatternTerm("blast"),), "blast")
    donor = Infusion(48.0, "donor", (("blood", Product("species", "cd8"), 1e9),))
    return Scenario(
        name="fake",
        model=make_model(),
        run=Run(
            until_h=until_h,
            seed=7,
            counts_every_h=counts_every_h,
            snapshots_every_h=snapshots_every_h,
        ),
        doses=(Dose("cytarabine", 24.0, 12.0, 150.0),),
        infusions=(donor,),
        observables=(
            Observable("circulating", "1e6", CountReference("blood", blasts, "cells", 1e6)),
        ),
        resolved_text="name: fake  # Zellzahl \u00b5\n",
        model_text="types: {}\n",
    )


class FakeSimulation:
    """Counts are simple functions of time and replicate; ``on_advance`` lets a test interfere."""

    threads = 1
    engine = "cells"
    has_checkpoints = True

    def __init__(self, scenario=None, *, replicates=1, first_replicate=0, on_advance=None):
        self.scenario = scenario or make_scenario()
        self.compiled = make_compiled(self.scenario.model)
        self.time_h = 0.0
        self.numbers = first_replicate + np.arange(replicates)
        self._on_advance = on_advance

    @property
    def record_times_h(self):
        return multiples(self.scenario.run.counts_every_h, self.scenario.run.until_h)

    @property
    def snapshot_times_h(self):
        every = self.scenario.run.snapshots_every_h
        return multiples(every, self.scenario.run.until_h) if every else np.zeros(0)

    def needs(self, snapshot_replicates=1):
        return Needs(state=0, passing=0, record=0, checkpoints=0)

    def advance(self, to, *, halts=None):
        if self._on_advance is not None:
            self._on_advance(to)
        self.time_h = float(to)

    def _ramp(self, n, scale=1):
        steps = int(self.time_h) * scale
        return (self.numbers[:, None] + np.arange(n)[None, :] * steps).astype("i8")

    @property
    def cells(self):
        """Without reservoirs what the sample shows is what is in it."""
        return self.counts

    @property
    def counts(self):
        n = len(SPECIES)
        return {"marrow": self._ramp(n), "blood": self._ramp(n, 2)}

    @property
    def tally(self):
        return self._ramp(len(TALLIES), 3)

    @property
    def received(self):
        return np.zeros((len(self.numbers), 2, len(SPECIES)), "i8") + int(self.time_h)

    @property
    def waiting(self):
        return {"marrow": self.numbers + 1}

    @property
    def signals(self):
        return np.stack([self.numbers * 1.0, self.numbers + self.time_h], axis=1)

    @property
    def statistics(self):
        return {"attempts": 2 * self.time_h, "executed": self.time_h}

    def agents(self, replicate=0):
        n = 10 + int(self.time_h)
        x, y, z = (c.ravel() for c in np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
        zero = np.zeros(n, "u2")
        return {
            "compartment": zero.astype("u1"),
            "patch": zero.astype("u1"),
            "species": (1 + np.arange(n) % 6).astype("u2"),
            "x": x[:n].astype("u2"),
            "y": y[:n].astype("u2"),
            "z": z[:n].astype("u2"),
            **{f"counters_{i}": zero + i for i in range(4)},
        }

    def digest(self):
        return "d" * 64
