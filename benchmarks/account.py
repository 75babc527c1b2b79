"""Where the time of the exact lattice kernel goes, by taking parts of the work away.

Hardware counters are not always to be had (most virtual machines refuse them), so the account is made
of differences: small models that do only part of what an event takes, each timed in turns with the C
program of the same rates, and the draws by themselves. Cachegrind counts what the C program does where
it is installed. Method and figures: docs/performance.md.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from benchmarks import plain_c
from benchmarks.timing import Result, cpu_seconds, median_ratio, taking_turns

SIDES = (16, 32, 64, 128, 200)
#: Sides whose memory lies near and far; the steps of the account are made at the first.
SIDE, FAR_SIDE = 64, 200
#: Cachegrind knows no vector registers of 512 bits.
CACHEGRIND_FLAGS = ("-O3", "-march=x86-64-v3")
COUNTED = {
    "instructions": r"I\s+refs:\s+([\d,]+)",
    "D1 misses": r"D1\s+misses:\s+([\d,]+)",
    "LL misses": r"LLd misses:\s+([\d,]+)",
    "mispredicted branches": r"Mispredicts:\s+([\d,]+)",
}


@dataclass(frozen=True)
class Variant:
    """The reference model with other rates (1/h); ``thinned``: see `document`."""

    name: str
    filled: float
    birth: float = 0.0
    death: float = 0.0
    hop: float = 0.0
    thinned: bool = False

    @property
    def rates(self) -> dict[str, float]:
        return {"birth": self.birth, "death": self.death, "hop": self.hop}

    @property
    def top(self) -> float:
        """Attempts per cell and hour."""
        return 1.0 if self.thinned else self.birth + self.death + self.hop


REFERENCE = Variant("reference model", 0.5, 0.1, 0.05, 1.0)
CROWDED = Variant("hops, full", 1.0, hop=1.0)
SPARSE = Variant("hops, nearly empty", 0.02, hop=1.0)
DEATHS = Variant("deaths, from full", 1.0, death=1.0)
TURNOVER = Variant("births and deaths", 0.5, birth=0.2, death=0.1)
#: Three candidates in four end at the rate class: chosen, read, refused.
THINNED = Variant("3 in 4 refused by class", 1.0, hop=0.26, thinned=True)


def scenario_of(variant: Variant, side: int, hours: float):
    """The scenario of a variant; files may not fill a lattice, so that is done here."""
    from mst_abm.scenario import load_scenario_text

    scenario = load_scenario_text(document(variant, side, hours))
    cells, *others = scenario.model.initial
    filled = variant.filled - len(others) / side**3
    initial = (replace(cells, amount=filled), *others)
    return replace(scenario, model=replace(scenario.model, initial=initial))


def document(variant: Variant, side: int, hours: float) -> str:
    """The file of a variant, half full.

    A thinned one has a single cell of a second type, of rate 1/h; it shares the rate class of the
    cells and sets its top.
    """
    patterns = {"birth": "cell -> cell + cell", "death": "cell", "hop": "cell"}
    verbs = {"birth": "divide", "death": "die", "hop": "move"}
    rules = [
        {
            "name": name,
            verbs[name]: patterns[name],
            "rate": f"{rate!r} /h",
            "source": "verification",
        }
        | ({"place": "attempt"} if name == "birth" else {})
        for name, rate in variant.rates.items()
        if rate
    ]
    types: dict[str, dict] = {"cell": {}}
    initial: list[dict] = [{"cells": "cell", "fraction": 0.5}]
    if variant.thinned:
        types["fast"] = {}
        initial.append({"cells": "fast", "number": 1})
        rules += [
            {"name": "fast hop", "move": "fast", "rate": "1 /h", "source": "verification"},
            {
                "name": "never",
                "become": "cell -> fast",
                "rate": "1e-15 /h",
                "source": "verification",
            },
        ]
    cube = {"shape": [side] * 3, "neighbours": 6, "boundary": "periodic"}
    return json.dumps(
        {
            "types": types,
            "rules": rules,
            "compartments": {"cube": {"lattice": cube}},
            "initial": {"cube": initial},
            "run": {
                "until": f"{hours!r} h",
                "exchange": f"{hours!r} h",
                "record": {"counts": f"{hours!r} h"},
            },
        }
    )


@dataclass
class Timed:
    """ns per attempt, ours and C's (empty for a thinned variant), and the share executed."""

    ours: list[float] = field(default_factory=list)
    c: list[float] = field(default_factory=list)
    executed: float = 0.0

    @property
    def ns(self) -> float:
        return statistics.median(self.ours)

    @property
    def c_ns(self) -> float:
        return statistics.median(self.c) if self.c else float("nan")


