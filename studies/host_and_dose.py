"""The map: host T cells left by chemotherapy, mismatch of donor cells for them, and CD3 dose.

    python -m studies.host_and_dose [--quick] [--workers 2] [--out out/host_and_dose]

For each point the patients of configs/trials/one_population.yaml, with donor cells on day 8: how often are the cells rejected, how
often is there graft-versus-host disease, how often remission. Microtransplantation (a tenth of host T cells left) and
transplantation (a hundredth and less) must come out as two regions.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np

from mst_abm.runs.trial import run_trial
from mst_abm.scenario.trial import Arm, Trial, load_trial

ROOT = Path(__file__).resolve().parent.parent
FIGURE = ROOT / "docs" / "figures" / "host_and_dose.png"

LEFT = (0.002, 0.01, 0.03, 0.1, 0.3, 1.0)
DAYS = 42
USUAL_LEFT = 0.11  # of host T cells after mitoxantrone and cytarabine, as configs/mst_elderly_aml.yaml gives them
DOSES = (1e7, 1.1e8, 2.5e8)
# patient: A*02:01, A*24:02, B*40:01, B*15:01, DRB1*09:01, DRB1*15:01
DONORS = {
    "none": "[A*02:01, A*02:01, B*40:01, B*40:01, DRB1*09:01, DRB1*09:01]",
    "half": "[A*02:01, A*11:01, B*40:01, B*46:01, DRB1*09:01, DRB1*08:03]",
    "full": "[A*11:01, A*33:03, B*46:01, B*58:01, DRB1*08:03, DRB1*03:01]",
}
LYMPHOCYTE_KILLS = ("cytarabine kills lymphocytes", "mitoxantrone kills lymphocytes")
OUTCOMES = {
    "rejected": "rejected: donor cells below 1 %",
    "gvhd": "graft-versus-host disease",
    "remission": "complete remission",
}


def plan(patients: int) -> Trial:
    """One arm for every point of the map."""
    base = load_trial(ROOT / "configs" / "trials" / "one_population.yaml")
    small = next(arm for arm in base.arms if arm.name == "microtransplantation")
    arms = []
    for left in LEFT:
        strength = log(left) / log(USUAL_LEFT)
        kills = tuple(f"rules.{rule}.rate*={strength!r}" for rule in LYMPHOCYTE_KILLS)
        for mismatch, hla in DONORS.items():
            for dose in DOSES:
                own = (
                    f"run.until={DAYS} d",
                    *kills,
                    f"donor.hla={hla}",
                    f"donor.cd3_per_kg={dose!r}",
                )
                name = f"{left:g}-{mismatch}-{dose:g}"
                arms.append(Arm(name, small.scenario, (*small.overrides, *own)))
    # readings of other arms have nothing to be read from here
    return replace(base, name="map", arms=tuple(arms), patients=patients, readings=(), targets=())


def outcomes(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Shares of patients at one point."""
    return {
        "rejected": float(np.mean(~(values["donor_cells_at_end"] >= 0.01))),
        "gvhd": float(np.mean(values["gvhd_probability"])),
        "remission": float(np.mean(np.isfinite(values["remission"]))),
    }


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """A row of panels for every outcome, a panel for every mismatch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(OUTCOMES), len(DONORS), figsize=(11, 8), sharex=True, sharey=True
    )
    for row, (outcome, words) in enumerate(OUTCOMES.items()):
        for column, mismatch in enumerate(DONORS):
            shares = np.array(
                [
                    [found[f"{left:g}-{mismatch}-{dose:g}"][outcome] for left in LEFT]
                    for dose in DOSES
                ]
            )
            axis = axes[row, column]
            image = axis.imshow(
                shares, origin="lower", vmin=0, vmax=1, aspect="auto", cmap="viridis"
            )
            for (y, x), share in np.ndenumerate(shares):
                colour = "white" if share < 0.6 else "black"
                axis.text(x, y, f"{share:.2f}", ha="center", va="center", fontsize=8, color=colour)
            axis.set_xticks(range(len(LEFT)), [f"{left:g}" for left in LEFT], fontsize=7)
            axis.set_yticks(range(len(DOSES)), [f"{dose:.2g}" for dose in DOSES])
            if row == 0:
                axis.set_title(f"HvG mismatch: {mismatch}", fontsize=9)
            if column == 0:
                axis.set_ylabel(words, fontsize=9)
    figure.supxlabel("share of host T cells left by chemotherapy")
    figure.supylabel("CD3 per kg")
    figure.colorbar(image, ax=axes, label="share of patients")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two patients a point instead of eight"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="out/host_and_dose", help="folder of the records")
    parser.add_argument("--figure", default=str(FIGURE))
    options = parser.parse_args()
    trial = plan(2 if options.quick else 8)
    runs = run_trial(trial, options.out, workers=options.workers)
    found = {name: outcomes(values) for name, values in runs.items()}
    table = Path(options.figure).with_suffix(".csv")
    table.parent.mkdir(parents=True, exist_ok=True)
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["host_t_left", "hvg_mismatch", "cd3_per_kg", *OUTCOMES])
        for name, shares in found.items():
            left, mismatch, dose = name.split("-", 2)
            writer.writerow([left, mismatch, dose, *(f"{shares[k]:.3f}" for k in OUTCOMES)])
    draw(found, Path(options.figure))
    print(table.read_text(encoding="utf-8"), end="")
    print(f"figure: {options.figure}")


if __name__ == "__main__":
    main()
