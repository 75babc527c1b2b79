"""One palette: a type of cell has the same colour in every figure, page and movie."""

from __future__ import annotations

from mst_abm.records.reader import Run

# Okabe and Ito's eight without black and yellow, tints that stay apart beside them, and those two with paler ones
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B",
    "#7F7F00", "#9467BD", "#17BECF", "#B22222", "#556B2F", "#FF9896", "#393B79",
    "#F0E442", "#000000", "#98DF8A", "#C5B0D5", "#AEC7E8", "#A6761D",
)  # fmt: skip
ANATOMY = ("#4d4d4d", "#8c8c8c", "#bdbdbd", "#d9d9d9")
VACANT = "#ffffff"


def colour(place: int) -> str:
    """Of the line at a place of its panel."""
    return PALETTE[place % len(PALETTE)]


def colours_of(run: Run) -> dict[str, str]:
    """One colour per type of cell; greys for anatomy."""
    static = run.species["is_static"].astype(bool)
    types = dict.fromkeys(map(str, run.species["type"][1:][~static[1:]]))
    anatomy = dict.fromkeys(map(str, run.species["type"][1:][static[1:]]))
    colours = {name: colour(i) for i, name in enumerate(types)}
    return colours | {name: ANATOMY[i % len(ANATOMY)] for i, name in enumerate(anatomy)}
