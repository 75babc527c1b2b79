"""The report of the proofs: one table a family, largest |Z| first, and one figure a family."""

from __future__ import annotations

import math
import platform
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mst_abm.records.provenance import git_commit

Row = dict[str, Any]
LIBRARIES = (
    "mst-abm", "numpy", "numba", "llvmlite", "scipy", "pytest", "libroadrunner", "python-libsbml",
)  # fmt: skip
MOST_CURVES = 16


@dataclass
class Report:
    """Rows by family, and what became of the tests they come from.

    ``asked``: the option ``--seed`` as typed; ``seed``: the number used, "" for the fixed ones.
    """

    asked: str
    seed: str
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    passed: int = 0
    seconds: float = 0.0

    def add(self, test: str, outcome: str, seconds: float, rows: list[Row]) -> None:
        self.seconds += seconds
        self.passed += outcome == "passed"
        if outcome == "failed":
            self.failed.append(test)
        elif outcome == "passed" and not rows:
            self.silent.append(test)
        for row in rows:
            self.rows[row["family"]].append(row)

    def write(self, folder: Path) -> Path:
        """Write tables and figures; returns the path of the page."""
        folder.mkdir(parents=True, exist_ok=True)
        parts = [self._head()]
        for family, rows in sorted(self.rows.items()):
            parts.append(section(family, rows))
            if draw(folder / f"{family}.png", family, rows):
                parts.append(f"![{family}]({family}.png)\n")
        if self.silent:
            tests = "\n".join(f"- {test}" for test in self.silent)
            parts.append(f"## Passed, without statistics\n\n{tests}\n")
        parts.append(faults(folder / "mutants.md"))
        page = folder / "report.md"
        page.write_text("\n".join(parts), encoding="utf-8")
        return page

    def _head(self) -> str:
        seed = f"{self.seed or 1} ({'fresh' if self.asked == 'fresh' else 'given'})"
        values = [row for rows in self.rows.values() for row in rows]
        controls = [row for row in values if row["kind"] == "control"]
        seen = sum(row["seen"] for row in controls)
        statistics = sum(row["kind"] == "statistic" for row in values)
        lines = [
            "# Report of the proofs\n",
            f"- made {datetime.now(UTC).isoformat(timespec='seconds')}, {self.seconds:.0f} s of tests",
            f"- commit {git_commit() or 'unknown'}",
            f"- seed: {seed if self.asked else 'the fixed ones, as --seed 1'}",
            f"- Python {platform.python_version()}, {platform.machine()}; {versions()}",
            f"- {self.passed} tests passed, {len(self.failed)} failed, {len(self.skipped)} skipped",
            f"- {statistics} statistics; {seen} of {len(controls)} negative controls failed as they must",
            *(f"- FAILED: {test}" for test in self.failed),
            *(f"- skipped: {test}: {reason}" for test, reason in self.skipped.items()),
        ]
        return "\n".join(lines) + "\n"


def faults(path: Path) -> str:
    """What `make mutants` wrote beside the report, one heading deeper."""
    if not path.exists():
        return "## Faults put into the kernels\n\nNot tried here; `make mutants` tries them.\n"
    return "#" + path.read_text(encoding="utf-8")


