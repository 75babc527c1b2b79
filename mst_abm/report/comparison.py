"""The page of a folder of records: arms or points side by side, each number with how many of how many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.records.reader import open_run
from mst_abm.report.figure import given_times
from mst_abm.report.folder import MOST_COURSES, Found, arms_of, opened, read_arm
from mst_abm.report.page import Figure, Fold, Link, Page, Section, Table, write_page
from mst_abm.report.palette import colour
from mst_abm.report.panels import OBSERVED, Line, Panel, panels_of
from mst_abm.report.results import endpoints_table, explained, kills_table, readings
from mst_abm.report.story import address, basis_section, course_figure, scenario_of

#: More groups than lines that can be told apart are not drawn.
MOST_ARMS = 6
MOST_LINKS = 200


def report_folder(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Write the page of a folder of records.

    Raises
    ------
    RecordError
        If there is no whole record, a library is missing, or the page cannot be written.
    """
    write_page(folder_page(Path(folder), Path(output)), output)


def folder_page(folder: Path, output: Path) -> Page:
    """Everything that is said of a folder; ``output``: where the page will be, for its links."""
    found = [read_arm(arm) for arm in arms_of(folder)]
    if not any(f.replicates for f in found):
        raise RecordError(f"{folder}: no record in it is whole yet; run what is missing.")
    drawn = [f for f in found if f.replicates]
    n = sum(f.replicates for f in found)
    sections = [_runs(found), _endpoints(drawn)]
    sections += [_courses(drawn)] if len(drawn) <= MOST_ARMS else []
    sections += _kills(drawn)
    with open_run(drawn[0].whole[0]) as run:
        sections.append(basis_section(scenario_of(run)))
    sections.append(_data(folder, found, output))
    groups = f"{len(found)} groups" if len(found) > 1 else "one group"
    return Page(
        title=f"{folder.resolve().name}: {n:,} simulated courses",
        lead=f"{n:,} replicates in {groups}, simulated cell by cell.",
        facts=[
            ("Replicates", f"{n:,}"),
            ("Groups", str(len(found))),
            ("Records", f"{sum(len(f.whole) for f in found):,}"),
            ("Left out", str(sum(len(f.left_out) for f in found))),
            ("Version", ", ".join(dict.fromkeys(v for f in found for v in f.versions))),
        ],
        sections=sections,
    )


def _runs(found: Sequence[Found]) -> Section:
    rows = []
    for f in found:
        whole = f"{f.replicates:,} of {f.arm.planned:,}" if f.arm.planned else f"{f.replicates:,}"
        seeds = ", ".join(f.seeds) if len(f.seeds) < 4 else f"{len(f.seeds)} seeds"
        rows.append((f.arm.name, whole, f"{len(f.whole):,} of {len(f.arm.records):,}", seeds))
    table = Table(
        "Groups of replicates; what follows rests on the whole records alone.",
        ("group", "replicates", "whole records", "seed"),
        rows,
        numeric=(1, 2, 3),
    )
    left = [(f.arm.name, name, why) for f in found for name, why in f.left_out.items()]
    folds = [Fold("Records left out", tables=[Table("Not whole.", ("group", "record", "why"), left)], is_printed=True)] if left else []  # fmt: skip
    return Section("What was simulated", tables=[table], folds=folds)


# ---------------------------------------------------------------------- endpoints


def _endpoints(found: Sequence[Found]) -> Section:
    """Groups side by side while they fit, else one table for each."""
    if not any(len(f.table.get("endpoint", ())) for f in found):
        return Section("Endpoints", ["No endpoints: the model has no observables."])
    if len(found) == 1 or len(found) > MOST_ARMS:
        tables = [(f, endpoints_table(f.table, f.reported, f.true)) for f in found]
        if len(found) == 1:
            return Section("Endpoints", tables=[t for _, t in tables if t])
        folds = [Fold(f.arm.name, tables=[t], is_printed=True) for f, t in tables if t]
        return Section("Endpoints", ["Each group by itself:"], folds=folds)
    seen = _side_by_side(found, "reported", "Endpoints as the laboratory's reports show them.")
    was = _side_by_side(found, "true", "Endpoints as they were.")
    return Section(
        "Endpoints", tables=[seen], folds=[Fold("The truth", tables=[was], is_printed=True)]
    )


