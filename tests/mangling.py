"""Documents with something odd in one place: what a person types when a hand slips, and worse."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from typing import Any

from mst_abm.errors import ScenarioError
from mst_abm.scenario.document import write
from mst_abm.scenario.loading import load_scenario_text

ODD = [None, "", True, -1, "x", "1 /h", [], {}, {"a": 1}, [[1]], float("inf"), "a -> b", "*"]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of everything inside a document, outer before inner."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items if isinstance(value, dict | list) else ():
        yield (*path, key)
        yield from places(child, (*path, key)) if isinstance(child, dict | list) else ()


def check_mangled(document: Any, paths: Iterable[tuple], draw: random.Random) -> int:
    """Read the document with something odd at each of the paths; how often it was refused.

    Whatever stands where, a person sees sentences and never a traceback.
    """
    refused = 0
    for path in paths:
        mangled = copy.deepcopy(document)
        node = mangled
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = draw.choice(ODD)
        try:
            load_scenario_text(write(mangled))
        except ScenarioError as error:
            assert error.problems
            refused += 1
    return refused
