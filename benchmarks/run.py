"""Runs all measurements, prints the table, compares with the baseline, keeps results/latest.json."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks import (
    account,
    baseline,
    checkpoints,
    cluster,
    ensembles,
    marrow_day,
    patient,
    peers,
    plain_c,
    scale,
    whole,
)
from benchmarks.patient import Period
from benchmarks.timing import Result

LATEST = Path(__file__).parent / "results" / "latest.json"
WIDTHS = (50, 12, 16, 7)
#: Of two threads, per cent.
GOAL_IDLE = 15.0
MODES = ("exact", "tiled")
#: Runs of the C program before and after every section: the guard's unit.
UNIT_RUNS = 5

Measurement = Callable[[], Iterable[Result]]


def measurements(quick: bool, mode: str = "exact") -> dict[str, Measurement]:
    """Name to what is measured; the mode concerns the parts about the reference model's cost."""
    return {
        "reference": lambda: reference(quick, mode),
        "scale": lambda: scaling(quick, mode),
        **(quick_parts(mode) if quick else full_parts(mode)),
    }


def quick_parts(mode: str) -> dict[str, Measurement]:
    return {
        "account": lambda: account.account(quick=True),
        "peers": lambda: peers.peers(truth_replicates=500, replicates=100, rounds=3, mesa_runs=3),
        "day": lambda: marrow_day.days(mode, 3),
        "memory": lambda: whole.memory(32),
        "boxes": lambda: whole.boxes(10_000, 3),
        "patient": lambda: (
            *whole.patient("quickstart.yaml", 1.0, mode),
            *patient.versus_reference(
                "quickstart.yaml", (Period("days 0-2", 0, 2), Period("days 20-22", 20, 2)), 4
            ),
        ),
        "interval": lambda: whole.interval("quickstart.yaml", 96, 3),
        "recording": lambda: whole.recording(100, 24.0, 3),
        "checkpoints": lambda: checkpoints.checkpoints(checkpoints.QUICK),
        "node": lambda: checkpoints.node(checkpoints.QUICK_NODE),
        "ensembles": lambda: ensembles.ensembles(quick=True),
        "cluster": lambda: cluster.both(quick=True),
        "start": lambda: whole.starts(3, False, ("--set", "run.until=9 d")),
    }


def full_parts(mode: str) -> dict[str, Measurement]:
    config = "mst_elderly_aml.yaml"
    return {
        "account": lambda: account.account(quick=False),
        "peers": lambda: peers.peers(
            truth_replicates=2_000, replicates=400, rounds=7, mesa_runs=40
        ),
        "day": lambda: marrow_day.days(mode, 7),
        "memory": lambda: whole.memory(64),
        "boxes": lambda: whole.boxes(100_000, 5),
        "patient": lambda: (
            *whole.patient(config, 28.0, mode),
            *patient.versus_reference(
                config, (Period("days 0-4", 0, 4), Period("days 40-44", 40, 4)), 8
            ),
        ),
        "interval": lambda: whole.interval(config, 480, 7),
        "recording": lambda: whole.recording(100, 120.0, 5),
        "checkpoints": lambda: checkpoints.checkpoints(checkpoints.CASES),
        "node": lambda: checkpoints.node(checkpoints.NODE),
        "ensembles": lambda: ensembles.ensembles(quick=False),
        "cluster": lambda: cluster.both(quick=False),
        "start": lambda: whole.starts(7, True, ()),
    }


def reference(quick: bool, mode: str) -> Iterator[Result]:
    """The reference model against plain C at the sizes for which the mode has a goal."""
    sizes = {"exact": ((64, 8.0, 21), (100, 4.0, 15)), "tiled": ((100, 4.0, 15), (200, 1.0, 7))}
    for side, hours, repetitions in sizes[mode]:
        if quick:
            hours, repetitions = max(hours / 4, 0.5), repetitions // 4
        yield from plain_c.compare(side, hours, repetitions, mode)


def scaling(quick: bool, mode: str) -> Iterator[Result]:
    """Sizes; in tiled mode also two threads, which one exact patch has no use for."""
    yield from scale.sizes(mode, quick)
    if mode == "tiled":
        yield from threads(quick)


def threads(quick: bool) -> Iterator[Result]:
    """Two threads on 128^3 sites: the reference model, and marrow in which many cells walk, or few."""
    from mst_abm import load_scenario

    side, hours, repetitions = 128, 4.0 if quick else 16.0, 3 if quick else 7
    plain = load_scenario(
        "reference", overrides=plain_c.shape_overrides(side, plain_c.FILLED, hours, "tiled")
    )
    yield from scale.two_threads(f"{side}^3", plain, hours, repetitions, GOAL_IDLE)
    hours /= 8
    for walkers, words, goal in ((0.2, "one in 5 walks", GOAL_IDLE), (0.03, "3 % walk", None)):
        scenario = marrow_day.scenario_of(side, hours, "tiled", walkers)
        what = f"{side}^3 with bone and stroma, {words}"
        yield from scale.two_threads(what, scenario, hours, repetitions, goal)


def main() -> None:
    """Entry point of ``python -m benchmarks``."""
    options = parsed()
    results: list[Result] = []
    costs: dict[str, baseline.Cost] = {}
    print(row("what", "goal", "seen", "ratio", ""))
    failed = []
    with yardstick() as measure_unit:
        for name, measure in measurements(options.quick, options.mode).items():
            if options.only and name not in options.only:
                continue
            before, done = measure_unit(), []
            try:
                for result in measure():
                    done.append(result)
                    print(line(result), *result.table, sep="\n    ", flush=True)
            except Exception as error:  # one that fails must not hide the others
                failed.append(name)
                print(f"{name}: failed: {error}", flush=True)
            runs = before + measure_unit()
            unit = statistics.median(runs) if runs else None
            found = ((result.what, baseline.cost_of(result, unit)) for result in done)
            costs |= {what: cost for what, cost in found if cost is not None}
            results += done
    write(results, options.quick)
    print(f"\nratio: seen by goal, reached at 1 or less. All numbers: {LATEST}")
    size = "quick" if options.quick else "full"
    print(*baseline.report(size, costs), sep="\n")
    if options.write_baseline:
        baseline.write(size, costs, machine())
        print(f"written: {baseline.BASELINE}")
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


def parsed() -> argparse.Namespace:
    """Words of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer")
    parser.add_argument(
        "--only", action="append", choices=list(measurements(True)), help="repeatable"
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="exact",
        help="of the parts reference, scale, day and the first half of patient",
    )
    parser.add_argument(
        "--write-baseline", action="store_true", help="keep this run's costs for later comparisons"
    )
    return parser.parse_args()


@contextlib.contextmanager
def yardstick() -> Iterator[Callable[[], list[float]]]:
    """A function that times the C program, ns per executed event; nothing without a compiler."""
    if plain_c.compiler() is None:
        yield lambda: []
        return
    with plain_c.compiled(plain_c.UNIT_SIDE) as program:
        yield lambda: plain_c.unit(program, UNIT_RUNS)


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
