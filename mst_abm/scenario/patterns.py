"""The small language of cells: ``blast[phase=s|g2m]``, ``A + B -> A + empty``, ``blood.platelet``.

Turns text into the values of ``mst_abm.model.definition`` and says what is wrong with a text; it
knows the types and sets of one model and nothing else.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mst_abm.errors import did_you_mean
from mst_abm.model.definition import CellType, Pattern, PatternTerm, Product
from mst_abm.scenario.problems import UnknownName, WordError
from mst_abm.units import shown

_TERM = re.compile(r"\s*(\*|\w+)\s*(?:\[([^\[\]]*)\])?\s*$")
_AXIS = re.compile(r"\s*(\w+)\s*=\s*([\w.|\s/-]+?)\s*$")
_CHANGE = re.compile(r"\s*([+-]|=)?\s*(\d+)\s*$")
EMPTY, SAME, ANY = "empty", "same", "*"
SAME_PRODUCT = Product("same", text=SAME)
EMPTY_PRODUCT = Product("empty", text=EMPTY)


@dataclass
class Vocabulary:
    """The types and sets patterns may speak of.

    ``broken``: names that exist but whose definition has mistakes of its own, reported there;
    ``is_incomplete``: there may be names that could not be read.
    """

    types: dict[str, CellType] = field(default_factory=dict)
    sets: dict[str, tuple[PatternTerm, ...]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    is_incomplete: bool = False

    def terms_of(self, name: str) -> tuple[PatternTerm, ...]:
        """All terms of a type, a set or ``*``."""
        if name == ANY:
            if self.broken:
                raise WordError()
            return tuple(PatternTerm(t.name) for t in self.types.values() if not t.is_static)
        if name in self.types:
            return (PatternTerm(name),)
        if name in self.sets:
            return self.sets[name]
        if name in self.broken:
            raise WordError()
        if self.is_incomplete:
            raise WordError()
        known = [*self.types, *self.sets]
        message = f"unknown cell type or set '{name}'{did_you_mean(name, known)}"
        raise UnknownName(message, name)


def split_arrow(text: str) -> tuple[str, str | None]:
    """Both sides of ``->``; the right one is None without an arrow."""
    parts = text.split("->")
    if len(parts) > 2:
        raise WordError(f"expected one '->', got {shown(text)}")
    return parts[0].strip(), parts[1].strip() if len(parts) == 2 else None


def split_plus(text: str, count: int, words: str) -> list[str]:
    """The parts of ``A + B``, brackets left alone; exactly ``count`` of them."""
    parts = [part.strip() for part in re.split(r"\+(?![^\[]*\])", text)]
    if len(parts) != count or not all(parts):
        raise WordError(f"expected {words}, got {shown(text)}")
    return parts


def _read(text: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Name and axis values of one written term."""
    match = _TERM.match(text)
    if match is None:
        raise WordError(f'expected cells such as "blast[phase=s|g2m]", got {shown(text)}')
    values: dict[str, tuple[str, ...]] = {}
    for part in match[2].split(",") if match[2] else ():
        axis = _AXIS.match(part)
        if axis is None:
            raise WordError(f'expected axis=value in "{text}", got {shown(part.strip())}')
        if axis[1] in values:
            raise WordError(f"axis '{axis[1]}' is given twice in \"{text}\"")
        values[axis[1]] = tuple(value.strip() for value in axis[2].split("|"))
    return match[1], values


def _check_axes(
    name: str,
    values: Mapping[str, tuple[str, ...]],
    types: Sequence[CellType],
) -> None:
    """Every axis and value must exist in at least one of the types."""
    for axis, allowed in values.items():
        having = [t for t in types if axis in t.axes]
        if not having:
            known = dict.fromkeys(a for t in types for a in t.axes)
            message = f"'{name}' has no axis '{axis}'{did_you_mean(axis, known)}"
            raise UnknownName(message, name, axis)
        known = dict.fromkeys(v for t in having for v in t.axes[axis])
        for value in allowed:
            if value not in known:
                tail = did_you_mean(value, known)
                message = f"axis '{axis}' of '{name}' has no value '{value}'{tail}"
                raise UnknownName(message, name, axis, value)


