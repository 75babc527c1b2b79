"""The reference model elsewhere: which step is exact enough, and what the same run then costs.

Every program runs the same thing: a periodic cube of ``Setting.side`` sites, a tenth of them filled at
random, for a day; the population then grows and is far from its equilibrium of one half. Two numbers
are compared with ours, which has no step: cells at the end, and executed hops per cell and hour. A step
is good enough when both are within 1 %, two standard errors added.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from benchmarks import plain_c, stepped
from benchmarks.timing import Result, cpu_seconds, median_ratio, taking_turns

ALLOWED = 0.01
STEPS_H = (0.8, 0.5, 0.25, 0.1, 0.05, 0.025, 0.01)
#: Replicates in one call of ours, so that neither memory nor the clock's grain matters.
BATCH = 100
#: Replicates after which a step that is clearly too long is given up.
FIRST_LOOK = 30


@dataclass(frozen=True)
class Setting:
    """What all programs run."""

    side: int = 32
    filled: float = 0.1
    hours: float = 24.0

    def __str__(self) -> str:
        return f"{self.side}^3, {self.filled:.0%} filled, {self.hours:g} h"


@dataclass(frozen=True)
class Observed:
    """Means over replicates of (cells at the end, hops per cell and hour), and standard errors."""

    mean: np.ndarray
    error: np.ndarray
    cell_hours: float = 0.0  # of one run

    @classmethod
    def of(cls, runs: Sequence[tuple[float, float]], cell_hours: float = 0.0) -> Observed:
        values = np.asarray(runs, float)
        return cls(values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5, cell_hours)

    def against(self, truth: Observed) -> tuple[np.ndarray, np.ndarray]:
        """Relative deviations from the truth, and their standard errors."""
        spread = np.hypot(self.error / truth.mean, truth.error / truth.mean)
        return self.mean / truth.mean - 1, spread


@dataclass(frozen=True)
class Tried:
    """A step and how far off it was."""

    step_h: float
    deviation: np.ndarray
    error: np.ndarray

    @property
    def is_good(self) -> bool:
        return bool(np.all(np.abs(self.deviation) + 2 * self.error <= ALLOWED))

    @property
    def is_hopeless(self) -> bool:
        return bool(np.any(np.abs(self.deviation) - 4 * self.error > ALLOWED))

    def __str__(self) -> str:
        cells, hops = (
            f"{100 * d:+.2f}({100 * e:.2f})"
            for d, e in zip(self.deviation, self.error, strict=True)
        )
        return f"{self.step_h:g} h: {cells}, {hops} %"


def exact(setting: Setting, replicates: int) -> Observed:
    """The truth, from our engine: no step, so only chance is left."""
    from mst_abm import Simulation, load_scenario

    scenario = load_scenario("reference", overrides=_overrides(setting))
    runs, areas = [], []
    for first in range(0, replicates, BATCH):
        n = min(BATCH, replicates - first)
        simulation = Simulation(scenario, seed=1, replicates=n, first_replicate=first)
        grid = np.linspace(0, setting.hours, round(4 * setting.hours) + 1)
        alive = [_cells(simulation)]
        for time in grid[1:]:
            simulation.advance(time)
            alive.append(_cells(simulation))
        hop = [t.rule == "cells hop" for t in simulation.compiled.tallies]
        area = np.trapezoid(alive, grid, axis=0)
        runs += list(zip(alive[-1], simulation.tally[:, hop].sum(axis=1) / area, strict=True))
        areas += list(area)
    return Observed.of(runs, float(np.mean(areas)))


def _overrides(setting: Setting) -> tuple[str, ...]:
    return plain_c.shape_overrides(setting.side, setting.filled, setting.hours)


def _cells(simulation) -> np.ndarray:
    return simulation.counts["cube"][:, 1:].sum(axis=1)


def largest_step(
    run: Callable[[int, float], tuple[float, float]],
    truth: Observed,
    replicates: int,
    steps_h: Sequence[float] = STEPS_H,
) -> tuple[float | None, list[Tried]]:
    """First of the steps, long to short, that is good enough; None if none is.

    ``run(seed, step_h)`` returns the two numbers of one run.
    """
    tried = []
    for step_h in steps_h:
        runs = [run(seed, step_h) for seed in range(1, min(FIRST_LOOK, replicates) + 1)]
        look = Tried(step_h, *Observed.of(runs).against(truth))
        if not look.is_hopeless:
            runs += [run(seed, step_h) for seed in range(len(runs) + 1, replicates + 1)]
            look = Tried(step_h, *Observed.of(runs).against(truth))
        tried.append(look)
        if look.is_good:
            return step_h, tried
    return None, tried


def peers(
    *, truth_replicates: int, replicates: int, rounds: int, mesa_runs: int
) -> Iterator[Result]:
    """Accuracy of fixed steps, then the cost of the same run in each program."""
    setting = Setting()
    truth = exact(setting, truth_replicates)
    chosen: dict[str, float] = {}
    for kind in stepped.KINDS:
        step_h, tried = largest_step(
            lambda seed, step_h, kind=kind: _stepped(setting, seed, step_h, kind), truth, replicates
        )
        yield Result(
            f"fixed steps, {kind}: longest within {ALLOWED:.0%}",
            float("nan") if step_h is None else step_h,
            "h",
            note="off by (SE) in cells, hops: " + "; ".join(map(str, tried)),
            raw={"setting": str(setting), "replicates": [truth_replicates, replicates]},
        )
        if step_h is not None:
            chosen[kind] = step_h
    yield from _costs(setting, truth, chosen, rounds, mesa_runs)


def _stepped(setting: Setting, seed: int, step_h: float, kind: str) -> tuple[float, float]:
    return stepped.run(seed, setting.side, setting.filled, setting.hours, step_h, kind)


def _costs(
    setting: Setting, truth: Observed, chosen: dict[str, float], rounds: int, mesa_runs: int
) -> Iterator[Result]:
    """CPU time of one run in every program, setting up excluded; per cell-hour in ns."""
    from mst_abm import Simulation, load_scenario

    scenario = load_scenario("reference", overrides=_overrides(setting))

    def ours(i: int) -> float:
        simulation = Simulation(scenario, seed=i + 1, replicates=20)
        return cpu_seconds(lambda: simulation.advance(setting.hours)) / 20

    def swept(kind: str) -> Callable[[int], float]:
        def measure(i: int) -> float:
            seeds = range(10 * i + 1, 10 * i + 11)
            return (
                cpu_seconds(lambda: [_stepped(setting, s, chosen[kind], kind) for s in seeds]) / 10
            )

        return measure

    measures = {"mst_abm, no step": ours}
    measures |= {f"numba sweep, {kind}, {step:g} h": swept(kind) for kind, step in chosen.items()}
    if plain_c.compiler() is None:
        seconds = taking_turns(measures, rounds)
    else:
        with plain_c.compiled(setting.side) as program:

            def c(i: int) -> float:
                seeds = range(20 * i + 1, 20 * i + 21)
                runs = [program.run(s, setting.filled, setting.hours).seconds for s in seeds]
                return statistics.mean(runs)

            seconds = taking_turns({"plain C, no step": c, **measures}, rounds)
    own = seconds["mst_abm, no step"]
    for name, values in seconds.items():
        yield _cost_line(name, values, median_ratio(values, own), truth)
    if chosen and mesa_runs:
        yield from _mesa(setting, truth, chosen, statistics.median(own), mesa_runs)


def _cost_line(name: str, seconds: Sequence[float], by_ours: float, truth: Observed) -> Result:
    per = [1e9 * s / truth.cell_hours for s in seconds]
    note = f"{statistics.median(seconds):.3g} s the run, {by_ours:.3g} x ours"
    return Result(
        f"a cell-hour, {name}", statistics.median(per), "ns", note=note, raw={"s": list(seconds)},
        cost=tuple(per),
    )  # fmt: skip


def _mesa(
    setting: Setting, truth: Observed, chosen: dict[str, float], own: float, runs: int
) -> Iterator[Result]:
    """Mesa at the longest step that is good enough, and whether it is indeed that process."""
    if find_spec("mesa") is None:
        yield Result("a cell-hour, Mesa", float("nan"), "ns", note="not installed (extra 'bench')")
        return
    from importlib.metadata import version

    from benchmarks import mesa_model

    kind = max(chosen, key=lambda k: chosen[k])
    step_h = chosen[kind]
    seconds, seen = [], []
    for seed in range(1, runs + 1):
        model = mesa_model.Reference(setting.side, setting.filled, step_h, kind, seed)
        seconds.append(
            cpu_seconds(lambda: seen.append(mesa_model.run(model, setting.hours, step_h)))  # noqa: B023
        )
    name = f"Mesa {version('mesa')}, {kind}, {step_h:g} h"
    yield _cost_line(name, seconds, statistics.median(seconds) / own, truth)
    if runs > 1:
        tried = Tried(step_h, *Observed.of(seen).against(truth))
        yield Result(
            f"Mesa, {runs} runs: worst deviation from the truth",
            100 * float(np.abs(tried.deviation).max()),
            "%",
            note=f"off by (SE) in cells, hops: {tried}",
        )
