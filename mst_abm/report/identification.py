"""Hypotheses as text, tables and a figure: which pass, at which targets the others fail, what to measure next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mst_abm.records.places import write_rows
from mst_abm.report.targets import markdown, observed, shown
from mst_abm.runs.identify import Identified

HYPOTHESES, MEASUREMENTS, FIGURE = "hypotheses_targets.csv", "measurements.csv", "figure.png"
#: Of all pairs, those that are printed.
SHOWN = 3


def identification_text(found: Identified) -> str:
    """What the data tell apart, in Markdown."""
    asked = found.identification
    passing = [v.name for v in found.verdicts if any(v.passes)]
    lines = [
        f"{asked.name}: {len(passing)} of {len(found.verdicts)} hypotheses pass {len(asked.fit)} targets; engine: "
        f"{asked.engine}, {asked.trial.patients} patients, {len(asked.sets)} parameter set{'s' * (len(asked.sets) > 1)}",
        f"Pass: no tail below {0.05 / len(asked.fit):.2g} (5 % together). Values are those of the set that fits best.",
        "",
        *markdown([*_verdicts(found)]),
    ]
    if not found.separations:
        lines += ["", "No measurement to rank: fewer than two hypotheses pass, or none is listed."]
        return "\n".join(lines) + "\n"
    table = [("measurement", f"power, {asked.of} patients", "least told apart")]
    for item in found.separations:
        pairs = sorted(item.power.items(), key=lambda pair: (pair[1], pair[0]))[:SHOWN]
        told = "; ".join(f"{a} v {b} {value:.0%}" for (a, b), value in pairs)
        table.append((item.measurement, f"{item.mean:.0%}", told))
    lines += ["", *markdown(table)]
    lines.append(
        "Power: how often a trial with one hypothesis true refutes another, mean over pairs of those that pass; 5 % is chance."
    )
    return "\n".join(lines) + "\n"


def write_identification(found: Identified, folder: Path) -> list[Path]:
    """Write tables and figure into the folder; their paths."""
    head = ("hypothesis", "set", "passes", "target", "fitted", "observed", "simulated", "low", "high", "tail")  # fmt: skip
    rows = [
        (
            verdict.name, i, "yes" if verdict.passes[i] else "no", row.target.name,
            "yes" if row.target.name in found.identification.fit else "no", observed(row.target),
            row.simulated, row.low, row.high, row.tail,
        )
        for verdict in found.verdicts
        for i, line in enumerate(verdict.rows)
        for row in line
    ]  # fmt: skip
    pairs = [
        (item.measurement, a, b, value)
        for item in found.separations
        for (a, b), value in item.power.items()
    ]
    return [
        write_rows(folder / HYPOTHESES, [head, *rows]),
        write_rows(folder / MEASUREMENTS, [("measurement", "true", "refuted", "power"), *pairs]),
        draw_identification(found, folder / FIGURE),
    ]


def _verdicts(found: Identified) -> Iterable[tuple[str, ...]]:
    asked = found.identification
    fitted = [i for i, t in enumerate(asked.trial.targets) if t.name in asked.fit]
    targets = [asked.trial.targets[i] for i in fitted]
    yield ("hypothesis", "sets that pass", *(f"{t.name}: {observed(t)}" for t in targets))
    for verdict in found.verdicts:
        line = verdict.rows[verdict.best]
        cells = (f"{shown(line[i].target, line[i].simulated)}, {line[i].tail:.2g}" for i in fitted)
        yield (verdict.name, f"{sum(verdict.passes)} of {len(verdict.passes)}", *cells)


def draw_identification(found: Identified, path: Path) -> Path:
    """Tail of every fitted target under every hypothesis, at the set that fits it best; below the limit it fails.

    Raises
    ------
    RecordError
        If another file has that name.
    """
    import matplotlib

    from mst_abm.report.style import SUMMARY_STYLE, save

    asked = found.identification
    fitted = [i for i, t in enumerate(asked.trial.targets) if t.name in asked.fit]
    tails = np.array([[v.rows[v.best][i].tail for i in fitted] for v in found.verdicts])
    with matplotlib.rc_context(SUMMARY_STYLE):
        from matplotlib.figure import Figure

        figure = Figure(
            figsize=(0.75 * len(fitted) + 3.5, 0.32 * len(tails) + 1.6), layout="constrained"
        )
        axes: Any = figure.subplots()
        picture = axes.imshow(
            np.log10(np.maximum(tails, 1e-4)),
            cmap="RdYlGn",
            vmin=-4.0,
            vmax=0.0,
            aspect="auto",
            alpha=0.6,
        )
        axes.set_xticks(range(len(fitted)), [asked.trial.targets[i].name for i in fitted])
        names = [v.name + ("" if any(v.passes) else " (fails)") for v in found.verdicts]
        axes.set_yticks(range(len(names)), names)
        for (i, k), tail in np.ndenumerate(tails):
            bold = "bold" if tail < 0.05 / len(fitted) else "normal"
            axes.text(k, i, f"{tail:.2g}", ha="center", va="center", fontsize=7, weight=bold)
        figure.colorbar(picture, label="tail, log10 (bold: refuted)")
        axes.set_title("Tail of each target under each hypothesis")
    return save(figure, path, 110)
