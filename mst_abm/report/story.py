"""The page of one record: what was simulated, on what it rests, what came out, and where the data are."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np

from mst_abm.errors import MstAbmError
from mst_abm.model.english import Sentence, basis, count_assumptions, read_back
from mst_abm.records.reader import Run, open_run
from mst_abm.records.schema import ATTRIBUTES
from mst_abm.report.figure import given_times
from mst_abm.report.live import panel_data, points_data
from mst_abm.report.page import Figure, Fold, Link, Page, Section, Table, write_page
from mst_abm.report.panels import (
    BAND,
    CELLS,
    DEATHS,
    OBSERVED,
    OTHERS,
    RARE,
    SIGNALS,
    Panel,
    panels_of,
    time_unit,
)
from mst_abm.report.results import cells_table, deaths_table, endpoints_table, kills_of, kills_table
from mst_abm.report.space import (
    FEW,
    MOST_FRAMES,
    MOST_VIEWS,
    frames_of,
    lattices_of,
    points_of,
    slice_of,
    types_of,
)
from mst_abm.report.stills import panel_still, points_still, slices_still
from mst_abm.report.summary import duration, number
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario_text

_SECTIONS = {
    OBSERVED: "Truth in the units of a laboratory, once a day",
    CELLS: "Simulated cells in {title}",
    RARE: "Cells of the whole body of classes that a sample is too small for",
    SIGNALS: "Signals shared by the whole body",
    DEATHS: "Deaths since the start, by the rules that caused most of them",
    OTHERS: "Other events since the start, by the rules that acted most",
}
_UNITS = {"level": "without a unit", "events since the start": "number of events"}
#: Files that stand beside a record and belong to it, by the ending of their names.
_SIBLINGS = {".png": "figure", ".mp4": "movie", ".gif": "movie", ".vtkhdf": "cells for ParaView"}


def report_run(record: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Write the page of a record.

    Raises
    ------
    RecordError
        If there is no record, a library is missing, or the page cannot be written.
    """
    with open_run(record) as run:
        write_page(page_of(run, Path(output)), output)


def page_of(run: Run, output: Path) -> Page:
    """Everything that is said of a run; ``output``: where the page will be, for its links."""
    scenario = scenario_of(run)
    sections = [_simulated(run, scenario), _results(run)]
    if run.n_records:
        sections += [_courses(run), *_space(run), *_deaths(run)]
    sections += [basis_section(scenario), _provenance(run, output)]
    return Page(
        title=f"{run.name}: a simulated course",
        lead=_lead(run, scenario),
        facts=_facts(run),
        sections=sections,
    )


def scenario_of(run: Run) -> Scenario | None:
    """The scenario that was run; None if this version reads it no more."""
    try:
        return load_scenario_text(run.scenario_text, name=run.name)
    except MstAbmError:
        return None


def _lead(run: Run, scenario: Scenario | None) -> str:
    n = len(run.replicates)
    last = duration(float(run.times_h[-1])) if run.n_records else "nothing yet"
    start = f", beginning as {scenario.start}" if scenario and scenario.start else ""
    text = f"{last} simulated cell by cell{start}, "
    text += "once" if n == 1 else f"{n} replicates with different random numbers"
    if run.status != "complete":
        words = {"running": "is still going on or was killed"}.get(run.status, f"was {run.status}")
        text += f". The run {words}; what follows ends with the last record that was written"
    return text + "."


def _facts(run: Run) -> list[tuple[str, str]]:
    attributes = run.attributes
    facts = [
        ("Status", run.status),
        ("Replicates", str(len(run.replicates))),
        ("Seed", str(attributes["seed"])),
        ("Version", str(attributes.get("mst_abm", ""))),
    ]
    if "n_numbers" in attributes:
        n, total = attributes["n_assumptions"], attributes["n_numbers"]
        facts.append(("Assumptions", f"{n} of {total} numbers"))
    return facts


# ---------------------------------------------------------------------- what was simulated


def _simulated(run: Run, scenario: Scenario | None) -> Section:
    spaces = run.compartments
    lattices = [run.compartment_names[i] for i in lattices_of(run)]
    n = len(run.compartment_names)
    text = [
        f"The model has {n} space{'s' * (n > 1)} in which every cell is an individual: it divides, changes, moves, meets "
        "others and dies at random times, whose rates the rules give. All rules stand in words under Assumptions."
    ]
    if lattices:
        text.append(
            f"In {' and '.join(lattices)} every cell has a place on a lattice and meets its neighbours; elsewhere cells mix."
        )
    if any(share != 1 for share in spaces["share"]):
        text.append(
            "A sample of the body is simulated: cells of the body are simulated cells divided by the share."
        )
    tables = [_spaces(run)]
    given = _given(run)
    tables += [given] if given else []
    tables += _decided(run)
    if scenario is None:
        text.append(
            "The model was written by another version of the package, which this one does not read; its text is below."
        )
    return Section("What was simulated", text, tables)


