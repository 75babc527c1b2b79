"""The same patient in patches of other size and number: what he shows must not depend on how he is cut.

    python -m studies.patches [--quick] [--skip "1 x 2.4e7"] [--workers 2] [--out out/patches]

Equal total volume in 32, 4 and 1 patches, then one patch of 1e5, 1e6 and 2.4e7 sites. Log kill, recovery days, donor T cells
and chimerism must agree within sampling error, judged by a Kruskal-Wallis test over the cuts (5 per cent over all endpoints
together). Lineages lost may not agree: a small patch loses by chance what a body would not; that is what reservoirs are for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from mst_abm.clinic.cohort import Cohort
from mst_abm.clinic.readings import Reading
from mst_abm.runs.trial import run_trial
from mst_abm.scenario.trial import Arm, Trial

ROOT = Path(__file__).resolve().parent.parent
FIGURE = ROOT / "docs" / "figures" / "patches.png"
DAY_H = 24.0

# name: (shape, patches, replicates)
CUTS = {
    "32 x 32^3": ((32, 32, 32), 32, 8),
    "4 x 64^3": ((64, 64, 64), 4, 8),
    "1 x 128x128x64": ((128, 128, 64), 1, 8),
    "1 x 1.1e5": ((48, 48, 48), 1, 24),
    "1 x 1.0e6": ((100, 100, 100), 1, 8),
    "1 x 2.4e7": ((288, 288, 288), 1, 1),
}
EQUAL_VOLUME = tuple(CUTS)[:3]
COUNTS = {
    "stem_cells": "marrow.stem",
    "megakaryocyte_line": "marrow.mk_line",
    "donor_t_cells": "lymphoid.donor_t",
}
READINGS = (
    Reading("log_kill_day_14", "blast_cells", "max", 14 * DAY_H, 14 * DAY_H,
            Reading("start", "blast_cells", "max", 0.0, 0.0), True),
    Reading("donor_t_peak", "donor_t_cells", "max", 8 * DAY_H, 30 * DAY_H, None, True),
    Reading("chimerism_day_10", "donor_cells", "max", 10 * DAY_H, 10 * DAY_H),
    Reading("fewest_stem", "stem_cells", "min", 0.0, 42 * DAY_H),
    Reading("fewest_megakaryocytes", "megakaryocyte_line", "min", 0.0, 42 * DAY_H),
)  # fmt: skip
SHOWN = {
    "log_kill_day_14": "log10 of blasts, day 14 over day 0",
    "neutrophil_recovery": "neutrophils recovered, day after chemotherapy",
    "platelet_recovery": "platelets recovered, day after chemotherapy",
    "donor_t_peak": "log10 of the most donor T cells in lymphoid tissue",
    "chimerism_day_10": "donor share of blood leukocytes, day 10",
}


def trial_of(cut: str, quick: bool) -> Trial:
    """One arm and as many replicates as the cut has."""
    shape, patches, replicates = CUTS[cut]
    counts = {
        f"observables.{name}": f"{{of: {of}, relative_to: 1 cell, source: a count}}"
        for name, of in COUNTS.items()
    }
    settings = {
        "sets.mk_line": "[mk_progenitor, megakaryocyte]",
        **counts,
        "compartments.marrow.lattice.shape": str(list(shape)),
        "compartments.marrow.patches": str(patches),
        "run.until": "42 d",
        "run.record.counts": "12 h",
        "run.record.snapshots": "0",
    }
    overrides = tuple(f"{name}={value}" for name, value in settings.items())
    arm = Arm(cut.replace(" ", ""), ROOT / "configs" / "mst_elderly_aml.yaml", overrides)
    n = -(-replicates // 4) if quick else replicates
    return Trial(cut, Cohort((), seed=7), n, (arm,), READINGS, (), "")


def judged(found: dict[str, dict[str, np.ndarray]], cuts: tuple[str, ...]) -> dict[str, float]:
    """Probability of differences as large between the cuts, by endpoint; nan: nothing to compare."""
    chances = {}
    for name in SHOWN:
        groups = [found[cut][name] for cut in cuts if name in found[cut]]
        groups = [np.where(np.isfinite(g), g, 99.0) for g in groups]
        same = len({float(x) for g in groups for x in g}) == 1
        chances[name] = 1.0 if same else float(stats.kruskal(*groups).pvalue)
    return chances


def table(found: dict[str, dict[str, np.ndarray]]) -> str:
    """Mean and standard error by cut and endpoint, lineages lost, and the tests."""
    lines = ["| cut | n | " + " | ".join(SHOWN) + " | stem lost | megakaryocytes lost |"]
    lines.append("|" + " --- |" * (len(SHOWN) + 4))
    for cut, values in found.items():
        n = len(next(iter(values.values())))
        cells = []
        for name in SHOWN:
            x = values[name][np.isfinite(values[name])]
            error = x.std(ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.nan
            cells.append(f"{x.mean():.3g} +- {error:.2g}" if len(x) else "-")
        lost = [f"{np.mean(values[k] == 0):.0%}" for k in ("fewest_stem", "fewest_megakaryocytes")]
        lines.append(f"| {cut} | {n} | " + " | ".join([*cells, *lost]) + " |")
    for words, cuts in (("equal volume", EQUAL_VOLUME), ("all", tuple(found))):
        chances = judged(found, cuts)
        limit = 0.05 / len(chances)
        told = ", ".join(f"{k} {v:.2g}" for k, v in chances.items())
        verdict = "agree" if min(chances.values()) > limit else "DIFFER"
        lines += ["", f"{words}: {verdict} (Kruskal-Wallis p: {told}; limit {limit:g})"]
    return "\n".join(lines) + "\n"


def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Every replicate a point, the mean a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(SHOWN), 1, figsize=(8, 2.1 * len(SHOWN)), sharex=True)
    for axis, (name, words) in zip(axes, SHOWN.items(), strict=True):
        for i, values in enumerate(found.values()):
            x = values[name][np.isfinite(values[name])]
            spread = np.linspace(-0.2, 0.2, len(x)) if len(x) > 1 else [0.0]
            axis.plot(i + np.asarray(spread), x, "o", ms=3, color="tab:blue", alpha=0.6)
            if len(x):
                axis.hlines(x.mean(), i - 0.3, i + 0.3, color="black", lw=1)
        axis.set_title(words, fontsize=9, loc="left")
    axes[-1].set_xticks(range(len(found)), list(found), fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the replicates")
    parser.add_argument(
        "--skip", action="append", default=[], help="a cut to leave out; repeatable"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="out/patches", help="folder of the records")
    parser.add_argument("--figure", default=str(FIGURE))
    options = parser.parse_args()
    cuts = [cut for cut in CUTS if cut not in options.skip]
    found = {}
    for cut in cuts:
        trial = trial_of(cut, options.quick)
        folder = Path(options.out, trial.arms[0].name)
        found[cut] = run_trial(trial, folder, workers=options.workers)[trial.arms[0].name]
    print(table(found), end="")
    draw(found, Path(options.figure))
    print(f"figure: {options.figure}")


if __name__ == "__main__":
    main()
