"""The reference model in Mesa: agents on an orthogonal grid, fixed steps, random activation.

Written as Mesa 3's own examples are: ``CellAgent`` on ``OrthogonalVonNeumannGrid``, one agent per cell,
``shuffle_do("step")``. The neighbours of every cell are looked up once, and one uniform decides what
an agent does, as in `benchmarks.stepped`; both are the same process, so one may stand in for the other
where many replicates are needed. Imported only where Mesa is installed (extra ``bench``).
"""

from __future__ import annotations

from mesa import Model
from mesa.discrete_space import CellAgent, OrthogonalVonNeumannGrid

from benchmarks.stepped import probabilities


class BoneCell(CellAgent):
    """A cell that divides, dies and hops."""

    def __init__(self, model: Reference, cell) -> None:
        super().__init__(model)
        self.cell = cell

    def step(self) -> None:
        model = self.model
        u = self.random.random()
        if u >= model.p_any:
            return
        if u < model.p_death:
            self.remove()
            return
        other = self.random.choice(model.neighbours[self.cell])
        if not other.empty:
            return
        if u < model.p_death_or_birth:
            BoneCell(model, other)
        else:
            self.move_to(other)
            model.hops += 1


class Reference(Model):
    """A periodic cube, filled at random in part."""

    def __init__(self, side: int, filled: float, step_h: float, kind: str, seed: int) -> None:
        super().__init__(seed=seed)
        birth, death, hop = probabilities(step_h, kind)
        self.p_death, self.p_death_or_birth = death, death + birth
        self.p_any = birth + death + hop
        self.grid = OrthogonalVonNeumannGrid(
            (side, side, side), torus=True, capacity=1, random=self.random
        )
        self.neighbours = {cell: list(cell.connections.values()) for cell in self.grid}
        cells = list(self.grid)
        for cell in self.random.sample(cells, int(filled * len(cells))):
            BoneCell(self, cell)
        self.hops = self.cell_steps = 0

    def step(self) -> None:
        self.cell_steps += len(self.agents)
        self.agents.shuffle_do("step")


def run(model: Reference, hours: float, step_h: float) -> tuple[int, float]:
    """Advance; cells at the end, and executed hops per cell and hour."""
    for _ in range(round(hours / step_h)):
        model.step()
    return len(model.agents), model.hops / (model.cell_steps * step_h)
