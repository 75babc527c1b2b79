"""Cells split over the values of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mst_abm.errors import did_you_mean
from mst_abm.model.definition import Product
from mst_abm.scenario.context import Context, share_of
from mst_abm.scenario.document import Keys
from mst_abm.scenario.problems import UnknownName, WordError
from mst_abm.units import quantity


def split(
    context: Context,
    species: Sequence[tuple[Product, float]],
    axis: str,
    shares: Mapping[str, Any],
    keys: Keys,
) -> list[tuple[Product, float]]:
    """Weighted species, a share of each moved to other values of an axis; the rest stays as stated.

    A share is a number or a name as for ``fraction_of``. A value whose share is 0 does not come up at
    all, so that the model is the one it would be without it.
    """
    parts = {}
    for value, written in shares.items():
        with context.problems.at(*keys, value):
            _check_value(context, species, axis, value)
            is_name = isinstance(written, str) and written[:1].isalpha()
            parts[value] = share_of(context, written) if is_name else quantity(written, "fraction")
    rest = 1.0 - sum(parts.values())
    if rest < -1e-9:
        with context.problems.at(*keys):
            raise WordError(f"expected shares that add up to at most 1, got {1.0 - rest:g}")
    found = [] if rest < 1e-9 else [(product, weight * rest) for product, weight in species]
    for product, weight in species:
        for value, part in parts.items():
            if part > 0.0:
                values = {**dict(product.values), axis: value}
                found.append((replace(product, values=tuple(values.items())), weight * part))
    return found


def _check_value(
    context: Context, species: Sequence[tuple[Product, float]], axis: str, value: str
) -> None:
    for product, _ in species:
        axes = context.vocabulary.types[product.type or ""].axes
        if axis not in axes:
            message = f"'{product.type}' has no axis '{axis}'{did_you_mean(axis, list(axes))}"
            raise UnknownName(message, str(product.type), axis)
        if value not in axes[axis]:
            tail = did_you_mean(value, list(axes[axis]))
            message = f"axis '{axis}' of '{product.type}' has no value '{value}'{tail}"
            raise UnknownName(message, str(product.type), value)