def time_variant(variant: Variant, side: int, attempts: float, repetitions: int) -> Timed:
    """A variant in turns with the C program of the same rates."""
    from mst_abm import Simulation

    hours = max(0.25, round(4 * attempts / (variant.top * variant.filled * side**3)) / 4)
    scenario = scenario_of(variant, side, hours)
    Simulation(scenario).advance(hours)
    timed, shares = Timed(), []

    def ours(i: int) -> float:
        simulation = Simulation(scenario, seed=i + 1)
        seconds = cpu_seconds(lambda: simulation.advance(hours))
        seen = simulation.statistics
        shares.append(seen["executed"] / seen["attempts"])
        return 1e9 * seconds / seen["attempts"]

    if variant.thinned or plain_c.compiler() is None:
        timed.ours = taking_turns({"ours": ours}, repetitions)["ours"]
    else:
        with plain_c.compiled(side, **variant.rates) as program:

            def c(i: int) -> float:
                seen = program.run(i + 1, variant.filled, hours)
                return 1e9 * seen.seconds / seen.attempts

            values = taking_turns({"c": c, "ours": ours}, repetitions)
            timed.ours, timed.c = values["ours"], values["c"]
    timed.executed = statistics.mean(shares)
    return timed


def drawing(blocks: int, repetitions: int) -> list[float]:
    """ns per candidate of `fill_block`, the engine's draws, by themselves."""
    import numba
    import numpy as np

    from mst_abm.engine import rng

    fill_block = rng.fill_block

    @numba.njit
    def fill(draws, seed, n):
        for i in range(n):
            fill_block(draws, seed, 0, 1, 0, i * rng.BLOCK)

    draws, seed = rng.make_draws(), np.uint64(1)
    fill(draws, seed, 1)
    return [
        1e9 * cpu_seconds(lambda: fill(draws, seed, blocks)) / (blocks * rng.BLOCK)
        for _ in range(repetitions)
    ]


def account(quick: bool) -> Iterator[Result]:
    """Steps of an event at one size, sizes, and what cachegrind counts."""
    attempts, repetitions = (1e6, 5) if quick else (4e6, 11)
    yield from _steps(attempts, repetitions)
    yield from _sizes(SIDES[1:3] if quick else SIDES, attempts, repetitions)
    yield from counted((64,) if quick else (32, 64, 100, 200))
    yield from counters()


def _steps(attempts: float, repetitions: int) -> Iterator[Result]:
    draw = drawing(2_000 if repetitions < 10 else 20_000, repetitions)
    variants = (REFERENCE, CROWDED, SPARSE, DEATHS, TURNOVER, THINNED)
    seen = {v: time_variant(v, SIDE, attempts, repetitions) for v in variants}
    for variant, timed in seen.items():
        by_c = median_ratio(timed.ours, timed.c) if timed.c else float("nan")
        beside = f" v {timed.c_ns:.1f} ns" if timed.c else ""
        note = f"{timed.ns:.1f} ns{beside}, {timed.executed:.0%} executed"
        yield Result(
            f"attempt, {variant.name}, v C", by_c, "x", note=note, raw=vars(timed),
            cost=tuple(timed.ours),
        )  # fmt: skip
    steps = steps_of(statistics.median(draw), {v: (t.ns, t.executed) for v, t in seen.items()})
    c_event = seen[REFERENCE].c_ns / seen[REFERENCE].executed  # same rates: same share executed
    for name, ns in steps.items():
        yield Result(
            f"ours: {name}", ns, "ns",
            note=f"{ns / c_event:+.2f} of C's executed event ({c_event:.1f} ns)",
        )  # fmt: skip


