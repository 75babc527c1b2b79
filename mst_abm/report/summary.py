"""A short table of what happened in a run, as plain text."""

from __future__ import annotations

import numpy as np

from mst_abm.records.reader import Run
from mst_abm.records.schema import Decided
from mst_abm.report.groups import Group, fatal_rules, groups_of

#: What a run in tiled mode is where nothing is cut.
UNCUT = "tiled: no lattice is large enough to be cut; the run is exact"

MOST_RULES = 8
DISCLAIMER = "A research instrument; nothing here is advice on treating patients."


def summary(run: Run) -> str:
    """Start, lowest and final count of every kind of cell, events by rule, endpoints, the file.

    With several replicates every number is the median over them.
    """
    lines = _head(run)
    if run.n_records:
        lines += _cells(run)
        lines += _reservoirs(run)
        lines += _events(run)
        lines += _leukaemia(run)
    lines += _given(run)
    lines += _decisions(run)
    lines += _endpoints(run)
    lines += _tail(run)
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """A count or a quantity in at most nine characters."""
    if not np.isfinite(value):
        return "-"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    if 1e3 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    if 0.01 <= abs(value) < 1e3:
        return f"{value:.4g}"
    return f"{value:.3g}"


def duration(hours: float) -> str:
    """Hours below two days, days from there on."""
    return f"{hours:.4g} h" if abs(hours) < 48 else f"{hours / 24:.4g} d"


def _head(run: Run) -> list[str]:
    n = len(run.replicates)
    last = run.times_h[-1] if run.n_records else 0.0
    word = "replicate" if n == 1 else "replicates, medians are shown"
    seed = run.attributes["seed"]
    status = "still running or killed" if run.status == "running" else run.status
    counted = "all counts are simulated cells"
    if run.attributes.get("engine") == "mean-field":
        counted = (
            "mean field: all counts are mean numbers, per simulated cell of the scenario's share"
        )
    return [
        f"{run.name}: {status}, {duration(last)} simulated, seed {seed}, {n} {word}",
        counted,
    ]


def _cells(run: Run) -> list[str]:
    """One table for each compartment, all of one width."""
    tables = groups_of(run)
    shares = dict(zip(run.compartment_names, run.compartments["share"], strict=True))
    titles = {name: _title(name, float(share)) for name, share in shares.items()}
    labels = [f"  {group.label}" for groups in tables.values() for group in groups]
    width = max(len(text) for text in (*titles.values(), *labels))
    columns = f"{'start':>9}  {'lowest':>9} {'at':>8}  {'highest':>9} {'at':>8}  {'end':>9}"
    lines: list[str] = []
    for name, groups in tables.items():
        lines += ["", f"{titles[name]:<{width}}  {columns if groups else 'none'}"]
        lines += [f"{'  ' + group.label:<{width}}  {_row(run, group)}" for group in groups]
    return lines


def _reservoirs(run: Run) -> list[str]:
    """What became of classes that were, or are, too rare for the sample."""
    lines = []
    kinds = dict(zip(run.compartment_names, run.compartments["kind"], strict=True))
    for i, name in enumerate(run.reservoirs.get("reservoir", ())):
        cells = run.body_cells(i)
        is_apart = run.is_reserved[:, :, i]
        is_gone = is_apart[:, -1] & (cells[:, -1] == 0)
        is_below = is_apart[:, -1] & ~is_gone
        parts = []
        if is_below.any():
            rest = f" in {is_below.sum()} of {len(cells)}" if not is_below.all() else ""
            is_lattice = kinds[run.reservoirs["compartment"][i]] == "lattice"
            words = "below patch resolution" if is_lattice else "too few for the sample"
            parts.append(f"{words}{rest}: {_median(cells[is_below, -1])} cells")
        if is_gone.any():
            parts.append("extinct" + (f" in {is_gone.sum()} of {len(cells)}" * (len(cells) > 1)))
        if not is_apart[:, -1].all():
            is_back = ~is_apart[:, -1] & is_apart.any(axis=1)
            words = "back in the sample" if is_back.any() else "in the sample"
            parts.append(f"{words}: {_median(cells[~is_apart[:, -1], -1])} cells")
        low = duration(float(np.median(run.times_h[cells.argmin(axis=1)])))
        parts.append(f"lowest {_median(cells.min(axis=1))} at {low}")
        lines.append(f"  {name}: {'; '.join(parts)}")
    return ["", "reservoirs, cells of the whole body", *lines] if lines else []


