"""What the readers of the sections share: the tree, its problems, and the names known so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mst_abm.errors import did_you_mean
from mst_abm.model.definition import Compartment, NumberClass, Pattern, Product
from mst_abm.scenario.document import Keys, Node
from mst_abm.scenario.patterns import Vocabulary
from mst_abm.scenario.problems import Problems, UnknownName, WordError


@dataclass
class Context:
    """Filled section by section, in the order of ``loading``.

    ``names`` holds all names of each section as written, so that a name whose definition has a
    mistake of its own is not reported as unknown too.
    """

    tree: Node
    problems: Problems
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    names: dict[str, list[str]] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    #: Switches that something hangs on.
    asked: set[str] = field(default_factory=set)
    compartments: dict[str, Compartment] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    #: Signals that are switched off; modifiers that read one are off too.
    silent: set[str] = field(default_factory=set)
    #: The same of fields.
    field_units: dict[str, str] = field(default_factory=dict)
    silent_fields: set[str] = field(default_factory=set)
    #: Factors that ``fraction_of`` may name.
    fractions: dict[str, float] = field(default_factory=dict)
    #: Those that nobody is there for: initial cells that name one are left out.
    absent: set[str] = field(default_factory=set)
    #: Rules whose events feed a signal, and where that is said.
    events: list[tuple[Keys, str]] = field(default_factory=list)
    #: Cells that enter a lattice from its pool: (where said, compartment, product, reactant).
    entries: list[tuple[Keys, str, Product, Pattern | None]] = field(default_factory=list)

    def raw(self, *keys: str | int) -> Any:
        """The plain value at keys, None where there is none."""
        node = self.tree.at(keys)
        return node.plain() if node is not None else None

    def known(self, section: str, name: str, what: str) -> str:
        """The name, if its section has it and nothing is wrong with its definition."""
        names = self.names.get(section, [])
        if self.problems.is_in_doubt(section, name):
            raise WordError()
        if name not in names:
            raise UnknownName(f"unknown {what} '{name}'{did_you_mean(name, names)}", section, name)
        return name

    def place(self, text: str, example: str = "") -> tuple[str, str]:
        """``COMPARTMENT.CELLS`` as the name of a compartment and the text of the cells."""
        name, cells = self.place_or_cells(text)
        if not cells:
            raise WordError(f'expected compartment.cells such as "{example or f"blood.{name}"}"')
        return name, cells

    def place_or_cells(self, text: str) -> tuple[str, str]:
        """The same where the cells may be left out: they are then ""."""
        name, _, cells = (part.strip() for part in text.partition("."))
        return self.known("compartments", name, "compartment"), cells

    def is_on(self, switch: str | None, keys: Keys) -> bool:
        """Whether what hangs on a switch is in the model; ``not x`` hangs on x being off."""
        if switch is None:
            return True
        name = switch.removeprefix("not ").strip()
        with self.problems.at(*keys, "switch"):
            self.asked.add(self.known("switches", name, "switch"))
            return self.switches.get(name, True) == (name == switch)
        return True


def share_of(context: Context, name: str | None) -> float:
    """The factor ``fraction_of`` names; ``rest_x`` is 1 - x."""
    if name is None:
        return 1.0
    known = [*context.fractions, *(f"rest_{key}" for key in context.fractions)]
    context.names["fractions"] = known
    about = (("patient", "hla"), ("patient", "disease"), ("donor", "hla"), ("immunology",))
    if any(context.problems.is_in_doubt(*keys) for keys in about):
        return 1.0
    context.known("fractions", name, "fraction")
    if name in context.fractions:
        return context.fractions[name]
    return 1.0 - context.fractions[name.removeprefix("rest_")]


def number_class(given: NumberClass | None, source: str) -> NumberClass:
    """The class of a number: as given, else an assumption if its source says so."""
    if given is not None:
        return given
    return "assumption" if source.strip().lower() == "assumption" else "measured"
