"""mst_abm: cell-by-cell simulation of microtransplantation for blood cancers.

The front door. Nothing heavy is imported before one of these names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mst_abm.version import __version__

if TYPE_CHECKING:
    from mst_abm.records.reader import open_run
    from mst_abm.runs.campaign import open_campaign
    from mst_abm.runs.simulation import Simulation, simulate
    from mst_abm.runs.to_file import run_to_file
    from mst_abm.scenario import load_scenario

_HOMES = {
    "load_scenario": "mst_abm.scenario",
    "Simulation": "mst_abm.runs.simulation",
    "simulate": "mst_abm.runs.simulation",
    "run_to_file": "mst_abm.runs.to_file",
    "open_run": "mst_abm.records.reader",
    "open_campaign": "mst_abm.runs.campaign",
}

__all__ = [
    "Simulation",
    "__version__",
    "load_scenario",
    "open_campaign",
    "open_run",
    "run_to_file",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mst_abm' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
