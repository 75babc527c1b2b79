"""A pot in which a signal rises in a straight line from where it starts, for sweeps whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dishes import run

from mst_abm.runs.sweep import Outcome, Plan, outcomes, plan_sweep
from mst_abm.scenario.sweep import load_sweep

#: After ten days the signal is `start` + 240 h times `rise`; `idle` is another signal that nobody looks at.
LINE = """
types: {a: {}, b: {}}
compartments: {pot: {mixed: {capacity: 50}}}
switches: {one: off, two: off, three: off}
signals:
  level: {initial: 1, production: 0.005 /h, source: test}
  idle: {initial: 1, source: test}
rules:
  - {name: a dies, die: a, rate: 0.01 /h, source: test}
  - {name: one kills, die: a, rate: 10 /h, switch: one, source: test}
  - {name: two kills, die: a, rate: 10 /h, switch: two, source: test}
  - {name: three kills nobody, die: b, rate: 10 /h, switch: three, source: test}
initial: {pot: {a: 20}}
observables:
  level: {signal: level, source: test}
  blast_cells: {of: pot.a, relative_to: 1 cell, source: test}
run: {until: 10 d, exchange: 12 h, record: {counts: 1 d}}
"""
READINGS = "readings: {end: {of: level, at: 10 d}}\n"
#: Ranges with variances of 4/12 and 1/12, and one that does nothing.
RANGES = """
parameters:
  signals.level.initial: {uniform: {low: 0, high: 2}, name: start}
  signals.level.production: {uniform: {low: 0, high: 0.004166666666666667}, unit: /h, name: rise}
  signals.idle.initial: {uniform: {low: 0, high: 2}, name: idle}
"""


def sweep_file(folder: Path, text: str, scenario: str = LINE) -> Path:
    """A sweep file beside its scenario."""
    (folder / "line.yaml").write_text(scenario, encoding="utf-8")
    path = folder / "sweep.yaml"
    path.write_text(f"scenario: line.yaml\n{text}", encoding="utf-8")
    return path


def swept(folder: Path, text: str, name: str = "out", **options: Any) -> tuple[Plan, list[Outcome]]:
    """Plan a sweep, run it in this process, and look."""
    plan = plan_sweep(load_sweep(sweep_file(folder, text, **options)), folder / name)
    run(plan.campaign)
    return plan, outcomes(plan)
