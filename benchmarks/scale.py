"""From 1e5 to 1e8 sites: what an event costs, what a site takes in memory, a cell on disk.

``python -m benchmarks.scale SIDE MODE`` measures one size in a process of its own, so that peak memory
is that size's alone, and prints one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.plain_c import FILLED, shape_overrides
from benchmarks.timing import Result, cpu_seconds

FIGURE = Path(__file__).parent / "results" / "scale.png"
SIDES = (46, 100, 215, 464)  # 1e5, 1e6, 1e7, 1e8 sites
#: Largest number of sites by mode; exact mode is not made for more.
MOST_SITES = {"exact": 1_000_000}
#: Snapshots of larger patches would measure the disk.
MOST_SITES_ON_FILE = 10_000_000
#: Candidates of one repetition, about: smaller patches run for longer.
EVENTS = 4e6
GROWTH_GOAL = {"tiled": 1.3}


def peak_bytes() -> int:
    """Largest resident memory of this process so far; not the parent's, unlike ``ru_maxrss``."""
    for entry in Path("/proc/self/status").read_text().splitlines():
        if entry.startswith("VmHWM:"):
            return 1024 * int(entry.split()[1])
    raise RuntimeError("no VmHWM in /proc/self/status")


def measure(side: int, mode: str, repetitions: int) -> dict[str, Any]:
    """One size in this process."""
    from mst_abm import Simulation, load_scenario

    Simulation(load_scenario("reference", overrides=shape_overrides(8, FILLED, 1.0, mode))).advance(
        1.0
    )
    before = peak_bytes()
    sites = side**3
    hours = max(1.0, round(EVENTS / (1.15 * FILLED * sites)))
    scenario = load_scenario("reference", overrides=shape_overrides(side, FILLED, hours, mode))

    def repetition(i: int) -> tuple[float, float]:
        simulation = Simulation(scenario, seed=i + 1)
        seconds = cpu_seconds(lambda: simulation.advance(hours))
        held = sum(array.nbytes for array in simulation.state.lattice)
        return 1e9 * seconds / simulation.statistics["executed"], held / sites

    runs = [repetition(i) for i in range(repetitions)]  # one simulation at a time is alive
    peak = peak_bytes()
    row = {
        "sites": sites,
        "ns": [ns for ns, _ in runs],
        "array bytes per site": runs[0][1],
        "peak bytes": peak,
        "peak bytes per site": (peak - before) / sites,
        "hours": hours,
    }
    if sites <= MOST_SITES_ON_FILE:
        row["file bytes per cell"] = bytes_per_cell(side, mode)
    return row


def bytes_per_cell(side: int, mode: str) -> float:
    """What a cell of a snapshot adds to the record file: with one snapshot more, less without."""
    from mst_abm import load_scenario, run_to_file

    sizes, cells = [], []
    with tempfile.TemporaryDirectory() as folder:
        for snapshots in ("0.5 h", "1 h"):
            scenario = load_scenario(
                "reference",
                overrides=(
                    *shape_overrides(side, FILLED, 1.0, mode),
                    f"run.record={{counts: 30 min, snapshots: {snapshots}}}",
                ),
            )
            path = Path(folder) / "run.h5"
            run_to_file(scenario, path, force=True)
            sizes.append(path.stat().st_size)
            cells.append(_snapshot_cells(path))
    return (sizes[0] - sizes[1]) / (cells[0] - cells[1])


def _snapshot_cells(path: Path) -> int:
    import h5py

    with h5py.File(path) as file:
        return int(file["n_snapshot_cells"][()])


def sizes(mode: str, quick: bool) -> Iterator[Result]:
    """All sizes the mode is made for, each in a process of its own; then the figure."""
    rows = []
    for side in SIDES[:2] if quick else SIDES:
        if side**3 > MOST_SITES.get(mode, side**3):
            continue
        command = (sys.executable, "-m", "benchmarks.scale", str(side), mode, "3" if quick else "5")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        row = json.loads(done.stdout)
        rows.append(row)
        yield _line(row, side, mode)
    costs = [statistics.median(row["ns"]) for row in rows]
    yield Result(
        f"growth of that cost, {rows[0]['sites']:.0e} to {rows[-1]['sites']:.0e} sites, {mode}",
        costs[-1] / costs[0],
        "x",
        GROWTH_GOAL.get(mode),
    )
    draw(rows, mode)


def _line(row: dict[str, Any], side: int, mode: str) -> Result:
    on_file = row.get("file bytes per cell")
    note = (
        f"{row['array bytes per site']:.2f} B arrays, {row['peak bytes per site']:.1f} B peak a site "
        f"(process {row['peak bytes'] / 1e6:.0f} MB)"
        + (f", {on_file:.2f} B a cell on file" if on_file is not None else "")
    )
    what = f"cost per executed event, {side}^3 alone, {mode}"
    return Result(what, statistics.median(row["ns"]), "ns", None, note, row, tuple(row["ns"]))


def draw(rows: list[dict[str, Any]], mode: str, path: Path = FIGURE) -> None:
    """Cost and memory by sites."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sites = [row["sites"] for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.plot(sites, [statistics.median(row["ns"]) for row in rows], "o-", clip_on=False)
    left.set(xlabel="sites", ylabel="ns per executed event", xscale="log", title=mode)
    left.set_ylim(bottom=0)
    for key in ("array bytes per site", "peak bytes per site"):
        right.plot(
            sites, [row[key] for row in rows], "o-", label=key.removesuffix(" bytes per site")
        )
    right.set(xlabel="sites", ylabel="bytes per site", xscale="log")
    right.set_ylim(bottom=0)
    right.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def two_threads(
    what: str, scenario: Any, hours: float, repetitions: int, goal: float | None
) -> Iterator[Result]:
    """Wall time of one patch with one thread and with two, which must end in the same bits."""
    from mst_abm import Simulation

    Simulation(scenario, threads=2).advance(hours)  # compiles, and warms up
    walls: dict[int, list[float]] = {1: [], 2: []}
    for i in range(repetitions):
        digests = set()
        for threads, wall in walls.items():
            simulation = Simulation(scenario, seed=i + 1, threads=threads)
            started = time.perf_counter()
            simulation.advance(hours)
            wall.append(time.perf_counter() - started)
            digests.add(simulation.digest())
        if len(digests) != 1:
            raise RuntimeError(f"{what}, seed {i + 1}: one thread and two end in different bits")
    share = statistics.median(a / (2 * b) for a, b in zip(walls[1], walls[2], strict=True))
    note = (
        f"{statistics.median(walls[1]):.3g} s v {statistics.median(walls[2]):.3g} s wall, same bits"
    )
    # in hundredths so that the goal reads as the others do: at most 1 is reached
    yield Result(
        f"idle share of two threads, {what}", 100 * (1 - share), "%", goal, note,
        {str(k): v for k, v in walls.items()},
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
