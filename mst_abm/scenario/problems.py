"""The list of everything wrong with a scenario, each mistake at its place in the file.

Reading goes on after a mistake, so that one run of ``check`` shows them all. What hangs on a value
that is wrong is in doubt, and doubtful things are not complained about: one mistake, one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mst_abm.errors import Problem, ScenarioError, UnitError, closest, did_you_mean
from mst_abm.scenario.document import Keys, Node, Place, read_file
from mst_abm.units import shown

SectionType = TypeVar("SectionType", bound=BaseModel)

#: Words of the grammar that are understood but not built yet.
NOT_YET = {
    "gradient": "a factor from a gradient",
}


#: What stands in for a required value that is missing or wrong, so that the rest can be read.
_STUBS = {"rate": 0, "source": "?", "at": 0, "name": "?", "dose": 0}


#: Which kind of file a key tells, the first that is there, and what is said of one where another was expected.
_KIND_BY_KEY = {
    "free": "calibration", "mechanisms": "identification", "arms": "trial", "scenario": "sweep",
    "model": "scenario", "rules": "scenario",
}  # fmt: skip
_FILES = {
    "calibration": "a calibration (it has free numbers); use mst-abm calibrate",
    "identification": "hypotheses about a trial (it has mechanisms); use mst-abm identify",
    "trial": "a trial (it has arms); use mst-abm trial",
    "sweep": "a sweep (it names a scenario); use mst-abm sweep",
    "scenario": "a scenario; use mst-abm run",
}


def not_yet(word: str) -> str:
    """The sentence about a word of the grammar that is not built yet."""
    return f"'{word}' ({NOT_YET[word]}) is not available in this version; leave it out"


class WordError(ValueError):
    """A name or text that cannot be understood. Empty message: already reported elsewhere."""


class UnknownName(WordError):
    """A name that does not exist: said once, however often it is used.

    ``about``: the name, with the names it was looked for below.
    """

    def __init__(self, message: str, *about: str) -> None:
        self.about = about
        super().__init__(message)


class Problems:
    """Collects mistakes against one tree."""

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.found: list[Problem] = []
        self._said: set[tuple[Place, str]] = set()
        self._doubtful: set[Keys] = set()
        #: Unknown names: the first problem about each, and the lines of the others.
        self._unknown: dict[tuple[str, ...], tuple[Problem, list[int]]] = {}

    def add(
        self,
        keys: Keys,
        message: str,
        *,
        at_key: bool = False,
        of: Sequence[Keys] | None = None,
    ) -> None:
        """Complain, unless one of the values the complaint is about is in doubt already.

        ``of``: those values, where it is not just the one at ``keys``.
        """
        if not any(self.is_in_doubt(*value) for value in ((keys,) if of is None else of)):
            self._report(keys, message, at_key=at_key)

    def _report(self, keys: Keys, message: str, *, at_key: bool = False) -> None:
        self.doubt(keys)
        # what is read twice, such as the defaults of a patient, is said once
        said = self.tree.locate(keys, at_key=at_key), message
        if said not in self._said:
            self._said.add(said)
            self.found.append(self._problem(keys, message, at_key=at_key))

    def _problem(self, keys: Keys, message: str, *, at_key: bool = False) -> Problem:
        label = self.label(keys)
        place = self.tree.locate(keys, at_key=at_key)
        return place.problem(f"{label}: {message}" if label else message)

    def _add_unknown(self, keys: Keys, error: UnknownName, *, at_key: bool) -> None:
        if self.is_in_doubt(*keys):
            return
        self.doubt(keys)
        problem = self._problem(keys, str(error), at_key=at_key)
        first, lines = self._unknown.setdefault(error.about, (problem, []))
        if problem.file != first.file:
            self.found.append(problem)
        elif problem.line not in (first.line, *lines):
            lines.append(problem.line)

    def doubt(self, keys: Keys) -> None:
        """Remember that the value at ``keys`` is not what was meant."""
        self._doubtful.add(keys)

    def take(self, other: Problems) -> None:
        """The problems and doubts of another tree, that of the model."""
        self.found += other.found
        self._doubtful |= other._doubtful

    def is_in_doubt(self, *keys: str | int) -> bool:
        """Whether the value at ``keys``, a part of it or what it is part of is wrong."""
        return any(all(a == b for a, b in zip(keys, d, strict=False)) for d in self._doubtful)

    def latest(self, *addresses: Keys) -> Keys:
        """Of values that contradict each other the one set last: it is the one to change.

        The command line comes after the scenario, the scenario after its model. Of values of the
        same place it is the first of ``addresses``; of a mapping or list, the part set last.
        """
        found = [self._latest_part(keys) for keys in addresses if self.tree.at(keys)]
        return max(found, key=lambda pair: pair[0])[1] if found else addresses[0]

    def _latest_part(self, keys: Keys) -> tuple[int, Keys]:
        """How late the latest part of a value was set, and which part that is."""
        node = self.tree.at(keys)
        assert node is not None
        own = 2 if not node.place.line else int(node.place.file == self.tree.place.file)
        names: Iterable[str | int] = ()
        if isinstance(node.value, dict):
            names = list(node.value)
        elif isinstance(node.value, list):
            names = range(len(node.value))
        parts = [self._latest_part((*keys, name)) for name in names]
        return max([(own, keys), *parts], key=lambda pair: pair[0])

    def one_of(
        self,
        keys: Keys,
        section: BaseModel,
        names: Sequence[str],
        words: str,
        *,
        also: Sequence[str] = (),
    ) -> str:
        """The one key of ``names`` that is given; "" after a complaint where it is not just one.

        ``also``: other keys that the complaint is about.
        """
        given = [name for name in names if getattr(section, name) is not None]
        if len(given) == 1:
            return given[0]
        got = " and ".join(given) if given else "none"
        message = f"expected {words} of {', '.join(names)}, got {got}"
        self.add(keys, message, of=[(*keys, name) for name in (*names, *also)])
        return ""

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
    def at(self, *keys: str | int, at_key: bool = False) -> Iterator[None]:
        """Turn an error of a word or unit inside into a problem at ``keys``."""
        try:
            yield
        except UnknownName as error:
            self._add_unknown(keys, error, at_key=at_key)
        except (WordError, UnitError) as error:
            if str(error):
                self.add(keys, str(error), at_key=at_key)

    def check(self, section: type[SectionType], keys: Keys) -> SectionType | None:
        """The part of the tree at ``keys`` as ``section``; its mistakes become problems.

        With mistakes, what is left after taking them out is returned where it can stand, so that
        names and texts in it are checked too; None otherwise.
        """
        node = self.tree.at(keys)
        plain = {} if node is None or node.value is None else node.plain()
        if not isinstance(plain, dict):
            self._report(keys, f"expected a mapping (key: value), got {shown(plain)}")
            return None
        try:
            return section.model_validate(plain)
        except ValidationError as error:
            items = error.errors(include_url=False)
        # unknown keys first: they may be the missing ones, misspelt
        for item in sorted(items, key=lambda item: item["type"] != "extra_forbidden"):
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
                self._report(loc[:-1] + (word,), not_yet(word), at_key=True)
                self._doubt_absent(loc[:-1], known_keys(section, item["loc"][:-1]))
                return
            self.add_unknown_key(loc[:-1], word, known_keys(section, item["loc"][:-1]))
        elif item["type"] == "missing":
            if loc not in self._doubtful:
                self._report(loc[:-1], f"missing '{loc[-1]}'{_why_needed(str(loc[-1]))}")
                self.doubt(loc)
        else:
            self._report(loc, _sentence(item))

    def add_unknown_key(self, keys: Keys, word: str, known: Sequence[str], what: str = "") -> None:
        """Complain about a key; the one that it may be a misspelling of is then in doubt."""
        tail = did_you_mean(word, known, shown=40)
        self._report((*keys, word), f"unknown {what or 'key'} '{word}'{tail}", at_key=True)
        meant = closest(word, known)
        self._doubt_absent(keys, [meant] if meant else known)

    def _doubt_absent(self, keys: Keys, known: Sequence[str]) -> None:
        present = self.tree.at(keys)
        for name in known:
            if present is None or present.get(name) is None:
                self.doubt((*keys, name))

    def finish(self) -> None:
        """Raise everything found, in the order of the files."""
        for problem, lines in self._unknown.values():
            more = f" (also in line{'s' * (len(lines) > 1)} {_listed(lines)})" if lines else ""
            self.found.append(replace(problem, message=problem.message + more))
        self._unknown.clear()
        if self.found:
            order = {file: i for i, file in enumerate(dict.fromkeys(p.file for p in self.found))}
            raise ScenarioError(sorted(self.found, key=lambda p: (order[p.file], p.line, p.column)))


def refuse_other_files(problems: Problems, kind: str, expected: str) -> None:
    """One sentence about a file of another kind, in place of one about each of its keys.

    Raises
    ------
    ScenarioError
        If it has what sets another kind apart, and nothing that its own has.
    """
    kinds = [k for key, k in _KIND_BY_KEY.items() if problems.tree.get(key) is not None]
    if kinds and kind != kinds[0]:
        problems.add((), f"expected {expected}, got {_FILES[kinds[0]]}")
        problems.finish()


def read_section(
    file: Path, section: type[SectionType], kind: str, expected: str
) -> tuple[SectionType, Problems]:
    """A file that is one section, and the list of what is wrong with it.

    Raises
    ------
    ScenarioError
        If it is a file of another kind, or nothing can be read of it.
    """
    problems = Problems(read_file(file))
    refuse_other_files(problems, kind, expected)
    found = problems.check(section, ())
    if found is None:
        problems.finish()
        raise ScenarioError([Place(str(file)).problem(f"expected {expected}")])
    return found, problems


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


def _listed(lines: list[int], most: int = 8) -> str:
    shown_lines = ", ".join(map(str, sorted(lines)[:most]))
    return f"{shown_lines}, ..." if len(lines) > most else shown_lines


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
