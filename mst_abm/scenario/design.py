"""``load_design``: reads a table of parameter sets, each row or mapping a point with values by dotted name."""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mst_abm.errors import Problem, ScenarioError
from mst_abm.scenario.document import Node, Place, inline, read_file

#: Columns that set the seed of a point instead of a value of the scenario.
SEED = ("seed", "run.seed")


@dataclass(frozen=True)
class DesignPoint:
    """Values by dotted name as they are written, an explicit seed, and where the point stands.

    Attributes
    ----------
    labels : what a table says of it beside the values
    before : texts ``"a.b=value"`` that are set before the values and no columns of a table, as of a patient
    chance : points with the same number share their random numbers; each has its own where None
    """

    values: tuple[tuple[str, str], ...]
    seed: int | None
    place: Place
    labels: tuple[tuple[str, str], ...] = ()
    before: tuple[str, ...] = ()
    chance: int | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """Texts ``"a.b=value"`` as for `load_scenario`."""
        return (*self.before, *(f"{name}={value}" for name, value in self.values))


def load_design(path: str | Path) -> tuple[DesignPoint, ...]:
    """Read a design: CSV with dotted names in its header, or YAML.

    In YAML it is a list of mappings, or one mapping from names to lists, of which all combinations are
    taken, the last name turning fastest.

    Raises
    ------
    ScenarioError
        With the mistakes of the file; names and values are checked when the scenario is loaded with them.
    """
    file = Path(path)
    rows = _table(file) if file.suffix.lower() in (".csv", ".tsv") else _yaml(file)
    if not rows:
        raise ScenarioError([Place(str(file)).problem("expected at least one point, got none")])
    problems = [p for place, values in rows for p in _seed_problems(place, values)]
    if problems:
        raise ScenarioError(problems)
    return tuple(_point(place, values) for place, values in rows)


def _table(file: Path) -> list[tuple[Place, list[tuple[str, str]]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise ScenarioError(
            [Place(str(file)).problem(f"expected a table, got: {reason}")]
        ) from None
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    header: list[str] = []
    rows, problems = [], []
    for cells in reader:
        words = [cell.strip() for cell in cells]
        place = Place(str(file), reader.line_num, 1)
        if not any(words) or words[0].startswith("#"):
            continue
        if not header:
            header = words
            problems += _header_problems(words, place)
        elif len(words) != len(header):
            message = f"expected {len(header)} values, as the header has names, got {len(words)}"
            problems.append(place.problem(message))
        else:
            # an empty cell leaves the scenario's own value
            rows.append((place, [pair for pair in zip(header, words, strict=True) if pair[1]]))
    if problems:
        raise ScenarioError(problems)
    return rows


def _header_problems(names: list[str], place: Place) -> list[Problem]:
    found = []
    for i, name in enumerate(names):
        if not name:
            found.append(place.problem(f"column {i + 1} has no name; expected a dotted name"))
        elif name in names[:i]:
            found.append(place.problem(f"the name '{name}' is given twice"))
    return found


def _yaml(file: Path) -> list[tuple[Place, list[tuple[str, str]]]]:
    tree = read_file(file)
    if isinstance(tree.value, dict):
        return _grid(tree, file)
    if not isinstance(tree.value, list):
        message = (
            "expected a list of points, or lists by name of which all combinations are taken; a table with "
            "commas is read from a file that ends in .csv"
        )
        raise ScenarioError([tree.place.problem(message)])
    rows, problems = [], []
    for node in tree.value:
        if isinstance(node.value, dict):
            rows.append((node.place, [(k, inline(c.plain())) for k, c in node.value.items()]))
        else:
            problems.append(node.place.problem("expected a point: values by dotted name"))
    if problems:
        raise ScenarioError(problems)
    return rows


def _grid(tree: Node, file: Path) -> list[tuple[Place, list[tuple[str, str]]]]:
    problems = [
        node.place.problem(f"{name}: expected a list of values")
        for name, node in tree.value.items()
        if not isinstance(node.value, list) or not node.value
    ]
    if problems:
        raise ScenarioError(problems)
    axes: list[list[tuple[str, Any]]] = [
        [(name, inline(value.plain())) for value in node.value] for name, node in tree.value.items()
    ]
    place = Place(str(file), tree.place.line, tree.place.column)
    return [(place, list(values)) for values in itertools.product(*axes)]


def _seed_problems(place: Place, values: list[tuple[str, str]]) -> list[Problem]:
    return [
        place.problem(f"{name}: expected a whole number of 0 or more, below 2^64, got {value}")
        for name, value in values
        if name in SEED and not (value.isdigit() and int(value) < 2**64)
    ]


def _point(place: Place, values: list[tuple[str, str]]) -> DesignPoint:
    seeds = [int(value) for name, value in values if name in SEED]
    kept = tuple(pair for pair in values if pair[0] not in SEED)
    return DesignPoint(kept, seeds[-1] if seeds else None, place)
