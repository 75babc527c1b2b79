"""From the files people write to a checked Scenario.

The only room that reads YAML. pydantic, ruamel.yaml and pint come in with the first scenario, not
with the package: the names below are looked up when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mst_abm.scenario.loading import load_scenario, load_scenario_text, shipped_models
    from mst_abm.scenario.schema import json_schema

_ROOMS = {
    "load_scenario": "loading",
    "load_scenario_text": "loading",
    "shipped_models": "loading",
    "json_schema": "schema",
}
__all__ = ["json_schema", "load_scenario", "load_scenario_text", "shipped_models"]


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