def _title(compartment: str, share: float) -> str:
    return compartment if share == 1 else f"{compartment} ({share:.2g} of the body)"


def _row(run: Run, group: Group) -> str:
    counts, times = group.counts, run.times_h
    start, end = _median(counts[:, 0]), _median(counts[:, -1])
    low, high = _median(counts.min(axis=1)), _median(counts.max(axis=1))
    low_at = duration(float(np.median(times[counts.argmin(axis=1)])))
    high_at = duration(float(np.median(times[counts.argmax(axis=1)])))
    return f"{start:>9}  {low:>9} {low_at:>8}  {high:>9} {high_at:>8}  {end:>9}"


def _median(values: np.ndarray) -> str:
    return number(float(np.median(values)))


def _events(run: Run) -> list[str]:
    """Deaths by the rule that caused them, then the other rules that acted most."""
    rows = list(run.events_by("rule", "verb").items())
    totals = {key: float(np.median(n.sum(axis=1))) for key, n in rows if n.any()}
    if not totals:
        return ["", "events: none"]
    fatal = fatal_rules(run)
    ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    deaths = [(rule, n) for (rule, _), n in ranked if rule in fatal]
    others = [(rule, n) for (rule, _), n in ranked if rule not in fatal]
    lines = ["", f"events: {number(sum(totals.values()))}"]
    for title, items in (("deaths by rule", deaths), ("other events by rule", others)):
        if items:
            width = max(len(rule) for rule, _ in items[:MOST_RULES])
            lines += ["", title]
            lines += [f"  {rule:<{width}}  {number(n):>9}" for rule, n in items[:MOST_RULES]]
            if len(items) > MOST_RULES:
                rest = sum(n for _, n in items[MOST_RULES:])
                lines.append(f"  {len(items) - MOST_RULES} more rules, {number(rest)} together")
    return lines


def _given(run: Run) -> list[str]:
    given = run.given
    if not len(given["name"]):
        return []
    lines = ["", "given, as planned" if run.reactions else "given"]
    seen: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(given["name"], given["amount_unit"], strict=True)):
        seen.setdefault((str(key[0]), str(key[1])), []).append(i)
    for (name, unit), rows in seen.items():
        amount = float(given["amount"][rows].sum())
        when = f"at {duration(given['start'][rows[0]])}"
        if len(rows) > 1:
            when = f"in {len(rows)} doses from {duration(given['start'][rows[0]])}"
        over = float(given["duration"][rows[0]])
        when += f", over {duration(over)}{' each' * (len(rows) > 1)}" if over else ""
        lines.append(f"  {name}: {number(amount)} {'cells' if unit == 'cell' else unit}, {when}")
    return lines


def _decisions(run: Run) -> list[str]:
    """Every rule of a protocol that reacts: how often it was followed, when, on seeing what."""
    lines = ["", "decided on what was seen"] if run.reactions else []
    columns = [run.reactions.get(column, ()) for column in ("name", "when", "done")]
    for name, when, done in zip(*columns, strict=True):
        mine = [d for d in run.decisions if d.name == name]
        title = "" if str(done).startswith(str(name)) else f"{name}: "
        lines.append(f"  {title}when {when}: {done}{'' if mine else '; never'}")
        if len(run.replicates) == 1:
            lines += [f"    at {duration(d.time_h)}, seen {_seen(d)}" for d in mine]
        elif mine:
            n, who = len(mine), len({d.replicate for d in mine})
            at = duration(float(np.median([d.time_h for d in mine])))
            times = "once" if n == 1 else f"{n} times"
            lines.append(f"    {times} in {who} of {len(run.replicates)} replicates, median {at}")
    return lines


def _seen(decision: Decided) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in decision.seen.items())


