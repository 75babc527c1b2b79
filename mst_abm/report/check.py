"""What a scenario will do and how large it is, before anything runs."""

from __future__ import annotations

import math
from textwrap import fill

import numpy as np

from mst_abm.model.compile import CompiledModel, compile_model
from mst_abm.model.definition import n_sites
from mst_abm.model.english import basis, count_assumptions, count_others, read_back
from mst_abm.model.fields import block_width, range_of
from mst_abm.report.summary import UNCUT, duration, number
from mst_abm.runs.needs import initial_cells, needs_of, shown_bytes
from mst_abm.runs.simulation import check_addresses
from mst_abm.runs.tiled import FEWEST_TRIES, LARGEST_ERROR, plans, tile_side
from mst_abm.runs.timetable import run_edges
from mst_abm.scenario.definition import Scenario

LINE = 110


def check_text(scenario: Scenario) -> str:
    """Compile a scenario and describe it; nothing is simulated.

    Raises
    ------
    ModelError
        If the rules contradict each other.
    """
    compiled = compile_model(scenario.model, scenario.entering, tile_side(scenario.run))
    edges = run_edges(scenario, compiled)
    check_addresses(compiled.geometry, len(edges) - 1)
    lines = _head(scenario)
    lines += _rules(scenario)
    lines += protocol_lines(scenario)
    lines += _spaces(scenario)
    lines += _fields(scenario)
    lines += _tiles(scenario, compiled, edges)
    needs = needs_of(scenario, compiled)
    n, total = count_assumptions(scenario.model)
    lines += [
        "",
        f"species: {len(compiled.species) - 1}, kinds of event: {len(compiled.tallies)}",
        f"memory: about {shown_bytes(needs.state)} for each replicate, {shown_bytes(needs.memory)} for a process "
        "with one",
        f"disc: about {shown_bytes(needs.record)} of record, {shown_bytes(needs.checkpoints)} of checkpoints "
        "while it runs",
        f"assumptions: {n} of {total} numbers",
        f"the others: {count_others(scenario.model)}",
    ]
    return "\n".join(lines) + "\n"


def _head(scenario: Scenario) -> list[str]:
    run = scenario.run
    snapshots = (
        f", snapshots every {duration(run.snapshots_every_h)}" if run.snapshots_every_h else ""
    )
    start = f", starts as {scenario.start}" if scenario.start else ""
    calm = f" ({duration(run.quiet.exchange_h)} in quiet stretches)" if run.quiet else ""
    end = f", no further than {run.stop.removeprefix('at ')}" if run.stop != "at end" else ""
    return [
        f"{scenario.name}{start}: {duration(run.until_h)}{end}, seed {run.seed}, exchange every"
        f" {duration(run.exchange_h)}{calm}, counts every {duration(run.counts_every_h)}{snapshots}"
    ]


def _rules(scenario: Scenario) -> list[str]:
    sentences = map(str, read_back(scenario.model))
    return ["", *(fill(text, LINE, subsequent_indent="    ") for text in sentences)]


def protocol_lines(scenario: Scenario) -> list[str]:
    """What is given, decided and seen, a line each."""
    acts = [
        (dose.start_h, f"{dose.drug} {number(dose.amount_mg)} mg {_over(dose.duration_h)}")
        for dose in scenario.doses
    ]
    acts += [
        (i.at_h, f"{i.label}, {number(sum(n for _, _, n in i.cells))} cells")
        for i in scenario.infusions
    ]
    acts += [
        (r.at_h, f"{r.compartment}.{r.product.text or r.product.type} set to {number(r.number)}")
        for r in scenario.resets
    ]
    width = max((len(duration(at)) for at, _ in acts), default=0)
    lines = [f"  {duration(at):>{width}}  {text}" for at, text in sorted(acts)]
    if lines:
        lines = ["", "protocol", *lines]
    if scenario.reactions:
        lines += ["", "decided once a day for each patient, on what the laboratory reports"]
        lines += [fill(f"  {r}", LINE, subsequent_indent="    ") for r in scenario.reactions]
    return lines + _observed(scenario)