def _spaces(run: Run) -> Table:
    rows = []
    spaces = run.compartments
    for i, name in enumerate(run.compartment_names):
        sites = " x ".join(str(n) for n in spaces["shape"][i] if n)
        where = "mixed"
        if spaces["kind"][i] == "lattice":
            n = int(spaces["patches"][i])
            where = f"{n} patch{'es' * (n > 1)} of {sites} sites of {spaces['spacing'][i]:g} um"
        start, end = "-", "-"
        if run.n_records:
            counts = run.counts(name)[:, :, 1:].sum(axis=2)
            start, end = (number(float(np.median(counts[:, t]))) for t in (0, -1))
        rows.append((name, where, f"{spaces['share'][i]:.3g}", start, end))
    header = ("space", "made of", "share of the body", "cells at the start", "cells at the end")
    return Table("Spaces and the cells simulated in them.", header, rows, numeric=(2, 3, 4))


def _given(run: Run) -> Table | None:
    """Everything given, doses of one name in a row."""
    given = run.given
    seen: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(given["name"], given["amount_unit"], strict=True)):
        seen.setdefault((str(key[0]), str(key[1])), []).append(i)
    rows = []
    for (name, unit), of in seen.items():
        over = float(given["duration"][of[0]])
        rows.append(
            (
                name,
                f"{number(float(given['amount'][of].sum()))} {'cells' if unit == 'cell' else unit}",
                str(len(of)),
                duration(float(given["start"][of[0]])),
                duration(over) if over else "at once",
            )
        )
    header = ("given", "in all", "doses", "first at", "each over")
    caption = "What was given" + (", as planned." if run.reactions else ".")
    return Table(caption, header, rows, numeric=(1, 2, 3, 4)) if rows else None


def _decided(run: Run) -> list[Table]:
    """Rules of a protocol that reacts, and how often each was followed."""
    if not run.reactions:
        return []
    rows = []
    for name, when, done in zip(*(run.reactions[c] for c in ("name", "when", "done")), strict=True):
        mine = [d for d in run.decisions if d.name == name]
        at = duration(float(np.median([d.time_h for d in mine]))) if mine else "never"
        who = len({d.replicate for d in mine})
        rows.append((str(name), str(when), str(done), f"{who} of {len(run.replicates)}", at))
    header = ("decision", "when", "what is done", "replicates", "median time")
    return [Table("Decided on what the laboratory reports.", header, rows, numeric=(3, 4))]


# ---------------------------------------------------------------------- what came out


def _results(run: Run) -> Section:
    table = None
    if len(run.observed_times_h):
        table = endpoints_table(run.endpoint_table, run.endpoints, run.true_endpoints)
    tables = [table] if table else []
    text = [] if table else ["No endpoints: they are read at the end of a run, from observables."]
    folds = []
    if run.n_records:
        folds = [
            Fold(
                "Cells at the start, lowest and at the end",
                tables=[cells_table(run)],
                is_printed=True,
            )
        ]
    return Section("Endpoints", text, tables, folds=folds)


def _courses(run: Run) -> Section:
    given = given_times(run)
    of = f"of {len(run.replicates)} replicates"
    figures = [course_figure(panel, given, of) for panel in panels_of(run)]
    return Section("Time courses", figures=figures)


def course_figure(
    panel: Panel, given: list[tuple[float, float]], of: str, before: str = ""
) -> Figure:
    """One panel, still and live; ``of``: whose the courses are, where they are several."""
    caption = before + _SECTIONS[panel.section].format(title=panel.title)
    caption += "." if panel.unit in caption.lower() else f"; {_UNITS.get(panel.unit, panel.unit)}."
    if any(len(line.values) > 1 for line in panel.lines):
        caption += f" Lines: medians {of}; bands: {BAND[1] - BAND[0]:.0%} of them."
    if given and given[0][0] <= panel.times_h[-1]:
        caption += " Grey: doses and infusions."
    if panel.scale != "linear":
        caption += " The axis is logarithmic" + (
            ", linear below 1." if panel.scale == "symlog" else "."
        )
    unit = time_unit(panel.times_h)
    ends = "; ".join(f"{line.label} {number(float(line.middle[-1]))}" for line in panel.lines)
    last = f"{unit[1]} {panel.times_h[-1] / unit[0]:.4g}"
    return Figure(
        caption=caption,
        alt=f"{panel.title}, {panel.unit}. At {last}: {ends}.",
        still=panel_still(panel, given),
        kind="panel",
        live=panel_data(panel, given),
    )


