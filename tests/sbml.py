"""A model of mixed compartments as SBML, and two independent simulators to run it.

Written from the meaning of `Model`, rule by rule; no compiled table is read, so that a fault of
the compiler does not cancel. Cells are amounts; a signal is an amount of quanta of ``quantum``
of its unit, so that both simulators see one and the same reaction network: a small quantum makes the
signal smooth in the stochastic one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libsbml
import numpy as np
import roadrunner

from mst_abm.model.definition import Compartment, Model, Modifier, Rule, Signal
from mst_abm.model.species import EMPTY, Species, matches, reachable_species, resolve

#: Side of the site that a room is counted in, um.
SITE = 8.0


class Export:
    """One model as an SBML document; ``wrong`` multiplies the rate of a rule or signal by name."""

    def __init__(
        self, model: Model, *, wrong: dict[str, float] | None = None, quantum: float = 1.0
    ):
        self.model, self.wrong, self.quantum = model, wrong or {}, quantum
        self.types = {t.name: t for t in model.types}
        self.species = [s for s in reachable_species(model) if s != EMPTY]
        self.document = libsbml.SBMLDocument(3, 1)
        self.sbml = self.document.createModel()
        self.sbml.setId("model")
        for m, compartment in enumerate(model.compartments):
            self._add_compartment(m, compartment)
        for signal in model.signals:
            self._add_signal(signal)
        for rule in model.rules:
            for m, compartment in enumerate(model.compartments):
                if not rule.compartments or compartment.name in rule.compartments:
                    self._add_rule(rule, m, compartment)
        assert self.document.checkConsistency() == 0 or not self.document.getNumErrors(
            libsbml.LIBSBML_SEV_ERROR
        ), self.document.getErrorLog().toString()

    def text(self) -> str:
        return libsbml.writeSBMLToString(self.document)

    def cells(self, compartment: str, species: str) -> str:
        """Identifier of the cells of a species in a compartment."""
        names = [s.name for s in self.species]
        places = [c.name for c in self.model.compartments]
        return self._cells(places.index(compartment), self.species[names.index(species)])

    def _cells(self, m: int, species: Species) -> str:
        return f"c{m}_{self.species.index(species)}"

    def _level(self, name: str) -> str:
        place = [s.name for s in self.model.signals].index(name)
        return f"({self.quantum!r} * s{place})"

    # amounts

    def _add_compartment(self, m: int, compartment: Compartment) -> None:
        if compartment.kind != "mixed" or compartment.capacity:
            raise ValueError(f"'{compartment.name}': only mixed compartments without a capacity.")
        self._add_volume(f"v{m}")
        for species in self.species:
            self._add_amount(
                self._cells(m, species), f"v{m}", self._at_start(compartment.name, species)
            )

    def _at_start(self, compartment: str, species: Species) -> float:
        total = 0.0
        for item in self.model.initial:
            ((product, _),) = item.species
            if item.measure != "number":
                raise ValueError("initial cells are given in numbers.")
            if item.compartment == compartment and species == resolve(
                product, None, self.types, "initial"
            ):
                total += item.amount
        return total

    def _add_volume(self, name: str) -> None:
        volume = self.sbml.createCompartment()
        volume.setId(name)
        volume.setSpatialDimensions(3)
        volume.setSize(1.0)
        volume.setConstant(True)

    def _add_amount(self, name: str, volume: str, start: float) -> None:
        amount = self.sbml.createSpecies()
        amount.setId(name)
        amount.setCompartment(volume)
        amount.setInitialAmount(start)
        amount.setHasOnlySubstanceUnits(True)
        amount.setBoundaryCondition(False)
        amount.setConstant(False)

    # reactions

    def _react(self, before: Sequence[str], after: Sequence[str], law: str) -> None:
        reaction = self.sbml.createReaction()
        reaction.setId(f"r{self.sbml.getNumReactions()}")
        reaction.setReversible(False)
        reaction.setFast(False)
        for names, create in (
            (before, reaction.createReactant),
            (after, reaction.createProduct),
        ):
            for name in dict.fromkeys(names):
                side = create()
                side.setSpecies(name)
                side.setStoichiometry(float(names.count(name)))
                side.setConstant(True)
        math_ = libsbml.parseL3Formula(law)
        assert math_ is not None, libsbml.getLastParseL3Error()
        used = [name for name in names_in(math_) if name not in before]
        for name in dict.fromkeys(used):
            modifier = reaction.createModifier()
            modifier.setSpecies(name)
        reaction.createKineticLaw().setMath(math_)

    def _rate(self, rule: Rule, probability: float = 1.0) -> str:
        """Rate of one outcome per cell, pair or compartment, with its signal factors."""
        value = rule.rate * probability * self.wrong.get(rule.name, 1.0)
        return " * ".join([repr(value), *map(self._factor, rule.modifiers)])

    def _factor(self, modifier: Modifier) -> str:
        p = dict(modifier.shape.parameters)
        is_plain = not modifier.shape.is_geometric and p.get("offset", 0.0) == 0.0
        if modifier.source != "signal" or not modifier.shape.kind.endswith("hill") or not is_plain:
            raise ValueError("modifiers are plain Hill laws of a signal.")
        x = f"{self._level(modifier.target)}^{p['power']!r}"
        half = f"{p['half'] ** p['power']!r}"
        up = x if modifier.shape.kind == "hill" else half
        return f"({p['bottom']!r} + {p['top'] - p['bottom']!r} * {up} / ({x} + {half}))"

    def _add_rule(self, rule: Rule, m: int, compartment: Compartment) -> None:
        if rule.emits or rule.verb not in (
            "die", "become", "divide", "contact", "leave", "arrive", "move",
        ):  # fmt: skip
            raise ValueError(f"rule '{rule.name}': '{rule.verb}' has no counterpart.")
        if rule.verb == "contact":
            for before, after, law in self._pairs(rule, m, compartment):
                self._react(before, after, law)
        elif rule.verb == "arrive":
            for species in (s for s in self.species if matches(rule.actor, s)):
                self._react([], [self._cells(m, species)] * rule.batch, self._rate(rule))
        elif rule.verb != "move":
            self._add_singles(rule, m, compartment)

    def _add_singles(self, rule: Rule, m: int, compartment: Compartment) -> None:
        places = {c.name: i for i, c in enumerate(self.model.compartments)}
        for actor in (s for s in self.species if matches(rule.actor, s)):
            me = self._cells(m, actor)
            if rule.verb == "die":
                self._react([me], [], f"{self._rate(rule)} * {me}")
                continue
            for outcome in rule.outcomes:
                there = m
                if rule.verb == "leave":
                    there = places[str(outcome.destination)]
                    if there == m:
                        continue
                    if self.model.compartments[there].share != compartment.share:
                        raise ValueError("compartments have one share.")
                made = [resolve(p, actor, self.types, rule.name) for p in outcome.products]
                made = made or [actor]
                after = [self._cells(there, s) for s in made if s != EMPTY]
                self._react([me], after, f"{self._rate(rule, outcome.probability)} * {me}")

    def _pairs(
        self, rule: Rule, m: int, compartment: Compartment
    ) -> Iterator[tuple[list[str], list[str], str]]:
        """Every ordered pair meets at rate z / room; two that could both act take half of it."""
        assert rule.partner is not None
        room = compartment.volume * compartment.share / SITE**3 if compartment.volume else 1.0
        for actor in (s for s in self.species if matches(rule.actor, s)):
            for partner in (s for s in self.species if matches(rule.partner, s)):
                is_mutual = matches(rule.actor, partner) and matches(rule.partner, actor)
                meet = compartment.neighbours / room * (0.5 if is_mutual else 1.0)
                a, b = self._cells(m, actor), self._cells(m, partner)
                pairs = f"{a} * ({a} - 1)" if a == b else f"{a} * {b}"
                for outcome in rule.outcomes:
                    first, second = outcome.products
                    made = (
                        resolve(first, actor, self.types, rule.name),
                        resolve(second, partner, self.types, rule.name),
                    )
                    after = [self._cells(m, s) for s in made if s != EMPTY]
                    yield (
                        [a, b],
                        after,
                        f"{self._rate(rule, outcome.probability)} * {meet!r} * {pairs}",
                    )

    # signals

    def _add_signal(self, signal: Signal) -> None:
        if signal.kind != "dynamic" or signal.saturable_maximum:
            raise ValueError(f"signal '{signal.name}': only dynamic and without saturation.")
        me = f"s{self.model.signals.index(signal)}"
        factor = self.wrong.get(signal.name, 1.0)
        self._add_volume(f"v{me}")
        self._add_amount(me, f"v{me}", signal.initial / self.quantum)
        if signal.production:
            self._react([], [me], f"{signal.production * factor / self.quantum!r}")
        if signal.clearance:
            self._react([me], [], f"{signal.clearance!r} * {me}")
        for rate, reference in signal.yields:
            cells = self._counted(reference)
            self._react([], [me], f"{rate * factor / self.quantum!r} * {cells}")
        for rate, reference in signal.clearances:
            self._react([me], [], f"{rate!r} * {self._counted(reference)} * {me}")

    def _counted(self, reference) -> str:
        places = {c.name: i for i, c in enumerate(self.model.compartments)}
        m = places[reference.compartment]
        if reference.measure != "cells":
            raise ValueError("cells behind signals are counted, not their density.")
        cells = [self._cells(m, s) for s in self.species if matches(reference.pattern, s)]
        scale = reference.relative_to * self.model.compartments[m].share
        return f"({' + '.join(cells) or '0'}) / {scale!r}"


def names_in(tree) -> Iterator[str]:
    """Identifiers of a formula."""
    if tree.getType() == libsbml.AST_NAME:
        yield tree.getName()
    for i in range(tree.getNumChildren()):
        yield from names_in(tree.getChild(i))


def loaded(export: Export, names: Sequence[str]) -> roadrunner.RoadRunner:
    runner = roadrunner.RoadRunner(export.text())
    runner.timeCourseSelections = list(names)
    return runner


def at_start(export: Export, names: Sequence[str]) -> np.ndarray:
    return np.array([export.sbml.getSpecies(name).getInitialAmount() for name in names])


def stochastic(
    export: Export, names: Sequence[str], times: Sequence[float], n: int, seed: int
) -> np.ndarray:
    """Amounts of n runs of Gillespie's direct method: (time, name, run)."""
    runner = loaded(export, names)
    runner.setIntegrator("gillespie")
    runner.getIntegrator().setValue("seed", seed)
    runner.getIntegrator().setValue("variable_step_size", False)
    found = np.empty((len(times), len(names), n))
    for i in range(n):
        runner.reset()
        found[:, :, i] = runner.simulate(times=[0.0, *times])[1:]
    return found


def deterministic(export: Export, names: Sequence[str], times: Sequence[float]) -> np.ndarray:
    """Amounts by the rate equations, CVODE at a relative error of 1e-10: (time, name)."""
    runner = loaded(export, names)
    runner.setIntegrator("cvode")
    runner.getIntegrator().setValue("relative_tolerance", 1e-10)
    runner.getIntegrator().setValue("absolute_tolerance", 1e-10)
    return np.array(runner.simulate(times=[0.0, *times])[1:])
