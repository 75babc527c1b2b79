"""A YAML file as a tree that remembers where everything stood.

YAML 1.2 through ruamel.yaml: ``1e-3`` is a number, ``no`` is a word. Only plain mappings, lists
and scalars come out; whatever they mean is decided elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from mst_abm.errors import Problem, ScenarioError

Keys: TypeAlias = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a value was written; line 0: not in a file."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, message)


@dataclass
class Node:
    """A value of the file, its place, and for a mapping the places of its keys."""

    value: Any
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value as ordinary dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def get(self, key: str | int) -> Node | None:
        """The child under a key or index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return None

    def at(self, keys: Keys) -> Node | None:
        """The descendant at ``keys``, or None."""
        node: Node | None = self
        for key in keys:
            node = node.get(key) if node is not None else None
        return node

    def put(self, key: str, child: Node, place: Place | None = None) -> None:
        self.value[key] = child
        self.keys[key] = place or child.place

    def locate(self, keys: Keys, *, at_key: bool = False) -> Place:
        """Where the value at ``keys`` stands, or the innermost of its parents that is there."""
        node = self
        for depth, key in enumerate(keys):
            if at_key and depth == len(keys) - 1 and key in node.keys:
                return node.keys[str(key)]
            child = node.get(key)
            if child is None:
                break
            node = child
        return node.place

    def copy(self) -> Node:
        """A copy whose mappings and lists can be changed freely."""
        if isinstance(self.value, dict):
            return Node({k: c.copy() for k, c in self.value.items()}, self.place, dict(self.keys))
        if isinstance(self.value, list):
            return Node([child.copy() for child in self.value], self.place)
        return Node(self.value, self.place)


def read_file(path: Path) -> Node:
    """The tree of a file; ScenarioError with every mistake of syntax found."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ScenarioError([Place(str(path)).problem(f"expected a file, got: {reason}")]) from None
    except UnicodeDecodeError:
        message = "expected a scenario in YAML, got a file that is no text in UTF-8; check the name"
        raise ScenarioError([Place(str(path)).problem(message)]) from None
    return _read_once(text, str(path)).copy()


@lru_cache(maxsize=16)
def _read_once(text: str, file: str) -> Node:
    """The tree of a text, to be copied before it is changed.

    Patients of a trial share their model: reading its YAML takes several times as long as all that is done with it.
    """
    return read_text(text, file)


def read_text(text: str, file: str, *, place: Place | None = None) -> Node:
    """The tree of a text. With ``place`` every node is said to stand there (command line)."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except YAMLError as error:
        raise ScenarioError(_syntax_problems(error, text, file, place)) from None
    except ValueError as error:
        raise ScenarioError(
            [(place or Place(file)).problem(f"unreadable value: {error}")]
        ) from None
    if root is None:
        raise ScenarioError([(place or Place(file)).problem("the file is empty")])
    problems: list[Problem] = []
    tree = _convert(root, yaml, file, place, problems)
    if problems:
        raise ScenarioError(problems)
    return tree


def _syntax_problems(error: YAMLError, text: str, file: str, place: Place | None) -> list[Problem]:
    tabs = [
        (number, len(line) - len(line.lstrip(" ")) + 1)
        for number, line in enumerate(text.splitlines(), start=1)
        if "\t" in line[: len(line) - len(line.lstrip())]
    ]
    if tabs and place is None:
        message = "a tab in the indentation; expected spaces only"
        return [Problem(file, line, column, message) for line, column in tabs]
    if not isinstance(error, MarkedYAMLError):
        return [(place or Place(file)).problem(f"not YAML: {' '.join(str(error).split())}")]
    mark = error.problem_mark or error.context_mark
    reason = (error.problem or "cannot be read").strip()
    if mark is None:
        return [(place or Place(file)).problem(f"not YAML: {reason}")]
    context = f" {error.context}" if error.context else ""
    hint = ""
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    if "[" in line and "{" in line:
        hint = '; inside { } put quotes around a pattern with brackets, as "blast[phase=s]"'
    elif "mapping values are not allowed" in reason:
        hint = "; put quotes around text that contains ': '"
    where = place or Place(file, mark.line + 1, mark.column + 1)
    return [where.problem(f"not YAML:{context} {reason}{hint}")]


def _convert(
    node: Any, yaml: YAML, file: str, place: Place | None, problems: list[Problem]
) -> Node:
    here = place or Place(file, node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, MappingNode):
        result = Node({}, here)
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            at = place or Place(file, mark.line + 1, mark.column + 1)
            key = str(key_node.value)
            if key in result.keys:
                first = result.keys[key].line
                problems.append(at.problem(f"duplicate key '{key}', already given in line {first}"))
            else:
                result.put(key, _convert(value_node, yaml, file, place, problems), at)
        return result
    if isinstance(node, SequenceNode):
        return Node([_convert(child, yaml, file, place, problems) for child in node.value], here)
    assert isinstance(node, ScalarNode)
    return Node(_scalar(node), here)


def _scalar(node: ScalarNode) -> Any:
    """Numbers, true/false and null as such; ``+1`` stays a word, for it means a change by one."""
    kind, text = str(node.tag).rsplit(":", 1)[-1], node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and not text.startswith("+"):
        return int(text.replace("_", ""), 0) if not text.lstrip("-").isdigit() else int(text)
    if kind == "float" and not text.startswith("+"):
        named = {".inf": "inf", "-.inf": "-inf", ".nan": "nan"}
        return float(named.get(text.lower(), text.replace("_", "")))
    return text


def write(value: Any) -> str:
    """YAML of plain values: the two outer levels in lines, what is inside them in braces."""
    lines: list[str] = []
    for section, content in value.items():
        if isinstance(content, dict) and content:
            lines.append(f"{inline(section)}:")
            lines += [f"  {inline(key)}: {inline(child)}" for key, child in content.items()]
        elif isinstance(content, list) and content:
            lines.append(f"{inline(section)}:")
            lines += [f"  - {inline(child)}" for child in content]
        else:
            lines.append(f"{inline(section)}: {inline(content)}")
    return "\n".join(lines) + "\n"


def inline(value: Any) -> str:
    """A value on one line, mappings and lists in braces and brackets."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(k)}: {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(child) for child in value) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and value.isidentifier() and value.lower() not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)


_RESERVED = ("true", "false", "null")


def _number(value: float) -> str:
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    return text