def versions() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def of_kind(rows: list[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind]


def section(family: str, rows: list[Row]) -> str:
    """Tables of one family: statistics, controls, agreements."""
    controls = of_kind(rows, "control")
    parts = [f"## {family}\n"]
    statistics = sorted(of_kind(rows, "statistic"), key=lambda row: -nearness(row))
    if statistics:
        head = ("case", "statistic", "Z", "allowed", "n", "negative controls")
        parts.append(
            table(
                head,
                [
                    (
                        row["case"],
                        row["statistic"],
                        f"{row['z']:+.2f}" if nearness(row) < 1.0 else f"**{row['z']:+.2f}**",
                        f"{row['threshold']:.2f}",
                        f"{row['n']:,}",
                        verdict(row["case"], controls),
                    )
                    for row in statistics
                ],
            )
        )
    if controls:
        head = ("case", "made wrong", "largest Z", "to exceed", "n", "caught")
        weakest = sorted(controls, key=nearness)
        parts.append(
            table(
                head,
                [
                    (
                        row["case"],
                        row["wrong"],
                        f"{row['z']:.1f}",
                        f"{row['threshold']:.2f}",
                        f"{row['n']:,}",
                        "yes" if row["seen"] else "**NO**",
                    )
                    for row in weakest
                ],
            )
        )
    agreements = of_kind(rows, "agreement")
    if agreements:
        lines = [(row["case"], row["test"], f"{row['n']:,}") for row in agreements]
        parts.append(table(("same bits", "test", "events"), lines))
    return "\n".join(parts)


def nearness(row: Row) -> float:
    """|Z| as a share of its threshold."""
    return abs(row["z"]) / row["threshold"]


def verdict(case: str, controls: list[Row]) -> str:
    mine = [row["seen"] for row in controls if row["case"] == case]
    return f"{sum(mine)} of {len(mine)} caught" if mine else "none"


def draw(path: Path, family: str, rows: list[Row]) -> bool:
    """Z values against thresholds, curves against exact ones, and events that agreed in bits.

    False if there is nothing to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    marks = [row for row in rows if "z" in row]
    # of a case run at two sizes the later, larger one
    curves = [*{row["case"]: row for row in of_kind(rows, "curve")}.values()][:MOST_CURVES]
    agreements = of_kind(rows, "agreement")
    if not marks and not agreements:
        return False
    cases = list(dict.fromkeys(row["case"] for row in marks))
    across = math.ceil(math.sqrt(len(curves)))
    height = max(3.0, 0.24 * len(cases or agreements) + 1.5, 2.4 * across)
    figure = Figure(figsize=(7.0 + 3.0 * across, height), layout="constrained")
    FigureCanvasAgg(figure)
    left, *right = (
        figure.subfigures(1, 2, width_ratios=[7.0, 3.0 * across]) if curves else (figure,)
    )
    if marks:
        draw_marks(left.subplots(), family, cases, marks)
    else:
        draw_agreements(left.subplots(), family, agreements)
    if curves:
        grid = right[0].subplots(math.ceil(len(curves) / across), across, squeeze=False)
        for place in grid.flat[len(curves) :]:
            place.set_axis_off()
        for place, row in zip(grid.flat, curves, strict=False):
            draw_curve(place, row)
    figure.savefig(path, dpi=110)
    return True


def draw_marks(axes, family: str, cases: list[str], marks: list[Row]) -> None:
    """A line a case: what it allows, its statistics, and its controls beyond."""
    for row in marks:
        y = cases.index(row["case"])
        is_control = row["kind"] == "control"
        # a control's sign says nothing; beyond 1000 only that it is far
        z = min(abs(row["z"]), 1e3) if is_control else row["z"]
        axes.plot([row["threshold"]] * 2, [y - 0.4, y + 0.4], color="0.5", lw=1)
        if not is_control:
            axes.plot([-row["threshold"]] * 2, [y - 0.4, y + 0.4], color="0.5", lw=1)
        colour = "C1" if is_control else "C0"
        axes.plot(z, y, marker="x" if is_control else "o", ms=4, color=colour, ls="none")
    axes.set_xscale("symlog", linthresh=6.0)
    axes.set_yticks(range(len(cases)), cases, fontsize=7)
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xlabel("Z (dots: proofs, inside the bars; crosses: negative controls, beyond them)")
    axes.set_title(family)


def draw_agreements(axes, family: str, rows: list[Row]) -> None:
    """A bar a test: events over which two programs gave the same bits."""
    axes.barh(range(len(rows)), [row["n"] for row in rows], color="C0")
    axes.set_yticks(range(len(rows)), [row["test"] for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlabel("events with the same bits")
    axes.set_title(family)


def draw_curve(axes, row: Row) -> None:
    is_sparse = len(row["exact_x"]) == len(row["x"])
    line = {"ls": ":", "marker": "+", "ms": 8} if is_sparse else {"ls": "-"}
    axes.plot(row["exact_x"], row["exact"], color="0.5", lw=1, label="exact", **line)
    axes.plot(row["x"], row["found"], "o", ms=3, color="C0", label="simulated")
    axes.set_title(row["case"], fontsize=7)
    axes.set_ylabel(row["of"], fontsize=7)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False)
