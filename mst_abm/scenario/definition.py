"""What a person asks for, checked and in base units: the input of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mst_abm.clinic.patient import Donor, Patient
from mst_abm.clinic.pharmacokinetics import Drug
from mst_abm.clinic.protocol import Dose, Infusion, Reset
from mst_abm.clinic.reaction import Reaction
from mst_abm.model.definition import Model, Observable, Product


@dataclass(frozen=True)
class Quiet:
    """When a body exchanges less often: no drug, no new cells, and signals below their levels."""

    exchange_h: float
    from_h: float = 0.0
    after_infusion_h: float = 0.0
    drugs_below: float = 0.0
    below: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Run:
    """How long, with which seed, and what is recorded how often (0: never).

    ``stop``: how far bodies are followed: to the end, to the death of their patient, or to where leukaemia is lost to.

    ``checkpoint_h``: simulated time between checkpoints, no result hangs on it. ``mode``: "exact", or "tiled" for large lattices and threads; ``tile``, side of a tile in sites,
    and ``window_h`` belong to the latter and are derived when 0.
    """

    until_h: float = 24.0
    seed: int = 1
    exchange_h: float = 0.5
    counts_every_h: float = 1.0
    snapshots_every_h: float = 0.0
    records_identity: bool = False
    mode: Literal["exact", "tiled"] = "exact"
    tile: int = 0
    window_h: float = 0.0
    checkpoint_h: float = 24.0
    stop: Literal["at end", "at death", "at relapse"] = "at end"
    quiet: Quiet | None = None


@dataclass(frozen=True)
class Scenario:
    """A model with its patient, donor, protocol and run.

    ``resolved_text`` is YAML that stands by itself: model, overrides and defaults merged; reading
    it gives this scenario again. ``model_text`` is its model part. ``groups``: when planned groups of
    acts that reactions may refer to begin, h. ``start`` names the state of the model that the run
    begins with.
    """

    name: str
    model: Model
    run: Run
    doses: tuple[Dose, ...] = ()
    infusions: tuple[Infusion, ...] = ()
    resets: tuple[Reset, ...] = ()
    reactions: tuple[Reaction, ...] = ()
    groups: tuple[tuple[str, float], ...] = ()
    drugs: tuple[Drug, ...] = ()
    observables: tuple[Observable, ...] = ()
    patient: Patient | None = None
    donor: Donor | None = None
    switches: tuple[tuple[str, bool], ...] = ()
    resolved_text: str = ""
    model_text: str = ""
    path: str = ""
    start: str = ""

    @property
    def entering(self) -> list[Product]:
        """Cells that the protocol brings in, or may bring in."""
        acts = [reaction.acts for reaction in self.reactions]
        infusions = [*self.infusions, *(event for a in acts for event in a.infusions)]
        resets = [*self.resets, *(event for a in acts for event in a.resets)]
        cells = [product for event in infusions for _, product, _ in event.cells]
        return cells + [event.product for event in resets]
