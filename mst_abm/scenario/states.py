"""Sections ``states`` and ``start``: named patients of a model, and which one a run begins with.

A state is worked out to plain entries of ``initial`` while files are merged, so that everything
after it, overrides and the resolved text among them, knows ``initial`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mst_abm.errors import UnitError, did_you_mean
from mst_abm.model.definition import Pattern
from mst_abm.scenario.cells import read_sets, read_types
from mst_abm.scenario.context import Context
from mst_abm.scenario.document import Keys, Node, Place
from mst_abm.scenario.patterns import Vocabulary, combinations, is_match, parse_pattern
from mst_abm.scenario.problems import Problems, UnknownName, WordError
from mst_abm.scenario.schema import StartSection, StateSection
from mst_abm.scenario.spaces import parse_species, read_place
from mst_abm.units import quantity, shown

START: Keys = ("start",)
#: ``COMPARTMENT.CELLS``
_IN_PLACE = re.compile(r"(\w+)\.(.*)$")


class Factor(NamedTuple):
    """``times: {marrow.blast: 0.5}``: where it is written, and what it is a factor on."""

    keys: Keys
    compartment: str  # "": every one
    pattern: Pattern
    value: float


def as_mapping(tree: Node) -> None:
    """Write ``start: NAME`` as ``start: {state: NAME}``, so that its parts have addresses."""
    start = tree.get("start")
    if start is not None and start.value is not None and not isinstance(start.value, dict):
        tree.put("start", Node({}, start.place), tree.keys.get("start"))
        tree.value["start"].put("state", start)


def merge_start(before: Node, own: Node) -> Node:
    """A scenario's start over that of its model: another state is another start."""
    if "state" in own.value or not isinstance(before.value, dict):
        return own
    for key, child in own.value.items():
        before.put(key, child, own.keys.get(key))
    return before


def fill_initial(tree: Node, problems: Problems) -> None:
    """Put the cells of the start below those that ``initial`` lists itself, place by place."""
    states, start = tree.get("states"), tree.get("start")
    if start is None or start.value is None:
        if states is not None and states.value and tree.get("initial") is None:
            message = "missing 'start'; expected the name of a state"
            problems.add((), f"{message} ({', '.join(states.value)})", of=[START, ("initial",)])
        return
    section = problems.check(StartSection, START)
    if section is None:
        return
    names = list(states.value) if states is not None and isinstance(states.value, dict) else []
    found: dict[str, Node] = {}
    vocabulary = _vocabulary(tree)
    if section.state is not None:
        with problems.at("start", "state"):
            found = _cells_of(tree, problems, vocabulary, names, section.state, ())
    initial = tree.get("initial")
    own = initial.value if initial is not None and isinstance(initial.value, dict) else {}
    if section.state is None:
        found, own = {name: node.copy() for name, node in own.items()}, {}
    _apply(tree, problems, vocabulary, START, found)
    place = tree.keys.get("start", start.place)
    result = Node({}, place)
    for name, node in (found | own).items():
        if name in own and initial is not None:
            result.put(name, node, initial.keys.get(name))
        else:
            result.put(name, Node(node.value, place))
    tree.put("initial", result, place)


def read_states(context: Context) -> None:
    """Check every state, also those that this run does not begin with."""
    for name in context.names["states"]:
        keys: Keys = ("states", name)
        section = context.problems.check(StateSection, keys)
        if section is None:
            continue
        if section.like is not None:
            with context.problems.at(*keys, "like"):
                context.known("states", section.like, "state")
        for part in ("initial", "add"):
            content = context.raw(*keys, part) or {}
            for place in content if isinstance(content, Mapping) else ():
                with context.problems.at(*keys, part, place, at_key=True):
                    context.known("compartments", place, "compartment")
                read_place(context, place, content[place], (*keys, part, place))
        list(_factors(context.tree, context.problems, context.vocabulary, keys))


def _cells_of(
    tree: Node,
    problems: Problems,
    vocabulary: Vocabulary,
    names: list[str],
    name: str,
    inside: tuple[str, ...],
) -> dict[str, Node]:
    """The entries of a state by compartment; ``inside``: the states that are like this one."""
    if name not in names:
        raise UnknownName(f"unknown state '{name}'{did_you_mean(name, names)}", "states", name)
    if name in inside:
        raise WordError(f"expected another state, '{name}' is like itself")
    keys: Keys = ("states", name)
    node = tree.at(keys)
    if node is None or not isinstance(node.value, dict):
        return {}
    found: dict[str, Node] = {}
    like = node.get("like")
    if like is not None:
        with problems.at(*keys, "like"):
            found = _cells_of(tree, problems, vocabulary, names, str(like.value), (*inside, name))
    initial = node.get("initial")
    if initial is not None and isinstance(initial.value, dict):
        found |= {place: child.copy() for place, child in initial.value.items()}
    _apply(tree, problems, vocabulary, keys, found)
    return found