def _leukaemia(run: Run) -> list[str]:
    """Every leukaemia cell lost by the rule that took it; sums over replicates, so that they add up."""
    lost = {rule: int(cells.sum()) for rule, cells in run.leukaemia_deaths().items() if cells.any()}
    if not lost:
        return []
    ranked = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
    total = sum(lost.values())
    of = "" if len(run.replicates) == 1 else f", {len(run.replicates)} replicates together"
    rows = [*((rule, n, f"{n / total:6.1%}") for rule, n in ranked), ("all", total, "")]
    width, room = (max(len(f"{row[i]:,}" if i else str(row[0])) for row in rows) for i in (0, 1))
    lines = ["", f"leukaemia cells lost, by rule{of}"]
    return lines + [f"  {n:<{width}}  {k:>{room},}  {share}".rstrip() for n, k, share in rows]


def _endpoints(run: Run) -> list[str]:
    """Each endpoint as reported, beside it the true one where any differs."""
    table = run.endpoint_table
    if not len(table["endpoint"]):
        return []
    if not len(run.observed_times_h):
        return ["", "endpoints: none, they are read at the end of a run"]
    rows = [row for i in np.flatnonzero(table["is_true"]) for row in _endpoint(run, int(i))]
    if not rows:
        return []
    rows.insert(0, ("endpoints", "reported", "true", ""))
    if all(seen == true for _, seen, true, _ in rows[1:]):
        rows = [("endpoints", "", "", "")] + [
            (name, seen, "", text) for name, seen, _, text in rows[1:]
        ]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1, 2)]
    return ["", *(_columns(row, widths) for row in rows)]


def _columns(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [f"{text:<{width}}" for text, width in zip(row, widths, strict=False) if width]
    return "  ".join([*cells, row[-1]]).rstrip()


def _endpoint(run: Run, place: int) -> list[tuple[str, str, str, str]]:
    """Name, as reported, true, description; a row for each category if there are several replicates."""
    table = run.endpoint_table
    name, text = str(table["endpoint"][place]), str(table["description"][place])
    is_reported, unit = bool(table["is_reported"][place]), str(table["unit"][place])
    n = len(run.replicates)
    if not table["categories"][place] or n == 1:
        if table["categories"][place]:
            true, seen = (run.categories(name, is_true=t)[0] or "-" for t in (True, False))
        else:
            true = _reached(run.true_endpoints[name], unit)
            seen = _reached(run.endpoints[name], unit)
        return [(f"  {name}", seen if is_reported else "not measured", true, text)]
    rows = []
    for word in str(table["categories"][place]).split("|"):
        true_n, seen_n = (
            int((run.categories(name, is_true=t) == word).sum()) for t in (True, False)
        )
        if true_n or seen_n:
            seen = f"{seen_n} of {n}" if is_reported else "not measured"
            rows.append((f"  {name}: {word}", seen, f"{true_n} of {n}", text))
    return rows or [(f"  {name}", "-", "-", text)]


def _reached(values: np.ndarray, unit: str) -> str:
    """The median of those that reached it."""
    reached = values[~np.isnan(values)]
    if not len(reached):
        return "not reached"
    is_endless = np.isinf(np.median(reached))
    text = (
        "infinite" if is_endless else f"{_median(reached)}{'' if unit in ('', '1') else f' {unit}'}"
    )
    return text + f" ({len(reached)} of {len(values)})" * (len(reached) < len(values))


def _tail(run: Run) -> list[str]:
    attributes = run.attributes
    lines = [""]
    if "n_numbers" in attributes:
        n, total = int(attributes["n_assumptions"]), int(attributes["n_numbers"])
        lines.append(f"assumptions: {n} of {total} numbers")
    done = run.statistics
    if done.get("windows"):
        lines.append(
            f"tiled: {done['windows']:,.0f} windows, at most {done['tries_per_window']:.2g} tries of the "
            f"busiest cell in one, estimated error {done['window_error']:.2%}"
        )
    elif attributes.get("mode") == "tiled":
        lines.append(UNCUT)
    if run.digest:
        threads = int(attributes.get("threads", 1))
        lines.append(
            f"digest of the final state: {run.digest[:16]} ({threads} thread{'s' * (threads > 1)})"
        )
    lines.append(f"file: {run.path} ({run.n_records} records, {run.n_snapshots} snapshots)")
    lines.append(DISCLAIMER)
    return lines
