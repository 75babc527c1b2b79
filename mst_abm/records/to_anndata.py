"""All cells of one snapshot as AnnData: a row for each cell, its place among the coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.extras import needs
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK
from mst_abm.records.reader import Run
from mst_abm.records.tables import Words, cells_of


def to_anndata(run: Run, frame: int = -1, colours: Mapping[str, str] | None = None) -> Any:
    """Cells of a snapshot, -1 the last; ``obsm["spatial"]`` holds places in um, not a number where cells mix.

    There are no genes: the matrix has no columns. ``colours`` of types go where scanpy looks for them.

    Raises
    ------
    RecordError
        If anndata is not installed or there is no such snapshot.
    """
    anndata = needs("anndata", "export")
    pandas = needs("pandas", "export")
    columns = cells_of(run, frame)
    places = np.stack([np.asarray(columns.pop(f"{axis}_um")) for axis in "xyz"], axis=1)
    index = columns["id"] if "id" in columns else np.arange(len(places))
    table = {
        name: pandas.Categorical.from_codes(v.codes, list(v.names)).remove_unused_categories()
        if isinstance(v, Words)
        else v
        for name, v in columns.items()
        if name not in ("replicate", "time_h")
    }
    obs = pandas.DataFrame(table, index=np.asarray(index).astype(str))
    if not obs.index.is_unique:
        raise RecordError(f"{run.path}: two cells of snapshot {frame} have one identity.")
    found = anndata.AnnData(X=np.zeros((len(obs), 0), "f4"), obs=obs, obsm={"spatial": places})
    snapshot = run.snapshot(frame)
    found.uns |= {
        "made": MARK,
        "run": run.name,
        "seed": str(run.attributes["seed"]),
        "replicate": snapshot.replicate,
        "time_h": snapshot.time_h,
    }
    if colours is not None:
        found.uns["type_colors"] = [colours[name] for name in obs["type"].cat.categories]
    return found


def write_anndata(
    run: Run, path: Path, *, frame: int = -1, colours: Mapping[str, str] | None = None
) -> None:
    """The same into an .h5ad file."""
    found = to_anndata(run, frame, colours)
    with written(path) as unfinished:
        found.write_h5ad(unfinished)