def steps_of(draw: float, seen: dict[Variant, tuple[float, float]]) -> dict[str, float]:
    """ns of every step, from ns per attempt and share executed of every variant.

        crowded = draw + choose and look
        sparse  = crowded + executed x move
        deaths  = crowded + executed x removal

    These variants do the same thing every time, so the processor foretells every branch. What the
    reference model costs beyond its steps, an event of birth or death taken as a removal, is the
    last line: mostly branches that nobody can foretell, as half of the neighbours are taken.
    """
    crowded = seen[CROWDED][0]
    sparse, moved = seen[SPARSE]
    move = (sparse - crowded) / moved
    dying, died = seen[DEATHS]
    removal = (dying - crowded) / died
    cost, executed = seen[REFERENCE]
    # births and deaths balance in the reference model, as occupancy stays at one half
    changes = min(2 * REFERENCE.death / REFERENCE.top, executed)
    return {
        "draw, per attempt": draw,
        "choose a cell and look, per attempt": crowded - draw,
        "move, per move": move,
        "list and weights, per removal": removal,
        "reference attempt, less its steps": cost
        - (crowded + (executed - changes) * move + changes * removal),
    }


def _sizes(sides: tuple[int, ...], attempts: float, repetitions: int) -> Iterator[Result]:
    for side in sides:
        timed = time_variant(REFERENCE, side, attempts, repetitions)
        per_event = [ns / timed.executed for ns in timed.ours]
        by_c = median_ratio(timed.ours, timed.c) if timed.c else float("nan")
        note = f"{timed.ns / timed.executed:.1f} ns v {timed.c_ns / timed.executed:.1f} ns"
        yield Result(
            f"executed event, {side}^3, v C", by_c, "x", note=note, raw=vars(timed),
            cost=tuple(per_event),
        )  # fmt: skip


def counted(sides: tuple[int, ...]) -> Iterator[Result]:
    """Instructions, misses and branches per executed event of the C program, by cachegrind."""
    if shutil.which("valgrind") is None or plain_c.compiler() is None:
        yield Result("cachegrind", float("nan"), "", note="needs valgrind and a C compiler")
        return
    for side in sides:
        with plain_c.compiled(side, flags=CACHEGRIND_FLAGS) as program:
            hours = max(0.02, 3e5 / (0.575 * side**3))
            run, start = (_cachegrind(program.path, until) for until in (hours, 0.0))
        events = run.pop("executed")
        start.pop("executed")
        per = {name: (run[name] - start[name]) / events for name in run}
        note = ", ".join(f"{n:.2f} {name}" for name, n in per.items() if name != "instructions")
        yield Result(
            f"plain C under cachegrind, {side}^3", per["instructions"], "instructions",
            note=f"per executed event; {note}", raw=per,
        )  # fmt: skip


def _cachegrind(program: str, until: float) -> dict[str, float]:
    """Counts of a whole run, for caches of 48 KiB and 32 MiB."""
    done = subprocess.run(
        [
            "valgrind", "--tool=cachegrind", "--cache-sim=yes", "--branch-sim=yes",
            "--D1=49152,12,64", "--LL=33554432,16,64", "--cachegrind-out-file=/dev/null",
            program, "1", str(plain_c.FILLED), str(until),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {name: re.search(pattern, done.stderr) for name, pattern in COUNTED.items()}
    counts = {name: float(m.group(1).replace(",", "")) for name, m in found.items() if m}
    return counts | {"executed": float(done.stdout.split()[0])}


def counters() -> Iterator[Result]:
    """Hardware counters of the C program by ``perf stat``, where the machine gives them."""
    what = f"plain C under perf, {FAR_SIDE}^3"
    if shutil.which("perf") is None or plain_c.compiler() is None:
        yield Result(what, float("nan"), "", note="needs perf and a C compiler")
        return
    events = ("cycles", "instructions", "cache-misses", "branch-misses")
    with plain_c.compiled(FAR_SIDE) as program:
        done = subprocess.run(
            ["perf", "stat", "-x", ",", "-e", ",".join(events), program.path, "1", "0.5", "0.5"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    rows = [entry.split(",") for entry in done.stderr.splitlines() if entry.count(",") > 2]
    values = {row[2]: float(row[0]) for row in rows if row[0].isdigit()}
    if len(values) < len(events):
        yield Result(what, float("nan"), "", note="this machine gives no hardware counters")
        return
    executed = float(done.stdout.split()[0])
    per = {name: n / executed for name, n in values.items()}
    note = (
        ", ".join(f"{n:.2f} {name}" for name, n in per.items())
        + " per executed event, start included"
    )
    yield Result(what, per["cycles"], "cycles", note=note, raw=per)