def _space(run: Run) -> list[Section]:
    """Slices through time, then views that turn, of every lattice with snapshots."""
    frames = frames_of(run, MOST_FRAMES)
    if not frames:
        return []
    figures = []
    scale, unit = time_unit(run.times_h)
    for row in lattices_of(run):
        snapshots = {frame: run.snapshot(frame) for frame in frames}
        slices = [slice_of(run, snapshot, row) for snapshot in snapshots.values()]
        shown, name = slices[0], run.compartment_names[row]
        plane = f"plane {shown.plane} of {shown.planes} of " if shown.planes > 1 else ""
        figures.append(
            Figure(
                caption=f"{name.capitalize()} through time: {plane}patch {shown.patch + 1}, every site in the colour of the "
                "type of its cell, white where vacant; lengths in um.",
                alt=f"{name}, {len(slices)} slices. " + _seen(run, slices),
                still=slices_still(run, slices),
            )
        )
        if shown.planes == 1:
            continue
        views = frames_of(run, MOST_VIEWS)
        data = [
            {
                "name": f"{unit} {run.frames['time'][frame] / scale:.4g}",
                "cells": points_data(run, points_of(run, run.snapshot(frame), row)),
            }
            for frame in views
        ]
        last = points_of(run, run.snapshot(views[-1]), row)
        figures.append(
            Figure(
                caption=f"Cells of patch {shown.patch + 1} of {name} in three dimensions, at {data[-1]['name']} "
                "unless another time is chosen; on screen it turns with the mouse, and the key switches types off and on. Types of more than "
                f"{FEW} cells are thinned alike, as the key says.",
                alt=f"{name} in three dimensions at {data[-1]['name']}: "
                + "; ".join(f"{p.type} {len(p.places)} shown" for p in last),
                still=points_still(run, last),
                kind="points",
                live=data,
            )
        )
    return [Section("Cells in space", figures=figures)] if figures else []


def _seen(run: Run, slices: list) -> str:
    """The three commonest types of the first and last slice, in words."""
    names, words = types_of(run), []
    scale, unit = time_unit(run.times_h)
    for shown in (slices[0], slices[-1]):
        sizes = np.bincount(shown.grid.ravel(), minlength=len(names))
        common = [i for i in np.argsort(-sizes, kind="stable")[:3] if sizes[i]]
        parts = [f"{names[i] if i else 'vacant'} {sizes[i] / sizes.sum():.0%}" for i in common]
        words.append(f"{unit} {shown.time_h / scale:.4g}: {', '.join(parts)}")
    return "; ".join(words) + "."


def _deaths(run: Run) -> list[Section]:
    tables = [table for table in (kills_table(kills_of(run)), deaths_table(run)) if table]
    return [Section("Deaths by rule", tables=tables)] if tables else []


# ---------------------------------------------------------------------- on what it rests


def basis_section(scenario: Scenario | None) -> Section:
    """Rules in words with class and source of their numbers."""
    if scenario is None:
        return Section("Assumptions", ["The model cannot be read by this version of the package."])
    n, total = count_assumptions(scenario.model)
    text = [
        f"{n} of {total} numbers of the model are assumptions. A conclusion that hangs on one of them holds as far as "
        "it does not change when that number is varied."
    ]
    table = Table(
        "Every rule, signal, field, reservoir and hazard, read back from the numbers used, and what its number rests on.",
        ("name", "what it says", "class", "source"),
        [(s.name, s.text, s.number_class, _source(s)) for s in read_back(scenario.model)],
    )
    folds = [
        Fold(
            "The rules in words, with class and source of their numbers",
            tables=[table],
            is_printed=True,
        )
    ]
    return Section("Assumptions", text, folds=folds)


def _source(sentence: Sentence) -> str:
    text = basis(sentence.number_class, sentence.reference)
    return text.removeprefix(f"{sentence.number_class}: ")


def _provenance(run: Run, output: Path) -> Section:
    attributes = run.attributes
    rows = [
        (name, str(attributes[name]), words)
        for name, words in ATTRIBUTES
        if name in attributes and str(attributes[name]) and not name.startswith("n_")
    ]
    if run.digest:
        rows.append(("digest", run.digest, "fingerprint of the final state"))
    rows.append(("wall time", f"{run.wall_seconds:.1f} s", "duration on the wall clock"))
    links = [Link(address(run.path, output), f"{run.path.name}: the record, HDF5")]
    links += [
        Link(address(beside, output), f"{beside.name}: {words}")
        for ending, words in _SIBLINGS.items()
        if (beside := run.path.with_suffix(ending)).exists() and beside != output
    ]
    return Section(
        "Provenance and data",
        [
            f"The run can be repeated to the same bits from the record alone: mst-abm verify {run.path.name} --to TIME."
        ],
        [Table("How this record came about.", ("what", "value", "meaning"), rows)],
        folds=[
            Fold("Scenario as it was run", run.scenario_text),
            Fold("Model as it was run", run.model_text),
        ],
        links=links,
    )


def address(file: Path, page: Path) -> str:
    """Where a file is, seen from the page."""
    return quote(os.path.relpath(file.absolute(), page.absolute().parent).replace(os.sep, "/"))
