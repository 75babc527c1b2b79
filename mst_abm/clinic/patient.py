"""The people of a scenario: the patient with his or her body surface, and the donor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal


def body_surface(
    height_cm: float, weight_kg: float, formula: Literal["mosteller", "dubois"] = "mosteller"
) -> float:
    """Body surface area, m^2.

    mosteller: sqrt(height weight / 3600), Mosteller 1987, the formula of most trial protocols.
    dubois:    0.007184 height^0.725 weight^0.425, Du Bois and Du Bois 1916.
    """
    if formula == "mosteller":
        return math.sqrt(height_cm * weight_kg / 3600.0)
    return 0.007184 * height_cm**0.725 * weight_kg**0.425


@dataclass(frozen=True)
class Patient:
    """Who is treated. 0 stands for a height, weight or age that was not given."""

    age_y: float = 0.0
    height_cm: float = 0.0
    weight_kg: float = 0.0
    hla: tuple[str, ...] = ()
    kir: tuple[str, ...] = ()
    disease: dict[str, object] = field(default_factory=dict)

    @property
    def bsa_m2(self) -> float:
        """Body surface by Mosteller; 0 if height or weight is not given."""
        return body_surface(self.height_cm, self.weight_kg)


@dataclass(frozen=True)
class Donor:
    """Who gives the cells; ``cells_per_kg`` of the patient's weight, by name as in cd3_per_kg."""

    relation: str = "unrelated"
    age_y: float = 0.0
    hla: tuple[str, ...] = ()
    kir: tuple[str, ...] = ()
    cells_per_kg: dict[str, float] = field(default_factory=dict)