def _apply(
    tree: Node, problems: Problems, vocabulary: Vocabulary, keys: Keys, found: dict[str, Node]
) -> None:
    """``times`` of a state or start on the cells found so far, then ``add``."""
    for factor in _factors(tree, problems, vocabulary, keys):
        places = [factor.compartment] if factor.compartment else list(found)
        met = [_scale(found[p], vocabulary, factor, problems) for p in places if p in found]
        if not any(met):
            where = f" in '{factor.compartment}'" if factor.compartment else ""
            message = f"expected cells that are there at the start, no {factor.pattern.text}{where}"
            taken_over = [(*keys, "like"), (*keys, "state")]
            problems.add(factor.keys, message, at_key=True, of=[factor.keys, *taken_over])
    added = tree.at((*keys, "add"))
    for place, child in added.value.items() if added and isinstance(added.value, dict) else ():
        present = found.get(place)
        with problems.at(*keys, "add", place, at_key=True):
            _known_place(tree, place)
        if present is None:
            found[place] = child.copy()
        elif isinstance(present.value, list) and isinstance(child.value, list):
            present.value.extend(child.copy().value)
        else:
            message = f"expected a list of cells here and in the '{place}' that it is added to"
            problems.add((*keys, "add", place), message)


def _factors(
    tree: Node, problems: Problems, vocabulary: Vocabulary, keys: Keys
) -> Iterator[Factor]:
    """What ``times`` says, as ``{marrow.blast: 0.5}`` or ``{marrow: {blast: 0.5}}``."""
    times = tree.at((*keys, "times"))
    for name, child in times.value.items() if times and isinstance(times.value, dict) else ():
        here: Keys = (*keys, "times", name)
        if isinstance(child.value, dict):
            written = [((*here, cells), name, cells, c) for cells, c in child.value.items()]
        else:
            match = _IN_PLACE.match(name)
            written = [(here, *(match.groups() if match else ("", name)), child)]
        for at, place, cells, number in written:
            factor = None
            with problems.at(*at, at_key=True):
                factor = _read_factor(tree, vocabulary, at, place, cells, number.value)
            if factor is not None:
                yield factor


def _read_factor(
    tree: Node, vocabulary: Vocabulary, at: Keys, place: str, cells: str, number: Any
) -> Factor:
    if place:
        _known_place(tree, place)
    value = quantity(number, "number")
    if not 0 <= value < float("inf"):
        raise WordError(f"expected a factor of at least 0, got {shown(number)}")
    return Factor(at, place, parse_pattern(cells, vocabulary), value)


def _known_place(tree: Node, place: str) -> None:
    known = tree.get("compartments")
    names = list(known.value) if known is not None and isinstance(known.value, dict) else []
    if place not in names:
        message = f"unknown compartment '{place}'{did_you_mean(place, names)}"
        raise UnknownName(message, "compartments", place)


def _scale(place: Node, vocabulary: Vocabulary, factor: Factor, problems: Problems) -> bool:
    """Multiply the cells of one compartment that the factor is about; whether there are any."""
    if isinstance(place.value, dict):
        chosen = [cells for cells in place.value if _is_meant(cells, vocabulary, factor)]
        for cells in chosen:
            old = place.value[cells]
            with problems.at(*factor.keys):
                place.value[cells] = _times(old, old.place, factor.value)
        if factor.value == 0:
            place.value = {c: old for c, old in place.value.items() if c not in chosen}
        return bool(chosen)
    entries = [e for e in place.value or () if isinstance(e.value, dict)]
    met = [_scale_entry(entry, vocabulary, factor) for entry in entries]
    return any(met)


def _scale_entry(entry: Node, vocabulary: Vocabulary, factor: Factor) -> bool:
    mix = entry.get("mix")
    if mix is not None and isinstance(mix.value, dict):
        return _scale_mix(entry, mix, vocabulary, factor)
    cells = entry.get("cells")
    if cells is None or not _is_meant(str(cells.value), vocabulary, factor):
        return False
    entry.put("times", _times(entry.get("times"), entry.place, factor.value))
    return True


def _scale_mix(entry: Node, mix: Node, vocabulary: Vocabulary, factor: Factor) -> bool:
    """Of a mixture, change the parts and let the whole follow."""
    weights = mix.plain()
    chosen = [cells for cells in weights if _is_meant(cells, vocabulary, factor)]
    try:
        before = sum(map(float, weights.values()))
        weights |= {cells: float(weights[cells]) * factor.value for cells in chosen}
        after = sum(map(float, weights.values()))
    except (TypeError, ValueError):
        return bool(chosen)  # said where the weights are read
    if chosen and before > 0:
        entry.put("times", _times(entry.get("times"), entry.place, after / before))
        for cells in chosen if after > 0 else ():
            mix.put(cells, Node(weights[cells], mix.value[cells].place))
        if factor.value == 0 and after > 0:
            mix.value = {c: old for c, old in mix.value.items() if c not in chosen}
    return bool(chosen)


def _times(old: Node | None, place: Place, factor: float) -> Node:
    before = quantity(old.value, "number") if old is not None else 1.0
    return Node(before * factor, place)


def _is_meant(cells: str, vocabulary: Vocabulary, factor: Factor) -> bool:
    """Whether a species written in an entry fits; what cannot be read is reported elsewhere."""
    try:
        kinds = combinations(parse_species(cells, vocabulary), None, vocabulary)
    except (WordError, UnitError):
        return False
    return any(is_match(factor.pattern, name, values) for name, values in kinds)


def _vocabulary(tree: Node) -> Vocabulary:
    """Types and sets before the sections are read; their mistakes are reported when they are."""
    context = Context(tree, Problems(tree))
    for section in ("types", "sets"):
        content = context.raw(section)
        context.names[section] = list(content) if isinstance(content, dict) else []
    read_types(context)
    read_sets(context)
    return context.vocabulary
