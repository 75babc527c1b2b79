"""A scenario as a text by the ODD protocol, generated from what the engine is given, with tables of all parameters.

Overview, design concepts, details: the seven elements of Grimm et al. 2020 (doi:10.18564/jasss.4259). What a program cannot know,
why the model was made, is left to be filled in and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mst_abm.model.definition import Compartment, InitialCells, n_sites
from mst_abm.model.english import count_assumptions, read_back
from mst_abm.model.parameters import Parameter, parameters_of
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK
from mst_abm.report.check import protocol_lines
from mst_abm.report.summary import duration, number
from mst_abm.scenario.definition import Scenario

_VERBS = {
    "die": "death", "become": "change of state", "divide": "division", "move": "movement",
    "contact": "action on a neighbour", "paracrine": "action at a distance", "leave": "leaving for another space",
    "arrive": "arrival",
}  # fmt: skip


def odd_text(scenario: Scenario) -> str:
    """The whole description in Markdown."""
    parts = [
        [f"# {_plain(scenario.name)}: description by the ODD protocol", "", _SOURCE],
        _purpose(scenario),
        _entities(scenario),
        _processes(scenario),
        _concepts(scenario),
        _initialization(scenario),
        _input(scenario),
        _submodels(scenario),
        _parameters(scenario),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + f"\n\n<!-- {MARK} -->\n"


def write_odd(scenario: Scenario, path: Path) -> None:
    """The same into a file."""
    with written(path) as unfinished:
        unfinished.write_text(odd_text(scenario), encoding="utf-8")


_SOURCE = "Generated from the model as it is run. Elements: Grimm et al. 2020, doi:10.18564/jasss.4259. Base units are hour, micrometre and cell."


def _purpose(scenario: Scenario) -> list[str]:
    lines = [
        "## 1. Purpose and patterns",
        "",
        "*To be filled in: the question this scenario is meant to answer.*",
        "",
    ]
    names = [item.name for item in scenario.observables]
    if names:
        lines.append(
            f"Patterns by which it can be judged are the series of its observables ({_listed(names)}) and the endpoints read from them."
        )
    else:
        lines.append("It has no observables; it can be judged by counts of cells and events alone.")
    return lines


def _entities(scenario: Scenario) -> list[str]:
    model = scenario.model
    rows = []
    for kind in model.types:
        axes = "; ".join(f"{axis}: {', '.join(values)}" for axis, values in kind.axes.items())
        counters = ", ".join(f"{c.name} (0 to {c.maximum})" for c in kind.counters)
        rows.append(
            (kind.name, axes or "-", counters or "-", "stands still" if kind.is_static else "cell")
        )
    lines = [
        "## 2. Entities, state variables and scales",
        "",
        "Entities are cells, and the spaces they are in.",
    ]
    lines += ["", *table(("type of cell", "axes of its state", "counters", "kind"), rows), ""]
    lines += table(
        ("space", "made of", "sites", "share of the body"), [_space(c) for c in model.compartments]
    )
    if model.signals:
        lines += [
            "",
            f"Signals are levels of the whole body: {_listed([s.name for s in model.signals])}.",
        ]
    if model.fields:
        lines += ["", f"Fields are levels in space: {_listed([f.name for f in model.fields])}."]
    run = scenario.run
    lines += [
        "",
        f"Time is continuous; {duration(run.until_h)} are simulated, recorded every {duration(run.counts_every_h)}.",
    ]
    return lines


def _space(space: Compartment) -> tuple[str, ...]:
    if space.kind == "mixed":
        return (
            space.name,
            "mixed",
            number(n_sites(space)) if n_sites(space) else "-",
            f"{space.share:.3g}",
        )
    sides = " x ".join(map(str, space.shape))
    made = f"{space.patches} lattice patch{'es' * (space.patches > 1)} of {sides} sites of {space.spacing:g} um, {space.neighbours} neighbours"
    return space.name, made, number(n_sites(space)), f"{space.share:.3g}"


def _processes(scenario: Scenario) -> list[str]:
    kinds = Counter(_VERBS[rule.verb] for rule in scenario.model.rules)
    listed = [f"{name} ({n} rule{'s' * (n > 1)})" for name, n in kinds.items()]
    run = scenario.run
    how = (
        "drawn exactly, one event after another (continuous-time Markov chain)"
        if run.mode == "exact"
        else "drawn in tiles that take turns, which is nearly exact"
    )
    return [
        "## 3. Process overview and scheduling",
        "",
        f"Processes are {_listed(listed)}. Each has a rate for each cell or pair of cells; events happen at random times and are {how}.",
        "",
        f"Every {duration(run.exchange_h)} cells that changed space arrive, signals are integrated over the interval, and what the protocol gives takes "
        "effect; between, rates see the signals of the last exchange.",
    ]


def _concepts(scenario: Scenario) -> list[str]:
    model = scenario.model
    sensing = sorted({m.source for rule in model.rules for m in rule.modifiers})
    words = {
        "signal": "signals", "near": "cells around them", "site": "anatomy next to them",
        "distance": "the distance to anatomy", "counter": "their own counters", "field": "fields",
    }  # fmt: skip
    meets = [r.name for r in model.rules if r.verb in ("contact", "paracrine")]
    lines = [
        "## 4. Design concepts", "",
        "- *Basic principles*: rates of events follow from the state of a cell, its neighbours and shared signals; no cell plans.",
        "- *Emergence*: numbers of cells, endpoints and patterns in space come out of the rules; none is imposed.",
        "- *Adaptation, objectives, learning, prediction*: none.",
        f"- *Sensing*: {'cells sense ' + _listed([words[s] for s in sensing]) if sensing else 'cells sense nothing but their neighbours'}.",
        f"- *Interaction*: {len(meets)} rules are actions of one cell on another" + (f" ({_listed([_plain(name) for name in meets[:6]])}{', ...' if len(meets) > 6 else ''})." if meets else "."),
        f"- *Stochasticity*: times, partners, places and outcomes of all events are random; seed {scenario.run.seed}, the same seed gives the same run.",
        f"- *Collectives*: {'reservoirs hold classes too rare for the sample as numbers of the body' if model.reservoirs else 'none'}.",
    ]  # fmt: skip
    names = [item.name for item in scenario.observables]
    seen = f"counts, events and {_listed(names)}" if names else "counts and events"
    lines.append(f"- *Observation*: {seen}.")
    return lines


def _initialization(scenario: Scenario) -> list[str]:
    rows = [(i.compartment, _what(i), *_amount(i), _where(i)) for i in scenario.model.initial]
    start = f" It starts as {scenario.start}." if scenario.start else ""
    return [
        "## 5. Initialization", "", f"First cells are placed at random unless the table says otherwise.{start}", "",
        *table(("space", "cells", "amount", "measure", "place"), rows),
    ]  # fmt: skip


def _what(item: InitialCells) -> str:
    texts = [product.text or str(product.type) for product, _ in item.species]
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1} more"


def _where(item: InitialCells) -> str:
    words = str(item.placement)
    if item.spacing:
        words += f" {item.spacing:g} um apart"
    if item.radius or item.thickness:
        words += (
            f", {'radius' if item.radius else 'thickness'} {item.radius or item.thickness:g} um"
        )
    return words


def _amount(item: InitialCells) -> tuple[str, str]:
    if not item.amount:
        return "-", "by its place"
    if item.measure == "density":
        return f"{item.amount * 1e9:.6g}", "1/mm^3"
    return f"{item.amount:.6g}", "cell" if item.measure == "number" else "share of sites"


def _input(scenario: Scenario) -> list[str]:
    acts = [line.strip() for line in protocol_lines(scenario) if line.strip()]
    lines = ["## 6. Input data", ""]
    if not acts:
        return [*lines, "None: nothing is given or measured from outside."]
    return [
        *lines,
        "Nothing is read from outside while it runs but the protocol:",
        "",
        "```text",
        *acts,
        "```",
    ]


def _submodels(scenario: Scenario) -> list[str]:
    lines = [
        "## 7. Submodels",
        "",
        "Every rule, signal, field, reservoir and hazard, read back from the numbers used.",
        "",
    ]
    return lines + [f"- **{_plain(s.name)}**: {_plain(s.text)}" for s in read_back(scenario.model)]


def _parameters(scenario: Scenario) -> list[str]:
    n, total = count_assumptions(scenario.model)
    lines = [
        "## Parameters", "",
        f"{n} of {total} numbers that carry a source are assumptions. A source may stand for several parameters of one rule.",
    ]  # fmt: skip
    header = ("name", "value", "unit", "class", "source")
    for section, rows in parameters_of(scenario.model).items():
        lines += ["", f"### {section.capitalize()}", "", *table(header, map(_row, rows))]
    if any(True for _ in _drugs(scenario)):
        lines += ["", "### Drugs", "", *table(header, _drugs(scenario))]
    seen = [
        (f"{o.name}.times", f"{o.times:.6g}", o.unit, o.number_class, o.reference or "assumption")
        for o in scenario.observables
    ]
    if seen:
        lines += ["", "### Observables", "", *table(header, seen)]
    return lines


def _row(parameter: Parameter) -> tuple[str, ...]:
    return (*parameter[:4], parameter.source or "assumption")


def _drugs(scenario: Scenario) -> Iterable[tuple[str, ...]]:
    """Disposition of every drug given; a drug's block names a source and no class."""
    used = {signal.drug for signal in scenario.model.signals}
    used |= {dose.drug for dose in scenario.doses}
    for drug in scenario.drugs:
        if drug.name not in used:
            continue
        unit = "L/h/m^2" if drug.is_per_area else "L/h"
        of = (
            ("assumption" if drug.reference.strip().lower() == "assumption" else "-"),
            drug.reference,
        )
        yield (f"{drug.name}.molar_mass", f"{drug.molar_mass:.6g}", "g/mol", *of)
        yield (f"{drug.name}.clearance", f"{drug.clearance:.6g}", unit, *of)
        for i, (half, part) in enumerate(zip(drug.half_lives_h, drug.fractions, strict=False)):
            yield (f"{drug.name}.half_lives.{i}", f"{half:.6g}", "h", *of)
            yield (f"{drug.name}.fractions.{i}", f"{part:.6g}", "1", *of)


# ---------------------------------------------------------------------- Markdown


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; what would break it is escaped."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = " ".join(str(text).split())
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _listed(words: Sequence[str]) -> str:
    return (
        words[0]
        if len(words) == 1
        else f"{', '.join(words[:-1])} and {words[-1]}"
        if words
        else "none"
    )
