"""Tables of what came out: endpoints, cells, deaths; of several replicates with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mst_abm.records.reader import Run
from mst_abm.report.groups import fatal_rules, groups_of
from mst_abm.report.intervals import FEWEST, Interval, median_of, share_of
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


def endpoints_table(
    table: Mapping[str, np.ndarray],
    reported: Mapping[str, np.ndarray],
    true: Mapping[str, np.ndarray],
) -> Table | None:
    """Each endpoint as reported and as it was, with how many reached it; None if there is none.

    ``table``: columns of `Run.endpoint_table`; ``reported``, ``true``: (replicate,) by name.
    """
    rows = [
        row
        for i in np.flatnonzero(table["is_true"])
        for row in _rows(table, int(i), reported, true)
    ]
    if not rows:
        return None
    n = len(next(iter(true.values())))
    caption = "Endpoints, as the laboratory's reports show them and as they were."
    if n > 1:
        caption += (
            f" Of {n} replicates: medians of those that reached it, and shares, each with its 95 % "
            "interval in brackets (of a median from the order of values, of a share by Wilson's score)."
        )
        caption += f" Fewer than {FEWEST} give no interval of a median." if n < FEWEST else ""
    return Table(caption, ("endpoint", "reported", "true", "what it is"), rows, numeric=(1, 2))


def _rows(
    table: Mapping[str, np.ndarray],
    place: int,
    reported: Mapping[str, np.ndarray],
    true: Mapping[str, np.ndarray],
) -> list[tuple[str, str, str, str]]:
    name, unit = str(table["endpoint"][place]), str(table["unit"][place])
    text, words = str(table["description"][place]), str(table["categories"][place])
    is_seen = bool(table["is_reported"][place])
    if not words:
        values = [_quantity(reported[name], unit), _quantity(true[name], unit)]
        return [(name, values[0] if is_seen else "not measured", values[1], text)]
    names = words.split("|")
    if len(true[name]) == 1:
        seen, was = (_word(v[name][0], names) for v in (reported, true))
        return [(name, seen if is_seen else "not measured", was, text)]
    rows = []
    for code, word in enumerate(names):
        seen_n, true_n = ((v[name] == code).sum() for v in (reported, true))
        if seen_n or true_n:
            seen, was = _part(reported[name], code), _part(true[name], code)
            rows.append((f"{name}: {word}", seen if is_seen else "not measured", was, text))
    return rows or [(name, "-", "-", text)]


def _word(value: float, names: list[str]) -> str:
    return names[int(value)] if np.isfinite(value) else "-"


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


def kills_table(run: Run) -> Table | None:
    """Leukaemia cells lost by the rule that took them; None if there were none."""
    lost = {
        rule: cells.sum(axis=1) for rule, cells in run.leukaemia_deaths().items() if cells.any()
    }
    if not lost:
        return None
    total = sum(int(cells.sum()) for cells in lost.values())
    rows = [
        (rule, shown(median_of(cells)), f"{cells.sum() / total:.1%}")
        for rule, cells in sorted(lost.items(), key=lambda item: (-item[1].sum(), item[0]))
    ]
    rows.append(("all", shown(median_of(np.sum(list(lost.values()), axis=0))), "100.0%"))
    return Table(
        f"Leukaemia cells lost by rule{_of(run)}; the shares add up.",
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
        f"Deaths of all kinds of cells by rule{_of(run)}.", ("rule", "events"), rows, numeric=(1,)
    )


def _of(run: Run) -> str:
    n = len(run.replicates)
    return "" if n == 1 else f", medians of {n} replicates with 95 % intervals"