def _narrow(
    term: PatternTerm, values: Mapping[str, tuple[str, ...]], cell_type: CellType
) -> PatternTerm | None:
    """The term restricted further; None where nothing is left."""
    merged = dict(term.values)
    for axis, allowed in values.items():
        if axis not in cell_type.axes:
            return None
        before = merged.get(axis, cell_type.axes[axis])
        merged[axis] = tuple(v for v in before if v in allowed)
        if not merged[axis]:
            return None
    return PatternTerm(term.type, tuple(merged.items()))


def parse_terms(text: str, vocabulary: Vocabulary) -> tuple[PatternTerm, ...]:
    """The terms one written pattern stands for."""
    name, values = _read(text)
    terms = vocabulary.terms_of(name)
    _check_axes(name, values, [vocabulary.types[term.type] for term in terms])
    narrowed = [_narrow(term, values, vocabulary.types[term.type]) for term in terms]
    found = tuple(dict.fromkeys(term for term in narrowed if term is not None))
    if not found:
        raise WordError(f"no cells can match {shown(text)}")
    return found


def parse_pattern(
    text: str | Iterable[str], vocabulary: Vocabulary, *, is_empty_allowed: bool = False
) -> Pattern:
    """A pattern, or any of several."""
    texts = [text] if isinstance(text, str) else list(text)
    if [part.strip() for part in texts] == [EMPTY]:
        if not is_empty_allowed:
            raise WordError("'empty' can only stand after 'near' or as a product; name cells here")
        return Pattern((), EMPTY, is_empty=True)
    terms = [term for part in texts for term in parse_terms(part, vocabulary)]
    return Pattern(tuple(dict.fromkeys(terms)), " or ".join(part.strip() for part in texts))


