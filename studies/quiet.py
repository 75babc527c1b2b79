"""Quiet stretches: what a longer exchange interval changes in the months after treatment, and what it saves.

    python -m studies.quiet [--quick] [--patients 20] [--out out/quiet]

Patients of configs/mst_elderly_aml_years.yaml up to day 42, then the same states on to day 130 at three paces: 30 minutes throughout, 4 h while
quiet (`run.quiet`), and, as a control that must differ, 24 h whatever happens. Leukaemia, counts and donor cells are compared by a
Kruskal-Wallis test of each pace with the first.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from scipy import stats

from mst_abm.clinic.laboratory import Laboratory
from mst_abm.runs.freezing import freeze, thaw
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = ROOT / "configs" / "mst_elderly_aml_years.yaml"
FIGURE = ROOT / "docs" / "figures" / "quiet.png"
FORK_D, END_D = 42, 130
SMALL = (
    "compartments.marrow.lattice.shape=[24, 24, 24]",
    "compartments.marrow.patches=1",
    "run.record.counts=24 h",
)
PACES = {
    "30 min": ("run.quiet.exchange=30 min",),
    "4 h": (),
    "24 h, never loud": ("run.quiet={exchange: 24 h, drugs_below: 1e9}",),
}
SHOWN = ("blast_cells", "anc", "platelets", "donor_t")
TITLES = {
    "blast_cells": "blasts in the body",
    "anc": "neutrophils, 1e9/L",
    "platelets": "platelets, 1e9/L",
    "donor_t": "donor share of T cells in blood",
}


def followed(
    patients: int, end_d: int, paces: dict[str, tuple[str, ...]]
) -> dict[str, tuple[dict[str, np.ndarray], float]]:
    """Daily series (patient, day) from the fork on and CPU seconds, by pace."""
    base = Simulation(load_scenario(SCENARIO, overrides=SMALL), replicates=patients)
    base.advance(FORK_D * 24.0)
    arrays = {name: array.copy() for name, array in freeze(base).items()}
    found = {}
    for name, overrides in paces.items():
        sim = Simulation(
            load_scenario(SCENARIO, overrides=(*SMALL, *overrides)), replicates=patients
        )
        thaw(sim, {key: array.copy() for key, array in arrays.items()}, base.interval)
        found[name] = _months(sim, end_d)
    return found


def _months(sim: Simulation, end_d: int) -> tuple[dict[str, np.ndarray], float]:
    scenario = sim.scenario
    laboratory = Laboratory(
        scenario.observables,
        sim.compiled.species,
        scenario.model.compartments,
        [signal.name for signal in scenario.model.signals],
    )
    begin, samples = time.process_time(), []
    for day in range(FORK_D + 1, end_d + 1):
        sim.advance(day * 24.0)
        samples.append(laboratory.read(sim.cells, sim.signals))
    seconds = time.process_time() - begin
    return {name: np.stack([s[name] for s in samples], axis=1) for name in SHOWN}, seconds


def measures(series: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbers of each patient, as far as the run goes."""

    def on(name: str, day: int) -> np.ndarray:
        values = series[name]
        return values[:, min(day - FORK_D, values.shape[1]) - 1]

    def mean(name: str) -> np.ndarray:
        return series[name][:, 59 - FORK_D : 90 - FORK_D].mean(axis=1)

    above = series["blast_cells"] >= 5e10
    first = np.where(above.any(axis=1), above.argmax(axis=1) + FORK_D + 1.0, np.inf)
    return {
        "blasts on day 100, log10": np.log10(on("blast_cells", 100) + 1.0),
        "blasts on day 130, log10": np.log10(on("blast_cells", 130) + 1.0),
        "day of 5e10 blasts": first,
        "neutrophils, days 60 to 90": mean("anc"),
        "platelets, days 60 to 90": mean("platelets"),
        "donor T cells, days 60 to 90, %": 100.0 * mean("donor_t"),
    }


def compared(found: dict[str, tuple[dict[str, np.ndarray], float]]) -> list[dict[str, str]]:
    """Rows of the table: median and quartiles by pace, p against the first pace."""
    by_pace = {name: measures(series) for name, (series, _) in found.items()}
    usual = next(iter(by_pace.values()))
    rows = []
    for measure, reference in usual.items():
        row = {"measure": measure}
        for name, values in by_pace.items():
            low, middle, high = np.quantile(values[measure], [0.25, 0.5, 0.75], method="nearest")
            row[name] = f"{middle:.3g} ({low:.3g} to {high:.3g})"
            if values[measure] is not reference:
                same = np.array_equal(values[measure], reference)
                p = 1.0 if same else stats.kruskal(values[measure], reference).pvalue
                row[name] += f", p = {p:.2g}"
        rows.append(row)
    rows.append({"measure": "CPU, s a patient"})
    for name, (series, seconds) in found.items():
        rows[-1][name] = f"{seconds / len(series['anc']):.2f}"
    return rows


def draw(found: dict[str, tuple[dict[str, np.ndarray], float]], path: Path) -> None:
    """Medians and quartiles over time by pace."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    for axis, name in zip(axes.flat, SHOWN, strict=True):
        for i, (pace, (series, _)) in enumerate(found.items()):
            days = FORK_D + 1 + np.arange(series[name].shape[1])
            low, middle, high = np.quantile(series[name], [0.25, 0.5, 0.75], axis=0)
            axis.plot(days, middle, color=f"C{i}", label=pace, lw=1.2)
            axis.fill_between(days, low, high, color=f"C{i}", alpha=0.12, lw=0)
        axis.set_title(TITLES[name], fontsize=10)
    axes[0, 0].set_yscale("log")
    axes[0, 0].legend(fontsize=8, title="exchange", title_fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("day")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three patients to day 70")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "quiet")
    given = parser.parse_args()
    patients, end_d = (3, 70) if given.quick else (given.patients, END_D)
    found = followed(patients, end_d, PACES)
    rows = compared(found)
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "quiet.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["measure", *PACES])
        writer.writeheader()
        writer.writerows(rows)
    draw(found, given.out / "quiet.png" if given.quick else FIGURE)
    print("| " + " | ".join(["", *PACES]) + " |")
    print("| --- " * (len(PACES) + 1) + "|")
    for row in rows:
        print("| " + " | ".join(row[key] for key in ["measure", *PACES]) + " |")


if __name__ == "__main__":
    main()
