"""The list of everything wrong with a scenario, each mistake at its place in the file.

Reading goes on after a mistake, so that one run of ``check`` shows them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mst_abm.errors import Problem, ScenarioError, UnitError, did_you_mean
from mst_abm.scenario.document import Keys, Node
from mst_abm.units import shown

SectionType = TypeVar("SectionType", bound=BaseModel)

#: Words of the grammar that are understood but not built yet.
NOT_YET = {
    "when": "deciding by the patient's state",
    "then": "deciding by the patient's state",
    "repeat": "repeating a block of the protocol",
    "toward": "movement along a gradient",
    "field": "a factor from a field in space",
    "gradient": "a factor from a gradient",
}


#: What stands in for a required value that is missing or wrong, so that the rest can be read.
_STUBS = {"rate": 0, "source": "?", "at": 0, "name": "?", "dose": 0}


def not_yet(word: str) -> str:
    """The sentence about a word of the grammar that is not built yet."""
    return f"'{word}' ({NOT_YET[word]}) is not available in this version; leave it out"


class WordError(ValueError):
    """A name or text that cannot be understood. Empty message: already reported elsewhere."""


class Problems:
    """Collects mistakes against one tree."""

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.found: list[Problem] = []

    def add(self, keys: Keys, message: str, *, at_key: bool = False) -> None:
        place = self.tree.locate(keys, at_key=at_key)
        label = self.label(keys)
        problem = place.problem(f"{label}: {message}" if label else message)
        if problem not in self.found:
            self.found.append(problem)

    def label(self, keys: Keys) -> str:
        """The dotted address of a value, list items by name where they have one."""
        words: list[str] = []
        node: Node | None = self.tree
        for key in keys:
            child = node.get(key) if node is not None else None
            name = child.get("name") if isinstance(key, int) and child is not None else None
            words.append(str(name.value) if name is not None else str(key))
            node = child
        return ".".join(words)

    @contextmanager
    def at(self, *keys: str | int) -> Iterator[None]:
        """Turn an error of a word or unit inside into a problem at ``keys``."""
        try:
            yield
        except (WordError, UnitError) as error:
            if str(error):
                self.add(keys, str(error))

    def check(self, section: type[SectionType], keys: Keys) -> SectionType | None:
        """The part of the tree at ``keys`` as ``section``; its mistakes become problems.

        With mistakes, what is left after taking them out is returned where it can stand, so that
        names and texts in it are checked too; None otherwise.
        """
        node: Node | None = self.tree
        for key in keys:
            node = node.get(key) if node is not None else None
        plain = {} if node is None or node.value is None else node.plain()
        if not isinstance(plain, dict):
            self.add(keys, f"expected a mapping (key: value), got {shown(plain)}")
            return None
        try:
            return section.model_validate(plain)
        except ValidationError as error:
            items = error.errors(include_url=False)
        for item in items:
            self._add_invalid(section, keys, item)
        for item in items:
            _take_out(plain, item)
        try:
            return section.model_validate(plain)
        except ValidationError:
            return None

    def _add_invalid(self, section: type[BaseModel], keys: Keys, item: Any) -> None:
        loc = (*keys, *item["loc"])
        if item["type"] == "extra_forbidden":
            word = str(loc[-1])
            if word in NOT_YET:
                self.add(loc[:-1] + (word,), not_yet(word), at_key=True)
                return
            known = known_keys(section, item["loc"][:-1])
            tail = did_you_mean(word, known, shown=40)
            self.add(loc[:-1] + (word,), f"unknown key '{word}'{tail}", at_key=True)
        elif item["type"] == "missing":
            self.add(loc[:-1], f"missing '{loc[-1]}'{_why_needed(str(loc[-1]))}")
        else:
            self.add(loc, _sentence(item))

    def finish(self) -> None:
        """Raise everything found, in the order of the files."""
        if self.found:
            order = {file: i for i, file in enumerate(dict.fromkeys(p.file for p in self.found))}
            raise ScenarioError(sorted(self.found, key=lambda p: (order[p.file], p.line, p.column)))


def _take_out(plain: dict[str, Any], item: Any) -> None:
    """Remove a mistake: an unknown key by itself, the end of a list from a bad item on, a key."""
    loc = item["loc"]
    if item["type"] == "missing" and len(loc) == 1:
        if loc[0] in _STUBS:
            plain[loc[0]] = _STUBS[loc[0]]
        return
    if item["type"] == "extra_forbidden":
        node: Any = plain
        try:
            for key in loc[:-1]:
                node = node[key]
            del node[loc[-1]]
        except (KeyError, IndexError, TypeError):
            pass  # gone already, with a mistake around it
        return
    index = next((i for i in loc if isinstance(i, int)), None)
    first = loc[0]
    if index is not None and isinstance(plain.get(first), list):
        del plain[first][index:]
    elif first in _STUBS:
        plain[first] = _STUBS[first]
    else:
        plain.pop(first, None)


def _why_needed(key: str) -> str:
    if key == "source":
        return '; expected where the number comes from, or "assumption"'
    return ""


def known_keys(section: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys a section allows at ``loc`` below it, as they are written in files."""
    current: Any = section
    for key in loc:
        if isinstance(key, int):
            continue
        fields = {(f.alias or n): f for n, f in current.model_fields.items()}
        if key not in fields:
            continue
        inner = _models_in(fields[str(key)].annotation)
        if inner:
            current = inner[0]
    return [field.alias or name for name, field in current.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models_in(a)]


def _sentence(item: Any) -> str:
    kind, context, value = item["type"], item.get("ctx") or {}, item.get("input")
    got = f", got {shown(value)}"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind == "literal_error":
        words = context["expected"].replace("'", "")
        known = words.replace(" or ", ", ").split(", ")
        return f"expected {words}{got}{_only_suggestion(value, known)}"
    bounds = {
        "greater_than_equal": "a number of at least {ge}",
        "greater_than": "a number above {gt}",
        "less_than_equal": "a number of at most {le}",
        "less_than": "a number below {lt}",
        "too_short": "at least {min_length} items",
        "too_long": "at most {max_length} items",
    }
    if kind in bounds:
        return f"expected {bounds[kind].format(**context)}{got}"
    for stem, words in (
        ("int", "a whole number"),
        ("float", "a number"),
        ("string", "text"),
        ("bool", "on or off"),
        ("list", "a list"),
        ("dict", "a mapping (key: value)"),
        ("model", "a mapping (key: value)"),
    ):
        if kind.startswith(stem):
            return f"expected {words}{got}"
    return f"{item['msg'][0].lower()}{item['msg'][1:]}{got}"


def _only_suggestion(value: object, known: list[str]) -> str:
    tail = did_you_mean(str(value), known)
    return tail if tail.startswith("; did you mean") else ""
