"""Costs of whole runs: memory, tiny boxes, the patient, recording, starting."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Result, command_seconds, cpu_seconds, median_ratio, taking_turns

CONFIGS = Path(__file__).parent.parent / "configs"
COMMAND = (sys.executable, "-m", "mst_abm")
#: The reference rules on the smallest torus.
BOX = (
    "override.compartments.cube.lattice.shape=[3, 3]",
    "override.compartments.cube.lattice.neighbours=4",
    "run.until=4 h",
    "run.exchange=4 h",
    "run.record.counts=4 h",
)


def memory(side: int) -> Iterator[Result]:
    """Bytes of all arrays of the lattice by its sites."""
    from mst_abm import Simulation, load_scenario

    shape = f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]"
    for identity, goal in (("false", 8.0), ("true", 40.0)):
        scenario = load_scenario("reference", overrides=(shape, f"run.identity={identity}"))
        lattice = Simulation(scenario).state.lattice
        arrays = {name: array.nbytes / side**3 for name, array in lattice._asdict().items()}
        what = f"memory per site, identity {'on' if identity == 'true' else 'off'}"
        yield Result(what, sum(arrays.values()), "B", goal, raw=arrays)


def boxes(replicates: int, repetitions: int) -> Iterator[Result]:
    """Many 3 x 3 boxes to t = 4 h: in the kernel, and all told with a record file."""
    from mst_abm import Simulation, load_scenario, run_to_file

    scenario = load_scenario("reference", overrides=BOX)
    Simulation(scenario).advance(4.0)
    scale = replicates / 1e5

    def kernel(i: int) -> float:
        simulation = Simulation(scenario, seed=i, replicates=replicates)
        return cpu_seconds(lambda: simulation.advance(4.0))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box.h5"

        def filed(i: int) -> float:
            return cpu_seconds(
                lambda: run_to_file(scenario, path, seed=i, replicates=replicates, force=True)
            )

        seconds = taking_turns({"kernel": kernel, "file": filed}, repetitions)
    what = f"{replicates:,} boxes of 3 x 3 to t = 4 h"
    for name, where, goal in (("kernel", "kernel", 1.0), ("file", "with the file", 5.0)):
        seen = statistics.median(seconds[name])
        yield Result(
            f"{what}, {where}", seen, "s", goal * scale, raw={"s": seconds[name]},
            cost=tuple(seconds[name]),
        )  # fmt: skip


def patient(config: str, days: float, mode: str) -> Iterator[Result]:
    """Speed of the full model from day 0."""
    from mst_abm import Simulation, load_scenario

    scenario = load_scenario(CONFIGS / config, overrides=(f"run.mode={mode}",))
    simulation = Simulation(scenario)
    simulation.advance(scenario.run.exchange_h)  # compiles
    before, begin = simulation.statistics, simulation.time_h
    seconds = cpu_seconds(lambda: simulation.advance(24 * days))
    done = {name: n - before[name] for name, n in simulation.statistics.items()}
    sites = simulation.state.lattice.species.shape[1]
    per_day = seconds / (simulation.time_h - begin) * 24
    raw = {**done, "seconds": seconds, "sites": sites, "days": days}
    name = config.removesuffix(".yaml") + ("" if mode == "exact" else f", {mode}")
    yield Result(
        f"{name}: executed events per second",
        done["executed"] / seconds,
        "/s",
        note=f"{done['attempts'] / seconds:.3g} attempts/s, {per_day:.2f} s a day",
        raw=raw,
        cost=(1e9 * seconds / done["executed"],),
    )
    yield Result(
        f"{name}: 28 days of 1e6 sites",
        28 * per_day * 1e6 / sites,
        "s",
        90.0,
        f"from days 0 to {days:g} of {sites:,} sites",
        raw,
    )


def interval(config: str, windows: int, repetitions: int) -> Iterator[Result]:
    """An exchange interval in which next to nothing happens: the patient without cells."""
    from mst_abm import Simulation, load_scenario

    scenario = load_scenario(CONFIGS / config)
    hours = windows * scenario.run.exchange_h
    empty = dataclasses.replace(
        scenario,
        model=dataclasses.replace(scenario.model, initial=()),
        infusions=(),
        doses=(),
        run=dataclasses.replace(scenario.run, until_h=hours),
    )
    Simulation(empty).advance(empty.run.exchange_h)

    def per_window(i: int) -> float:
        simulation = Simulation(empty, seed=i)
        return 1e6 * cpu_seconds(lambda: simulation.advance(hours)) / windows

    seen = [per_window(i) for i in range(repetitions)]
    what = "fixed cost of an exchange interval, patient"
    yield Result(what, statistics.median(seen), "us", 100.0, raw={"us": seen}, cost=tuple(seen))


def recording(side: int, hours: float, repetitions: int) -> Iterator[Result]:
    """Hourly counts and daily snapshots of the reference model, in memory and into a file."""
    from mst_abm import Simulation, load_scenario, run_to_file

    scenario = load_scenario(
        "reference",
        overrides=(
            f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]",
            f"run.until={hours} h",
            "run.record={counts: 1 h, snapshots: 1 d}",
        ),
    )
    Simulation(scenario).advance(1.0)

    def unrecorded(i: int) -> float:
        simulation = Simulation(scenario, seed=i)
        return cpu_seconds(lambda: simulation.advance(hours))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recorded.h5"

        def recorded(i: int) -> float:
            simulation = Simulation(scenario, seed=i)
            return cpu_seconds(
                lambda: run_to_file(scenario, path, seed=i, force=True, simulation=simulation)
            )

        seconds = taking_turns({"with": recorded, "without": unrecorded}, repetitions)
        size = path.stat().st_size
    share = 100 * (median_ratio(seconds["with"], seconds["without"]) - 1)
    note = f"hourly counts, daily snapshots, {hours:g} h, {size / 1e6:.1f} MB"
    yield Result(
        f"recording, {side}^3", share, "%", 5.0, note, {"s": seconds}, tuple(seconds["with"])
    )


def starts(repetitions: int, with_cold_run: bool, run_options: tuple[str, ...]) -> Iterator[Result]:
    """The command line: ``--help``, and the quickstart with kernels compiled or not yet."""
    helps = [command_seconds([*COMMAND, "--help"])[0] for _ in range(repetitions)]
    yield Result(
        "mst-abm --help", statistics.median(helps), "s", 0.3, "wall", {"s": helps}, tuple(helps)
    )
    quickstart = [*COMMAND, "run", str(CONFIGS / "quickstart.yaml"), "--force", *run_options]
    with tempfile.TemporaryDirectory() as folder:
        quickstart += ["-o", str(Path(folder) / "out.h5")]
        cache = {"MST_ABM_CACHE": str(Path(folder) / "cache")} if with_cold_run else {}
        if with_cold_run:
            wall, cpu = command_seconds(quickstart, **cache)
            note = f"wall; {cpu:.1f} s CPU"
            yield Result(
                "quickstart, nothing compiled yet", wall, "s", 60.0, note, {"cpu": cpu}, cost=(cpu,)
            )
        wall, cpu = command_seconds(quickstart, **cache)
        what = "quickstart" + (" " + " ".join(run_options) if run_options else "")
        note = f"wall; {cpu:.1f} s CPU"
        yield Result(f"{what}, kernels compiled", wall, "s", 15.0, note, {"cpu": cpu}, cost=(cpu,))
