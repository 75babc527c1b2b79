"""Initial cells of a model as the engine's items."""

from __future__ import annotations

import math

import numpy as np

from mst_abm.engine.place import Items
from mst_abm.errors import ModelError
from mst_abm.model.compile import CompiledModel
from mst_abm.model.definition import Compartment, InitialCells, Product, expected_in_patch
from mst_abm.model.geometry import sites_at
from mst_abm.model.laws import Updates
from mst_abm.model.species import resolve


def tube_sites(compartment: Compartment, spacing: float, radius: float) -> np.ndarray:
    """Places of parallel tubes along the last axis, on a square grid across the others.

    Places are counted x first through the patch.
    """
    shape = [*compartment.shape, 1, 1][:3]
    step, reach = spacing / compartment.spacing, radius / compartment.spacing
    near = []
    across = 2 if len(compartment.shape) == 3 else 1
    for n in shape[:across]:
        x = np.arange(n)
        count = max(int(n / step), 1)
        centres = (np.arange(count) + 0.5) * n / count - 0.5
        near.append(np.abs(x[:, None] - centres).min(axis=1))
    if across == 1:
        inside = np.repeat((near[0] <= reach)[:, None], shape[1], axis=1)
    else:
        inside = near[0][:, None] ** 2 + near[1][None, :] ** 2 <= reach**2 + 0.5
    x, y = np.nonzero(inside)
    z = np.arange(shape[2])
    sites = x[:, None] + shape[0] * (y[:, None] + shape[1] * z)
    return np.sort(sites.ravel()).astype(np.int32)


def slab_sites(item: InitialCells, compartment: Compartment) -> np.ndarray:
    """Places of plates across the first axis, in an order of which every beginning is spread evenly.

    Places are counted x first through the patch. Beyond a wall there is nothing; without one, a plate
    goes on at the other side.
    """
    shape = [*compartment.shape, 1, 1][:3]
    n, size = shape[0], compartment.spacing
    count = max(int(n * size / item.spacing), 1)
    thick = max(round(item.thickness / size), 1)
    middles = np.round(np.arange(count) * n / count).astype(int)
    layers = (middles[:, None] + np.arange(thick) - (thick - 1) // 2).ravel()
    layers = layers % n if compartment.is_periodic[0] else layers[(layers >= 0) & (layers < n)]
    layers = np.unique(layers)
    plane = n * np.arange(shape[1] * shape[2])
    sites = (layers[:, None] + plane).ravel()
    stride = round(len(sites) * (math.sqrt(5.0) - 1.0) / 2.0)
    while math.gcd(stride, len(sites)) > 1:
        stride += 1
    return sites[np.arange(len(sites)) * stride % len(sites)].astype(np.int32)


def sites_from_centre(compartment: Compartment) -> np.ndarray:
    """All places, counted x first, nearest to the centre first."""
    shape = [*compartment.shape, 1, 1][:3]
    axes = [np.arange(n) - (n - 1) // 2 for n in shape]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return np.argsort((x**2 + y**2 + z**2).ravel(), kind="stable").astype(np.int32)


def build_items(compiled: CompiledModel, updates: Updates) -> Items:
    """Rows for `populate`, given sites and clusters before random places."""
    model = compiled.model
    types = {t.name: t for t in model.types}
    places = {c.name: i for i, c in enumerate(model.compartments)}
    ordered = sorted(model.initial, key=lambda item: item.placement == "random")
    rows: list[tuple] = []
    sites: list[np.ndarray] = []
    n_sites = 0
    for item in ordered:
        compartment = model.compartments[places[item.compartment]]
        number = expected_in_patch(item, compartment)
        weight_sum = sum(w for _, w in item.species)
        chosen = np.zeros(0, np.int32)
        if item.placement == "tubes":
            chosen = tube_sites(compartment, item.spacing, item.radius)
            number = len(chosen) if item.amount == 0 else number
        elif item.placement == "slabs":
            chosen = slab_sites(item, compartment)
            number = len(chosen) if item.amount == 0 else number
        elif item.placement == "centre":
            chosen = sites_from_centre(compartment)
        first, n_sites = n_sites, n_sites + len(chosen)
        if len(chosen):
            nx, ny, _ = [*compartment.shape, 1, 1][:3]
            place = chosen % nx, chosen // nx % ny, chosen // (nx * ny)
            m = places[item.compartment]
            chosen = sites_at(compiled.geometry, m, *place).astype(np.int32)
        sites.append(chosen)
        for product, weight in item.species:
            species = resolve(product, None, types, f"initial cells of '{item.compartment}'")
            is_exact = item.measure == "number" and len(item.species) == 1
            if is_exact and abs(item.amount - round(item.amount)) > 1e-9:
                is_exact = False
            rows.append(
                (
                    places[item.compartment],
                    compiled.species_number(species),
                    counter_program(updates, species, product, dict(item.counters)),
                    number * weight / weight_sum,
                    round(item.amount) if is_exact else -1,
                    first,
                    n_sites,
                    item.radius / compartment.spacing if item.placement == "clusters" else 0.0,
                )
            )
    if len(rows) == 0:
        rows, columns = [], [[] for _ in range(8)]
    else:
        columns = list(map(list, zip(*rows, strict=True)))
    kinds = (np.int64, np.int64, np.int64, float, np.int64, np.int64, np.int64)
    arrays = [np.array(c, k) for c, k in zip(columns[:7], kinds, strict=True)]
    every = np.concatenate(sites) if sites else np.zeros(0, np.int32)
    return Items(*arrays, sites=every, radius=np.array(columns[7], float))


def counter_program(
    updates: Updates, species, product: Product, overrides: dict[str, tuple[float, ...]]
) -> int:
    """Program that draws a new cell's counters, with the item's own weights where given."""
    places = updates.layout.places.get(species.type, {})
    unknown = [name for name in overrides if name not in places]
    if unknown:
        raise ModelError(f"initial cells of type '{species.type}' have no counter '{unknown[0]}'.")
    return updates.program(None, species, product, "same", overrides)
