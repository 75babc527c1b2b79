"""The full patient beside the reference model: what generality and rich rules cost an event."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.attempts import account
from benchmarks.plain_c import FILLED, shape_overrides
from benchmarks.timing import Result, cpu_seconds, median_ratio, taking_turns
from benchmarks.whole import CONFIGS

GOAL = 2.0
SIDE, HOURS = 64, 2.0  # of the reference model's runs


@dataclass(frozen=True)
class Period:
    """Days of the patient; first from which the account is made, then timed day by day."""

    name: str
    first_day: float
    days: float


def versus_reference(config: str, periods: tuple[Period, ...], parts: int) -> Iterator[Result]:
    """Cost per executed event and per attempt by the reference model's, in turns, part by part.

    A period is cut into ``parts`` of equal length, each timed beside one run of the reference
    model. The account of attempts is made on a second simulation of the same seed, not timed.
    """
    from mst_abm import Simulation, load_scenario

    scenario = load_scenario(CONFIGS / config)
    reference = load_scenario("reference", overrides=shape_overrides(SIDE, FILLED, HOURS))
    patient, twin = Simulation(scenario), Simulation(scenario)
    patient.advance(scenario.run.exchange_h)  # compiles
    Simulation(reference).advance(HOURS)
    name = config.removesuffix(".yaml")
    for period in periods:
        begin = max(24 * period.first_day, patient.time_h)
        patient.advance(begin)
        twin.advance(begin)
        yield from _costs(name, period, patient, reference, parts)
        book = account(twin, patient.time_h)
        executed = sum(book.executed.values())
        yield Result(
            f"{name}, {period.name}: null events",
            100 * (1 - executed / book.attempts),
            "%",
            note="of all attempts; where they go:",
            raw={
                "by compartment": dict(book.by_compartment),
                "null": [[*key, n] for key, n in book.null_events().most_common()],
                "attempts": book.attempts,
                "estimated": book.estimated,
            },
            table=tuple(book.lines()),
        )


def _costs(name: str, period: Period, patient: Any, reference: Any, parts: int) -> Iterator[Result]:
    """One line per executed event, one per attempt."""
    from mst_abm import Simulation

    done: dict[str, list[dict[str, int]]] = {"patient": [], "reference": []}
    begin, end = patient.time_h, 24 * (period.first_day + period.days)

    def treated(i: int) -> float:
        before = patient.statistics
        to = begin + (end - begin) * (i + 1) / parts
        seconds = cpu_seconds(lambda: patient.advance(to))
        after = patient.statistics
        done["patient"].append({k: after[k] - before[k] for k in after})
        return seconds

    def plain(i: int) -> float:
        simulation = Simulation(reference, seed=i + 1)
        seconds = cpu_seconds(lambda: simulation.advance(HOURS))
        done["reference"].append(simulation.statistics)
        return seconds

    seconds = taking_turns({"patient": treated, "reference": plain}, parts)
    for kind, key in (("executed event", "executed"), ("attempt", "attempts")):
        cost = {
            who: [1e9 * s / n[key] for s, n in zip(seconds[who], done[who], strict=True)]
            for who in seconds
        }
        middle = {who: statistics.median(values) for who, values in cost.items()}
        yield Result(
            f"{name}, {period.name}: {kind} by reference",
            median_ratio(cost["patient"], cost["reference"]),
            "x",
            GOAL if key == "executed" else None,
            f"{middle['patient']:.0f} ns v {middle['reference']:.1f} ns, reference {SIDE}^3",
            {"ns": cost, "done": done["patient"]},
            # of the whole period: its parts differ by nature, which is no noise
            cost=(1e9 * sum(seconds["patient"]) / sum(n[key] for n in done["patient"]),),
        )