def parse_change(value: object) -> tuple[Literal["set", "add"], int]:
    """A change of a counter: "+1", "-1", "=3" or 3."""
    match = _CHANGE.match(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise WordError(
            f'expected a change of a counter such as "+1", "-1" or "=3", got {shown(value)}'
        )
    amount = int(match[2])
    if match[1] in ("+", "-"):
        return "add", amount if match[1] == "+" else -amount
    return "set", amount


def parse_product(
    written: object,
    vocabulary: Vocabulary,
    reactant: Pattern | None,
    changes: Mapping[str, object] | None = None,
) -> Product:
    """What a reactant turns into; ``reactant`` None where cells come from nothing.

    ``written``: "same", "empty", a pattern with one value per axis, or a mapping of axes to
    values and counters to changes (``to`` may name the new type).
    """
    changes = dict(changes or {})
    if isinstance(written, Mapping):
        return _parse_mapping(written, vocabulary, reactant, changes)
    if not isinstance(written, str):
        raise WordError(
            f"expected a product such as same, empty or a cell type, got {shown(written)}"
        )
    text = written.strip()
    if text == EMPTY:
        if changes:
            raise WordError("a vacant site has no counters")
        return EMPTY_PRODUCT
    if text == SAME:
        if reactant is None:
            raise WordError("expected a cell type, got 'same'")
        return _with_changes(SAME_PRODUCT, vocabulary, reactant, changes)
    name, values = _read(text)
    single = _single_values(text, values)
    is_kept = reactant is not None and name not in vocabulary.types and name == _base(reactant)
    if is_kept and reactant is not None:
        types = [vocabulary.types[term.type] for term in reactant.terms]
        if not values:
            return _with_changes(SAME_PRODUCT, vocabulary, reactant, changes)
        _check_kept(name, single, types)
        product = Product("species", None, tuple(single.items()), text=text)
        return _with_changes(product, vocabulary, reactant, changes)
    if name not in vocabulary.types:
        vocabulary.terms_of(name)  # says what is unknown
        raise WordError(f"expected one cell type as a product, got the set {shown(name)}")
    _check_axes(name, values, [vocabulary.types[name]])
    product = Product("species", name, tuple(single.items()), text=text)
    _check_complete(product, vocabulary, reactant)
    return _with_changes(product, vocabulary, reactant, changes)


def _base(pattern: Pattern) -> str:
    return pattern.text.split("[")[0].strip()


def _single_values(text: str, values: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    for axis, allowed in values.items():
        if len(allowed) > 1:
            raise WordError(f"expected one value for axis '{axis}' of a product, got {shown(text)}")
    return {axis: allowed[0] for axis, allowed in values.items()}


def _check_kept(name: str, values: Mapping[str, str], types: Sequence[CellType]) -> None:
    """Axes set on a cell that keeps its type must exist in every type it can have."""
    for axis, value in values.items():
        for cell_type in types:
            _check_axes(cell_type.name, {axis: (value,)}, [cell_type])


def _parse_mapping(
    written: Mapping[str, object],
    vocabulary: Vocabulary,
    reactant: Pattern | None,
    changes: dict[str, object],
) -> Product:
    rest = dict(written)
    target = rest.pop("to", None)
    if target is not None:
        return parse_product(target, vocabulary, reactant, changes | rest)
    if reactant is None:
        raise WordError("expected a cell type, got a mapping")
    types = [vocabulary.types[term.type] for term in reactant.terms]
    axes = dict.fromkeys(axis for t in types for axis in t.axes)
    values: dict[str, str] = {}
    for key, value in rest.items():
        if key in axes:
            values[key] = str(value)
        elif any(c.name == key for t in types for c in t.counters):
            changes[key] = value
        else:
            known = [*axes, *dict.fromkeys(c.name for t in types for c in t.counters)]
            message = f"'{reactant.text}' has no axis or counter '{key}'{did_you_mean(key, known)}"
            raise UnknownName(message, _base(reactant), key)
    _check_kept(reactant.text, values, types)
    text = ", ".join(f"{axis}={value}" for axis, value in values.items())
    product = Product("species", None, tuple(values.items()), text=text or SAME)
    return _with_changes(product, vocabulary, reactant, changes)


def _with_changes(
    product: Product,
    vocabulary: Vocabulary,
    reactant: Pattern | None,
    changes: Mapping[str, object],
) -> Product:
    if not changes:
        return product
    if product.type is not None:
        types = [vocabulary.types[product.type]]
    else:
        types = [vocabulary.types[term.type] for term in reactant.terms] if reactant else []
    updates = []
    for name, value in changes.items():
        for cell_type in types:
            counter = next((c for c in cell_type.counters if c.name == name), None)
            if counter is None:
                known = [c.name for c in cell_type.counters]
                tail = did_you_mean(name, known)
                message = f"'{cell_type.name}' has no counter '{name}'{tail}"
                raise UnknownName(message, cell_type.name, name)
        verb, amount = parse_change(value)
        largest = min(c.maximum for t in types for c in t.counters if c.name == name)
        if abs(amount) > largest:
            raise WordError(
                f"expected a change of '{name}' of at most {largest}, got {shown(value)}"
            )
        updates.append((name, verb, amount))
    return replace(product, kind="species", counters=tuple(updates))


def _check_complete(product: Product, vocabulary: Vocabulary, reactant: Pattern | None) -> None:
    """Every axis of the product's type is stated or carried over from every reactant."""
    assert product.type is not None
    stated = dict(product.values)
    defaults = vocabulary.types[product.type].defaults
    for axis, allowed in vocabulary.types[product.type].axes.items():
        if axis in stated:
            continue
        sources = reactant.terms if reactant is not None else (None,)
        for term in sources:
            own = vocabulary.types[term.type].axes.get(axis, ()) if term is not None else ()
            carried = dict(term.values).get(axis, own) if term is not None else ()
            if all(value in allowed for value in carried) and (carried or axis in defaults):
                continue
            raise WordError(
                f"'{product.text}' leaves the axis '{axis}' of '{product.type}' open; "
                f"state one of {', '.join(allowed)}"
            )


def combinations(
    product: Product, reactant: Pattern | None, vocabulary: Vocabulary
) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every species (type, axis values) a product can be, over all a reactant can be."""
    terms: Sequence[PatternTerm | None] = reactant.terms if reactant is not None else (None,)
    found: dict[tuple[str, tuple[tuple[str, str], ...]], None] = {}
    for term in terms:
        name = product.type or (term.type if term is not None else "")
        carried = dict(term.values) if term is not None else {}
        before = vocabulary.types[term.type].axes if term is not None else {}
        stated = {axis: (value,) for axis, value in product.values}
        for axis, value in vocabulary.types[name].defaults.items():
            if axis not in before:
                stated.setdefault(axis, (value,))
        choices = [
            [(axis, v) for v in stated.get(axis, carried.get(axis, every))]
            for axis, every in vocabulary.types[name].axes.items()
        ]
        for combination in itertools.product(*choices):
            found[name, combination] = None
    return list(found)


def is_match(pattern: Pattern, name: str, values: Sequence[tuple[str, str]]) -> bool:
    """Whether a fully stated species fits a pattern."""
    state = dict(values)
    return any(
        term.type == name and all(state[axis] in allowed for axis, allowed in term.values)
        for term in pattern.terms
    )