def _side_by_side(found: Sequence[Found], which: str, caption: str) -> Table:
    names = dict.fromkeys(str(n) for f in found for n in f.table["endpoint"])
    rows = []
    for name in names:
        texts = [_of_group(f, name, which) for f in found]
        for word in dict.fromkeys(word for text in texts for word in text):
            cells = tuple(text.get(word, "-") for text in texts)
            rows.append((f"{name}: {word}" if word else name, *cells))
    smallest = min(f.replicates for f in found)
    ns = "; ".join(f"{f.arm.name} {f.replicates:,}" for f in found)
    note = explained(smallest).replace(f"Of {smallest} replicates", f"Replicates: {ns}. Shown are")
    header = ("endpoint", *(f.arm.name for f in found))
    return Table(caption + note, header, rows, numeric=tuple(range(1, len(header))))


def _of_group(found: Found, name: str, which: str) -> dict[str, str]:
    """An endpoint of one group by category; nothing where the group has none of it."""
    places = np.flatnonzero(found.table["endpoint"] == name)
    if not len(places):
        return {}
    row = {column: values[places[0]] for column, values in found.table.items()}
    if not row["is_true"]:
        return {}
    if which == "reported" and not row["is_reported"]:
        return {"": "not measured"}
    values = (found.true if which == "true" else found.reported)[name]
    return readings(values, str(row["unit"]), str(row["categories"]))


# ---------------------------------------------------------------------- courses


def _courses(found: Sequence[Found]) -> Section:
    """All courses of a single group; of several, every observable with a line for each group."""
    if len(found) > 1:
        figures, text = _compared(found)
        return Section("Time courses", text, figures=figures)
    with opened(found[0]) as runs:
        of = f"of {sum(len(run.replicates) for run in runs)} replicates"
        given = given_times(runs[0])
        figures = [course_figure(p, given, of) for p in panels_of(*runs)]
        return Section("Time courses", _not_drawn(found[0], len(runs)), figures=figures)


def _not_drawn(found: Found, drawn: int) -> list[str]:
    """Says how many records are drawn where those are not all of them."""
    n = len(found.whole)
    if drawn == n:
        return []
    return [
        f"{found.arm.name}: courses are those of {drawn:,} of {n:,} records; of many, {MOST_COURSES} are picked evenly, "
        "and of those the ones with the commonest times are drawn."
    ]


def _compared(found: Sequence[Found]) -> tuple[list[Figure], list[str]]:
    """Every observable with a line for each group, and what is not drawn."""
    notes: list[str] = []
    lines: dict[tuple[str, str], list[Line]] = {}
    times: dict[tuple[str, str], np.ndarray] = {}
    scales: dict[tuple[str, str], Panel] = {}
    for i, f in enumerate(found):
        with opened(f) as runs:
            notes += _not_drawn(f, len(runs))
            for panel in panels_of(*runs):
                if panel.section != OBSERVED:
                    continue
                for line in panel.lines:
                    key = (line.label, panel.unit)
                    if key in times and not np.array_equal(times[key], panel.times_h):
                        end = min(len(times[key]), len(panel.times_h))
                        if not np.array_equal(times[key][:end], panel.times_h[:end]):
                            continue
                        times[key] = times[key][:end]
                    times.setdefault(key, panel.times_h)
                    scales.setdefault(key, panel)
                    drawn = replace(line, label=f.arm.name, colour=colour(i), dash=i)
                    lines.setdefault(key, []).append(drawn)
    figures = []
    for key, of in lines.items():
        end = len(times[key])
        cut = tuple(replace(line, values=line.values[:, :end]) for line in of)
        values = np.concatenate([line.values.ravel() for line in cut])
        panel = Panel(OBSERVED, key[0], key[1], times[key], cut, scales[key].scale)
        if panel.scale == "log" and not (values > 0).any():
            panel = replace(panel, scale="linear")
        figures.append(course_figure(panel, [], "of each group", before=f"{key[0]}: "))
    return figures, notes


def _kills(found: Sequence[Found]) -> list[Section]:
    tables = [
        t
        for f in found
        if (t := kills_table(f.kills, f" in {f.arm.name}" if len(found) > 1 else ""))
    ]
    return [Section("Deaths by rule", tables=tables[:MOST_ARMS])] if tables else []


# ---------------------------------------------------------------------- data


def _data(folder: Path, found: Sequence[Found], output: Path) -> Section:
    links = [
        Link(address(path, output), f"{path.name}: table of endpoints")
        for name in ("endpoints.csv", "endpoints.parquet", "campaign.json")
        if (path := folder / name).exists()
    ]
    records = [path for f in found for path in f.whole]
    links += [Link(address(p, output), str(p.relative_to(folder))) for p in records[:MOST_LINKS]]
    text = [f"{len(records) - MOST_LINKS:,} more records are not listed."] if len(records) > MOST_LINKS else []  # fmt: skip
    return Section("Data", text, links=links)
