"""Sections ``types``, ``sets`` and ``switches``: the vocabulary of a model."""

from __future__ import annotations

from collections.abc import Sequence

from mst_abm.model.definition import CellType, Counter, PatternTerm
from mst_abm.scenario.context import Context
from mst_abm.scenario.document import Keys
from mst_abm.scenario.patterns import ANY, EMPTY, SAME, parse_terms
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import CounterSection, TypeSection
from mst_abm.units import shown

MAX_COUNTERS = 4
MAX_COUNTER_BITS = 16


def read_types(context: Context) -> None:
    """Fill the vocabulary's types."""
    names = context.names["types"]
    context.vocabulary.is_incomplete = any(
        context.problems.is_in_doubt(section) for section in ("types", "sets")
    )
    if not names:
        message = "missing 'types'; expected at least one cell type"
        context.problems.add((), message, of=[("types",)])
    for name in names:
        keys: Keys = ("types", name)
        if not name.isidentifier() or name in (EMPTY, SAME, ANY):
            context.problems.add(
                keys, f"expected a name of letters, digits and _, got {shown(name)}", at_key=True
            )
        cell_type = _read_type(context, name, keys)
        if cell_type is None or context.problems.is_in_doubt(*keys):
            context.vocabulary.broken.add(name)
        else:
            context.vocabulary.types[name] = cell_type


def _read_type(context: Context, name: str, keys: Keys) -> CellType | None:
    section = context.problems.check(TypeSection, keys)
    if section is None:
        return None
    is_good = True
    for axis, values in section.axes.items():
        if not values or len(set(values)) < len(values):
            got = f"got {shown(', '.join(values))}"
            context.problems.add((*keys, "axes", axis), f"expected different values, {got}")
            is_good = False
    for axis, value in section.defaults.items():
        is_axis = axis in section.axes
        known = section.axes[axis] if is_axis else list(section.axes)
        if not is_axis or value not in known:
            words = ", ".join(known) or "the axes"
            message = f"expected one of {words}, got {shown(value if is_axis else axis)}"
            context.problems.add((*keys, "defaults", axis), message)
            is_good = False
    for counter in section.counters:
        if counter in section.axes:
            context.problems.add(
                (*keys, "counters", counter), "expected another name than that of an axis"
            )
            is_good = False
    bits = sum(counter.max.bit_length() for counter in section.counters.values())
    if len(section.counters) > MAX_COUNTERS:
        context.problems.add(
            (*keys, "counters"),
            f"expected at most {MAX_COUNTERS} counters, got {len(section.counters)}",
        )
    if bits > MAX_COUNTER_BITS:
        context.problems.add(
            (*keys, "counters"),
            f"expected counters that fit into {MAX_COUNTER_BITS} bits together, got {bits}; "
            "lower a max (max 3 needs 2 bits, max 15 needs 4)",
        )
    counters = [
        _read_counter(context, counter, item, (*keys, "counters", counter))
        for counter, item in section.counters.items()
    ]
    if not is_good or any(counter is None for counter in counters):
        return None
    axes = {axis: tuple(values) for axis, values in section.axes.items()}
    whole = tuple(counter for counter in counters if counter is not None)
    return CellType(name, axes, whole, section.static, dict(section.defaults))


def _read_counter(
    context: Context, name: str, section: CounterSection, keys: Keys
) -> Counter | None:
    with context.problems.at(*keys, "initial"):
        weights = counter_weights(section.initial, section.max)
        return Counter(name, section.max, weights, section.on_division)
    return None


def counter_weights(written: object, maximum: int) -> tuple[float, ...]:
    """Weights over 0..maximum from a number, "uniform" or a list of maximum + 1 weights."""
    size = maximum + 1
    if written == "uniform":
        return (1.0 / size,) * size
    if isinstance(written, int) and not isinstance(written, bool):
        if not 0 <= written <= maximum:
            raise WordError(f"expected a number from 0 to {maximum}, got {written}")
        return tuple(float(i == written) for i in range(size))
    if isinstance(written, list):
        return _normalised(written, size)
    raise WordError(
        f"expected a number from 0 to {maximum}, uniform or {size} weights, got {shown(written)}"
    )


def _normalised(weights: Sequence[object], size: int) -> tuple[float, ...]:
    numbers = [float(w) for w in weights if isinstance(w, (int, float)) and w >= 0]
    if len(weights) != size or len(numbers) != size or not 0 < sum(numbers) < float("inf"):
        raise WordError(
            f"expected {size} weights of 0 or more, for 0 to {size - 1}, got {shown(list(weights))}"
        )
    total = sum(numbers)
    return tuple(number / total for number in numbers)


def read_sets(context: Context) -> None:
    """Fill the vocabulary's sets; a set may name others, in any order."""
    written = context.raw("sets") or {}
    vocabulary = context.vocabulary
    waiting = dict(written)
    for name in written:
        if name in vocabulary.types or name in (EMPTY, SAME, ANY):
            context.problems.add(("sets", name), "expected another name than that of a type")
    while waiting:
        ready = [name for name, members in waiting.items() if not _names_in(members) & set(waiting)]
        if not ready:
            names = " and ".join(f"'{name}'" for name in waiting)
            message = f"expected sets that do not contain themselves, got a circle of {names}"
            context.problems.add(("sets", next(iter(waiting))), message)
            vocabulary.broken.update(waiting)
            return
        for name in ready:
            _read_set(context, name, waiting.pop(name))


def _names_in(members: object) -> set[str]:
    texts = members if isinstance(members, list) else [members]
    return {str(text).split("[")[0].strip() for text in texts}


def _read_set(context: Context, name: str, members: object) -> None:
    texts = members if isinstance(members, list) else [members]
    terms: list[PatternTerm] = []
    for i, text in enumerate(texts):
        is_good = False
        keys: Keys = ("sets", name, i) if isinstance(members, list) else ("sets", name)
        with context.problems.at(*keys):
            terms += parse_terms(str(text), context.vocabulary)
            is_good = True
        if not is_good:
            context.vocabulary.broken.add(name)
    if not terms and name not in context.vocabulary.broken:
        context.problems.add(("sets", name), "expected at least one cell type")
        context.vocabulary.broken.add(name)
    if name not in context.vocabulary.broken:
        context.vocabulary.sets[name] = tuple(dict.fromkeys(terms))
