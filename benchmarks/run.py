"""Runs all measurements, prints the table, keeps the numbers in results/latest.json."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks import plain_c, whole
from benchmarks.timing import Result

LATEST = Path(__file__).parent / "results" / "latest.json"
WIDTHS = (46, 12, 12, 7)

Measurement = Callable[[], Iterable[Result]]


def measurements(quick: bool) -> dict[str, Measurement]:
    """Name to what is measured; the quick ones together take about a minute."""
    if quick:
        return {
            "reference": lambda: (
                *plain_c.compare(64, 2.0, 5),
                *plain_c.compare(100, 1.0, 3),
            ),
            "memory": lambda: whole.memory(32),
            "boxes": lambda: whole.boxes(10_000, 3),
            "patient": lambda: whole.patient("quickstart.yaml", 1.0),
            "interval": lambda: whole.interval("quickstart.yaml", 96, 3),
            "recording": lambda: whole.recording(100, 24.0, 3),
            "start": lambda: whole.starts(3, False, ("--set", "run.until=9 d")),
        }
    return {
        "reference": lambda: (
            *plain_c.compare(64, 8.0, 21),
            *plain_c.compare(100, 4.0, 15),
        ),
        "memory": lambda: whole.memory(64),
        "boxes": lambda: whole.boxes(100_000, 5),
        "patient": lambda: whole.patient("mst_elderly_aml.yaml", 28.0),
        "interval": lambda: whole.interval("mst_elderly_aml.yaml", 480, 7),
        "recording": lambda: whole.recording(100, 120.0, 5),
        "start": lambda: whole.starts(7, True, ()),
    }


def main() -> None:
    """Entry point of ``python -m benchmarks``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: about a minute")
    parser.add_argument(
        "--only", action="append", choices=list(measurements(True)), help="repeatable"
    )
    options = parser.parse_args()
    chosen = measurements(options.quick)
    results: list[Result] = []
    print(row("what", "goal", "seen", "ratio", ""))
    failed = []
    for name, measure in chosen.items():
        if options.only and name not in options.only:
            continue
        try:
            for result in measure():
                results.append(result)
                print(line(result), flush=True)
        except Exception as error:  # one that fails must not hide the others
            failed.append(name)
            print(f"{name}: failed: {error}", flush=True)
    write(results, options.quick)
    print(f"\nratio: seen by goal, reached at 1 or less. All numbers: {LATEST}")
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


def row(what: str, goal: str, seen: str, ratio: str, note: str) -> str:
    a, b, c, d = WIDTHS
    return f"{what:<{a}} {goal:>{b}} {seen:>{c}} {ratio:>{d}}  {note}".rstrip()


def line(result: Result) -> str:
    """A result as a line of the table."""

    def shown(number: float | None, unit: str) -> str:
        if number is None or math.isnan(number):
            return "-"
        return f"{number:.3g} {unit}" if number < 1e5 else f"{number:.2e} {unit}"

    ratio = shown(result.ratio, "").strip()
    goal, seen = shown(result.goal, result.unit), shown(result.seen, result.unit)
    return row(result.what, goal, seen, ratio, result.note)


def machine() -> dict[str, object]:
    """Where the numbers come from."""
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numba", "numpy", "h5py")},
    }


def processor() -> str:
    """Name of the processor, as the system gives it."""
    try:
        for entry in Path("/proc/cpuinfo").read_text().splitlines():
            if entry.startswith("model name"):
                return entry.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write(results: list[Result], quick: bool) -> None:
    """Keep everything, repetitions included."""
    LATEST.parent.mkdir(exist_ok=True)
    rows = [{**asdict(r), "ratio": r.ratio} for r in results]
    content = {"quick": quick, "machine": machine(), "results": rows}
    LATEST.write_text(json.dumps(content, indent=1) + "\n")
