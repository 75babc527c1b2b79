"""``load_scenario``: reads the files, then the sections in the order they need each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mst_abm.errors import Problem, ScenarioError, did_you_mean
from mst_abm.model.definition import Model
from mst_abm.scenario.cells import read_sets, read_types
from mst_abm.scenario.context import Context
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.document import Node, read_file, read_text, write
from mst_abm.scenario.effects import add_effects, read_levels
from mst_abm.scenario.fields import read_fields
from mst_abm.scenario.hazards import read_hazards
from mst_abm.scenario.merging import find_file, merge, shipped_models
from mst_abm.scenario.observables import read_observables
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.reactions import read_reactions
from mst_abm.scenario.reservoirs import read_reservoirs
from mst_abm.scenario.rules import check_entries, read_rules
from mst_abm.scenario.schema import MODEL_SECTIONS, SwitchSection, _on_or_off
from mst_abm.scenario.signals import read_signals, read_units
from mst_abm.scenario.spaces import read_compartments, read_initial
from mst_abm.scenario.states import read_states
from mst_abm.scenario.treatment import (
    Protocol,
    read_donor,
    read_drugs,
    read_fractions,
    read_patient,
    read_run,
)
from mst_abm.units import shown

#: Sections that map names to definitions.
MAPPINGS = (
    "types", "sets", "switches", "signals", "fields", "observables", "hazards", "drugs",
    "compartments", "reservoirs", "grafts", "states",
)  # fmt: skip

__all__ = ["load_scenario", "load_scenario_text", "shipped_models"]


def load_scenario(path: str | Path, *, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario or model file, or a shipped model by its name.

    Parameters
    ----------
    path : path of a YAML file, or the name of a shipped model
    overrides : texts ``"a.b=value"``, as on the command line

    Raises
    ------
    ScenarioError
        With every mistake found, each with file, line and column.
    """
    try:
        file = find_file(str(path), Path())
    except WordError as error:
        raise ScenarioError([Problem(str(path), 0, 0, str(error))]) from None
    return _load(read_file(file), file.stem, str(file), file.parent, overrides)


def load_scenario_text(
    text: str, *, name: str = "scenario", overrides: Sequence[str] = ()
) -> Scenario:
    """Read a scenario from text, as stored in a record (``resolved_text``)."""
    return _load(read_text(text, name), name, "", Path(), overrides)


def _load(scenario: Node, name: str, path: str, folder: Path, overrides: Sequence[str]) -> Scenario:
    tree, problems = merge(scenario, folder, overrides)
    context = Context(tree, problems)
    for section in MAPPINGS:
        content = context.raw(section) or {}
        if not isinstance(content, dict):
            problems.add((section,), f"expected a mapping (name: ...), got {shown(content)}")
            tree.put(section, Node({}, tree.locate((section,))))
            content = {}
        context.names[section] = list(content)
    _read_switches(context)
    run = read_run(context)
    read_types(context)
    read_sets(context)
    read_compartments(context)
    drugs = read_drugs(context)
    read_units(context)
    patient, donor = read_patient(context), read_donor(context)
    read_fractions(context, patient, donor)
    signals = read_signals(context)
    fields = read_fields(context)
    levels = read_levels(context)
    rules = read_rules(context)
    rules, signals = add_effects(context, rules, signals, levels)
    observables = read_observables(context)
    hazards = read_hazards(context, observables)
    read_states(context)
    initial = read_initial(context)
    reservoirs = read_reservoirs(context)
    protocol = Protocol(context, run, drugs, patient, donor)
    reactions = read_reactions(context, protocol, observables)
    check_entries(context, rules)
    problems.finish()
    _refuse_idle_switches(context)
    problems.finish()
    model = Model(
        types=tuple(context.vocabulary.types.values()),
        rules=rules,
        signals=signals,
        compartments=tuple(context.compartments.values()),
        initial=initial,
        reservoirs=reservoirs,
        hazards=hazards,
        fields=fields,
    )
    given = context.raw("name")
    resolved = _resolved(tree)
    return Scenario(
        name=str(given) if given else name,
        model=model,
        run=run,
        doses=protocol.doses,
        infusions=protocol.infusions,
        resets=protocol.resets,
        reactions=reactions,
        groups=tuple(protocol.begins.items()),
        drugs=tuple(drugs.values()),
        observables=observables,
        patient=patient,
        donor=donor,
        switches=tuple(context.switches.items()),
        resolved_text=write(resolved),
        model_text=write({k: v for k, v in resolved.items() if k in MODEL_SECTIONS}),
        path=path,
        start=str(context.raw("start", "state") or ""),
    )


def _refuse_idle_switches(context: Context) -> None:
    """A switch that the model does not have and nothing hangs on is a slip of who sets it."""
    model = context.tree.locate(("rules",)).file
    for name in context.names["switches"]:
        here = context.tree.locate(("switches", name), at_key=True).file
        if here != model and name not in context.asked:
            tail = did_you_mean(name, sorted(context.asked))
            message = f"unknown switch '{name}', nothing hangs on it{tail}"
            context.problems.add(("switches", name), message, at_key=True)


def _resolved(tree: Node) -> dict[str, Any]:
    plain = tree.plain()
    plain.pop("states", None)  # the one begun with has become `initial`
    order = ("name", "note", *MODEL_SECTIONS, "patient", "donor", "protocol", "run")
    return {key: plain[key] for key in order if plain.get(key) is not None}


def _read_switches(context: Context) -> None:
    """The switches of the model, set by the scenario, then by the patient's own."""
    for name, written in (context.raw("switches") or {}).items():
        if isinstance(written, dict):
            section = context.problems.check(SwitchSection, ("switches", name))
            context.switches[name] = section.default if section is not None else True
            continue
        context.switches[name] = True
        try:
            context.switches[name] = bool(_on_or_off(written))
        except ValueError as error:
            context.problems.add(("switches", name), str(error))
    patient = context.raw("patient", "switches")
    for name, written in (patient if isinstance(patient, dict) else {}).items():
        with context.problems.at("patient", "switches", name):
            context.known("switches", name, "switch")
            try:
                context.switches[name] = bool(_on_or_off(written))
            except ValueError as error:
                raise WordError(str(error)) from None