def _observed(scenario: Scenario) -> list[str]:
    """What of the patient is seen, and how often; observables read as they are stay out."""
    rows = []
    for item in scenario.observables:
        assay = item.observed
        if not assay.reference:
            continue
        words = [f"every {assay.every_d} d" if assay.every_d else "never"]
        words += [f"{number(assay.cells)} cells counted"] if assay.cells else []
        words += [f"cells of {assay.volume / 1e9:.3g} uL counted"] if assay.volume else []
        words += (
            [f"not detected below {assay.limit:g} {item.unit}".removesuffix(" 1")]
            if assay.limit
            else []
        )
        rows.append(
            f"  {item.name}: {', '.join(words)} [{basis(assay.number_class, assay.reference)}]"
        )
    return (
        ["", "seen by the laboratory", *(fill(r, LINE, subsequent_indent="    ") for r in rows)]
        if rows
        else []
    )


def _over(hours: float) -> str:
    return f"over {duration(hours)}" if hours else "at once"


def _spaces(scenario: Scenario) -> list[str]:
    """One line per compartment: cells, sites, occupancy, part of the body."""
    lines = ["", f"{'compartment':<16} {'cells':>12} {'sites':>12} {'taken':>7} {'of body':>10}"]
    for compartment in scenario.model.compartments:
        cells, sites = initial_cells(scenario, compartment.name), n_sites(compartment)
        taken = f"{cells / sites:.0%}" if sites else "-"
        lines.append(
            f"{compartment.name:<16} {number(round(cells)):>12} {number(sites) if sites else '-':>12}"
            f" {taken:>7} {compartment.share:>10.3g}"
        )
    return lines


def _fields(scenario: Scenario) -> list[str]:
    """Blocks of fields, and whether they are too coarse for what they hold."""
    spaces = {c.name: c for c in scenario.model.compartments}
    lines = []
    for field in scenario.model.fields:
        space = spaces[field.compartment]
        width, reach = block_width(field, space), range_of(field)
        blocks = " x ".join(str(n // field.block) for n in space.shape)
        far = f"reaches sqrt(D / decay) = {reach:.3g} um"
        if not 0.0 < reach < math.inf:
            far = "reaches everything, for nothing is lost" if reach else "does not spread"
        lines += ["", f"field: {field.name} in {blocks} blocks of {width:g} um, {far}"]
        if 0.0 < reach < width:
            lines.append(
                f"warning: fields.{field.name}.block: expected blocks no wider than the {reach:.3g} um "
                f"that the field reaches, got {width:g} um; make them smaller, or use 'near'."
            )
    return lines


def _tiles(scenario: Scenario, compiled: CompiledModel, edges: np.ndarray) -> list[str]:
    """How tiled mode will run, and whether the window is too long for it."""
    lines = []
    for plan in plans(compiled, scenario.run, edges):
        lines += [
            "",
            f"tiled: {plan.compartment} in {plan.n_tiles:,} tiles of {plan.side} or more sites a side; "
            f"windows of {duration(plan.window_h)} at most, in which the busiest cell tries "
            f"{plan.tries:.2g} things; estimated error {plan.error:.2%}",
        ]
        if plan.error > LARGEST_ERROR:
            enough = plan.window_h * LARGEST_ERROR / plan.error
            lines.append(
                f"warning: run.window: expected {duration(enough)} or less for an error of "
                f"{LARGEST_ERROR:.1%}, got {duration(plan.window_h)}; shorten it, or leave it out."
            )
        if 0.0 < plan.tries < FEWEST_TRIES:
            lines.append(
                f"warning: run.window: windows of {duration(plan.window_h)} are so short that most of the "
                "time goes into changing tiles; leave it out."
            )
    if scenario.run.mode == "tiled" and not lines:
        lines += ["", UNCUT]
    return lines
