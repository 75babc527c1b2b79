"""Tables of what came out: endpoints, cells, deaths; of several replicates with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mst_abm.clinic.intervals import FEWEST, Interval, median_of, share_of
from mst_abm.records.reader import Run
from mst_abm.report.groups import fatal_rules, groups_of
from mst_abm.report.page import Table
from mst_abm.report.summary import duration, number

MOST_RULES = 25


def shown(interval: Interval, unit: str = "") -> str:
    """A number with its interval, if there is one, and its unit."""
    value = "infinite" if np.isinf(interval.value) else number(interval.value)
    if np.isfinite(interval.low):
        high = "infinite" if np.isinf(interval.high) else number(interval.high)
        value += f" ({number(interval.low)} to {high})"
    return value if unit in ("", "1", "dimensionless") else f"{value} {unit}"


def percent(interval: Interval) -> str:
    """A share with its interval."""
    return (
        f"{100 * interval.value:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
        if np.isfinite(interval.value)
        else "-"
    )


Values = Mapping[str, np.ndarray]


def endpoints_table(table: Values, reported: Values, true: Values) -> Table | None:
    """Each endpoint as reported and as it was, with how many reached it; None if there is none.

    ``table``: columns of `Run.endpoint_table`; ``reported``, ``true``: (replicate,) by name.
    """
    rows = []
    for place in np.flatnonzero(table["is_true"]):
        name, text = str(table["endpoint"][place]), str(table["description"][place])
        words, unit = str(table["categories"][place]), str(table["unit"][place])
        seen, was = (readings(v[name], unit, words) for v in (reported, true))
        is_seen = bool(table["is_reported"][place])
        found = [word for word in dict.fromkeys((*seen, *was)) if word in seen or word in was]
        for word in found:
            before = seen.get(word, "-") if is_seen else "not measured"
            rows.append((f"{name}: {word}" if word else name, before, was.get(word, "-"), text))
    if not rows:
        return None
    n = len(next(iter(true.values())))
    caption = "Endpoints, as the laboratory's reports show them and as they were." + explained(n)
    return Table(caption, ("endpoint", "reported", "true", "what it is"), rows, numeric=(1, 2))


def explained(n: int) -> str:
    """What the numbers of an endpoint of n replicates are."""
    if n == 1:
        return ""
    text = (
        f" Of {n} replicates: medians of those that reached it, and shares, each with its 95 % "
        "interval in brackets (of a median from the order of values, of a share by Wilson's score)."
    )
    return text + (f" Fewer than {FEWEST} give no interval of a median." if n < FEWEST else "")


def readings(values: np.ndarray, unit: str, categories: str) -> dict[str, str]:
    """An endpoint of all replicates in words: "" by its value, or by category where it has any."""
    names = categories.split("|") if categories else []
    if not names:
        return {"": _quantity(values, unit)}
    if len(values) == 1:
        return {"": names[int(values[0])] if np.isfinite(values[0]) else "-"}
    return {
        word: _part(values, code) for code, word in enumerate(names) if (values == code).any()
    } or {"": "-"}


def _part(values: np.ndarray, code: int) -> str:
    n, of = int((values == code).sum()), len(values)
    return f"{n} of {of}, {percent(share_of(n, of))}"


def _quantity(values: np.ndarray, unit: str) -> str:
    """The median of those that reached it."""
    reached = values[~np.isnan(values)]
    if not len(reached):
        return "not reached"
    text = shown(median_of(reached), unit)
    if len(reached) < len(values):
        text += f"; reached by {len(reached)} of {len(values)}"
    return text


def cells_table(run: Run) -> Table:
    """Kinds of cells everywhere: start, lowest, end."""
    rows = []
    for compartment, groups in groups_of(run).items():
        for group in groups:
            counts = group.counts
            lowest = duration(float(np.median(run.times_h[counts.argmin(axis=1)])))
            rows.append(
                (
                    f"{compartment}: {group.label}",
                    number(float(np.median(counts[:, 0]))),
                    f"{number(float(np.median(counts.min(axis=1))))} at {lowest}",
                    shown(median_of(counts[:, -1])),
                )
            )
    several = len(run.replicates) > 1
    caption = "Simulated cells" + (
        f", medians of {len(run.replicates)} replicates, in brackets the 95 % interval."
        if several
        else "."
    )
    return Table(caption, ("cells", "start", "lowest", "end"), rows, numeric=(1, 2, 3))


def kills_of(run: Run) -> dict[str, np.ndarray]:
    """int64 (replicate,) by rule: leukaemia cells lost in the whole run."""
    lost = run.leukaemia_deaths()
    return {rule: cells.sum(axis=1) for rule, cells in lost.items() if cells.any()}


def kills_table(lost: Mapping[str, np.ndarray], of: str = "") -> Table | None:
    """Leukaemia cells lost by the rule that took them, `kills_of` one or more runs; None if there were none."""
    if not lost:
        return None
    everything = np.sum(list(lost.values()), axis=0)
    n, total = len(everything), int(everything.sum())
    rows = [
        (rule, shown(median_of(cells)), f"{cells.sum() / total:.1%}")
        for rule, cells in sorted(lost.items(), key=lambda item: (-item[1].sum(), item[0]))
    ]
    rows.append(("all", shown(median_of(everything)), "100.0%"))
    return Table(
        f"Leukaemia cells lost by rule{of}{_several(n)}; the shares add up.",
        ("rule", "simulated cells lost", "share of all"),
        rows,
        numeric=(1, 2),
    )


def deaths_table(run: Run) -> Table | None:
    """Deaths of any cell by the rule that caused them."""
    fatal = fatal_rules(run)
    found = {
        key[0]: n.sum(axis=1)
        for key, n in run.events_by("rule").items()
        if key[0] in fatal and n.any()
    }
    if not found:
        return None
    ranked = sorted(found.items(), key=lambda item: (-item[1].sum(), item[0]))
    rows = [(rule, shown(median_of(n))) for rule, n in ranked[:MOST_RULES]]
    rest = ranked[MOST_RULES:]
    if rest:
        rows.append(
            (f"{len(rest)} more rules", shown(median_of(np.sum([n for _, n in rest], axis=0))))
        )
    return Table(
        f"Deaths of all kinds of cells by rule{_several(len(run.replicates))}.",
        ("rule", "events"),
        rows,
        numeric=(1,),
    )


def _several(n: int) -> str:
    return "" if n == 1 else f", medians of {n} replicates with 95 % intervals"
