"""The shape of scenario and model files: which keys there are and what kind of value each takes.

Written once: reading, messages about unknown keys, and the JSON Schema for editors follow from it.
What needs a second look (names, patterns, units of a signal) is settled by the rooms beside.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import core_schema

from mst_abm.units import KINDS, quantity, shown

_WRITTEN: dict[str, Any] = {"type": ["string", "number"]}


class Measured:
    """Marks a number written with its unit; see ``units.KINDS``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        read = partial(quantity, kind=self.kind)
        return core_schema.no_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return _WRITTEN | {"description": KINDS[self.kind].words}


def _word(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _on_or_off(value: object) -> object:
    known = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in known:
        raise ValueError(f"expected on or off, got {shown(value)}")
    return known[str(value).lower()]


def _scalar(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"expected a number with its unit, got {shown(value)}")
    return value


def _every(value: object) -> object:
    """Hours between samples; 0 stands for the word never."""
    return 0.0 if value == "never" else quantity(value, "time")


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else value


Rate = Annotated[float, Measured("rate")]
Time = Annotated[float, Measured("time")]
Length = Annotated[float, Measured("length")]
Volume = Annotated[float, Measured("volume")]
Density = Annotated[float, Measured("density")]
Concentration = Annotated[float, Measured("concentration")]
Diffusion = Annotated[float, Measured("diffusion")]
MolarMass = Annotated[float, Measured("molar mass")]
Number = Annotated[float, Measured("number")]
Share = Annotated[float, Measured("fraction")]
Age = Annotated[float, Measured("age")]
Height = Annotated[float, Measured("height")]
Weight = Annotated[float, Measured("weight")]
# numbers are words too: an axis value 1, the unit 1
Word = Annotated[str, BeforeValidator(_word), WithJsonSchema(_WRITTEN)]
Words = Annotated[
    list[Word], BeforeValidator(_texts), WithJsonSchema({"type": ["string", "array"]})
]
Switch = Annotated[
    bool, BeforeValidator(_on_or_off), WithJsonSchema({"enum": ["on", "off", True, False]})
]
#: A number with a unit that only its surroundings know.
Written = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_WRITTEN)]
Class = Literal["measured", "derived", "calibrated", "assumption"]


class Section(BaseModel):
    """A mapping in a file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    note: Word = ""

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted in (int, float, int | None):
            raise ValueError(f"expected a number, got {shown(value)}")
        return value


class CounterSection(Section):
    max: int = Field(ge=1, le=65535, description="largest value")
    initial: Any = Field(0, description="a number, uniform, or max + 1 weights")
    on_division: Literal["inherit", "halve", "zero", "resample", "minus_one", "plus_one"] = (
        "inherit"
    )


class TypeSection(Section):
    axes: dict[Word, list[Word]] = {}
    defaults: dict[Word, Word] = Field({}, description="value of an axis where none is stated")
    counters: dict[Word, CounterSection] = {}
    static: bool = False


class HillSection(Section):
    top: float = 1.0
    bottom: float = 0.0
    half: Written
    power: float = Field(1.0, gt=0)
    offset: Written = 0.0
    geometric: Switch = False


class LinearSection(Section):
    slope: Written
    intercept: float = 0.0
    low: float = 0.0
    high: Annotated[float, WithJsonSchema({"type": "number"})] = Field(
        default_factory=lambda: float("inf")
    )


class StepSection(Section):
    at: Written
    below: float = 0.0
    above: float = 1.0


class ExponentialSection(Section):
    top: float = 1.0
    scale: Written


class TableSection(Section):
    x: list[Written] = Field(min_length=1)
    y: list[float] = Field(min_length=1)


class ShapeSection(Section):
    hill: HillSection | None = None
    inverse_hill: HillSection | None = None
    linear: LinearSection | None = None
    step: StepSection | None = None
    exponential: ExponentialSection | None = None
    table: TableSection | None = None


class ModifierSection(Section):
    signal: Word | None = None
    near: Words | None = Field(None, min_length=1)
    site: Word | None = None
    distance: Word | None = None
    counter: Word | None = None
    field: Word | None = None
    within: int = Field(1, ge=1, le=5, description="range of near, in sites")
    shape: ShapeSection
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = ""


class AtSection(Section):
    next_to: Word | None = None
    distance: Word | None = None
    at_most: int | None = Field(None, ge=1)


class EmitSection(Section):
    to: str
    yield_: Number = Field(alias="yield")


class BiasSection(Section):
    field: Word
    strength: float = Field(ge=-1.0, le=1.0, description="below 0: away from it")
    half: Written = Field(description="gradient at which the bias is half of strength")
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = ""


class OutcomeSection(Section):
    probability: Share = 1.0
    to: str | None = None
    daughters: str | None = None
    actor: Any = None
    partner: Any = None
    counters: dict[Word, Any] = {}


class RuleSection(Section):
    name: Word = Field(min_length=1)
    die: str | None = None
    become: str | None = None
    divide: str | None = None
    move: str | None = None
    contact: str | None = None
    paracrine: str | None = None
    leave: str | None = None
    arrive: str | None = None
    rate: Rate
    source: Word = Field(min_length=1)
    class_: Class | None = Field(None, alias="class")
    modifiers: list[ModifierSection] = []
    switch: Word | None = None
    in_: Words | None = Field(None, alias="in", min_length=1)
    outcomes: list[OutcomeSection] | None = None
    counters: dict[Word, Any] = {}
    place: Any = None
    swap_with: Words | None = Field(None, min_length=1)
    biased_by: BiasSection | None = None
    within: int = Field(1, ge=1, le=5)
    at: AtSection | None = None
    emit: EmitSection | None = None
    from_: Literal["outside"] | None = Field(None, alias="from")
    batch: int = Field(1, ge=1)


class ReferenceSection(Section):
    of: str
    rate: Written
    relative_to: Written
    switch: Word | None = None


class YieldSection(Section):
    """What makes a signal: cells, by their number, or events, each by an amount."""

    of: str | None = None
    rate: Written | None = None
    event: Words | None = Field(None, min_length=1, description="names of rules")
    deaths: str | None = Field(None, description="compartment.cells")
    amount: Written | None = None
    relative_to: Written
    switch: Word | None = None


class SaturableSection(Section):
    max: Written
    half: Written


class LoadingSection(Section):
    saturates_at: Concentration


class MetaboliteSection(Section):
    made_from: Word
    loading: LoadingSection | None = None
    half_life: Time


class SignalSection(Section):
    unit: Word = "1"
    initial: Written = 0.0
    production: Written = 0.0
    clearance: Rate = 0.0
    yields: list[YieldSection] = []
    cleared_by: list[ReferenceSection] = []
    saturable_clearance: SaturableSection | None = None
    metabolite: MetaboliteSection | None = None
    concentration_of: Word | None = None
    fraction_of: Word | None = None
    switch: Word | None = None
    source: Word = Field(min_length=1)
    class_: Class | None = Field(None, alias="class")


class ObservedSection(Section):
    """How a laboratory measures an observable."""

    every: Annotated[float, BeforeValidator(_every), WithJsonSchema(_WRITTEN)] = Field(
        24.0, description="whole days, or never"
    )
    cells_counted: int | None = Field(None, ge=1, description="of a share")
    volume_counted: Volume | None = Field(None, description="of blood, of a density")
    limit: Written | None = Field(None, description="below it nothing is detected")
    source: Word = Field(min_length=1)
    class_: Class | None = Field(None, alias="class")


class FieldYieldSection(Section):
    of: str
    rate: Written
    relative_to: Density
    switch: Word | None = None


class FieldSection(Section):
    unit: Word = "1"
    in_: Word = Field(alias="in", description="a lattice")
    block: int | None = Field(None, ge=1, description="side of a block in sites")
    diffusion: Diffusion
    decay: Rate = 0.0
    initial: Written = 0.0
    production: Written = 0.0
    yields: list[FieldYieldSection] = []
    switch: Word | None = None
    source: Word = Field(min_length=1)
    class_: Class | None = Field(None, alias="class")


class ObservableSection(Section):
    of: str | None = None
    signal: Word | None = None
    relative_to: Written | None = None
    share_of: str | None = None
    times: Number = 1.0
    observed: ObservedSection | None = None
    switch: Word | None = None
    source: Word = Field(min_length=1)
    class_: Class | None = Field(None, alias="class")


class RiskSection(Section):
    observable: Word
    rate: Rate
    shape: ShapeSection
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = Field(min_length=1)


class HazardSection(Section):
    """What can befall the patient: at the rate of ``risks``, or when an exposure passes what he can bear."""

    risks: list[RiskSection] | None = Field(None, min_length=1)
    exposure: Word | None = Field(None, description="an observable that only grows")
    log10_median: float | None = None
    log10_sd: Annotated[float, Field(gt=0)] | None = None
    grades: dict[Word, Annotated[float, Field(ge=0)]] = Field(
        {}, description="log10 of the exposure above what the patient can bear"
    )
    fatal: Switch = False
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = ""


class LawSection(ShapeSection):
    """A shape that may rest on something else than the number beside it."""

    class_: Class | None = Field(None, alias="class")
    source: Word = ""


class LevelSection(Section):
    """What cells see of a drug: its plasma level, or one that follows it."""

    half_life: Time | None = None
    loading: LoadingSection | None = None
    shape: LawSection | None = Field(None, description="of effects that have none of their own")
    class_: Class | None = Field(None, alias="class")
    source: Word = Field(min_length=1)


class EffectSection(Section):
    name: Word = ""
    kills: Words | None = Field(None, min_length=1, description="cells")
    multiplies: Words | None = Field(None, min_length=1, description="names of rules")
    adds_to: Word | None = Field(None, description="a signal")
    rate: Written | None = None
    level: Word = "plasma"
    shape: LawSection | None = None
    in_: Words | None = Field(None, alias="in", min_length=1)
    modifiers: list[ModifierSection] = []
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = Field(min_length=1)


class DrugSection(Section):
    molar_mass: MolarMass
    clearance: Written
    half_lives: list[Time] = Field(min_length=1, max_length=3)
    fractions: list[Share] = [1.0]
    dosing: Literal["mg/m^2", "mg/kg", "mg"] = "mg/m^2"
    highest_dose: Written | None = None
    levels: dict[Word, LevelSection] = {}
    effects: list[EffectSection] = []
    source: Word = Field(min_length=1)


class LatticeSection(Section):
    shape: list[Annotated[int, Field(ge=3)]] = Field(min_length=2, max_length=3)
    spacing: Length = 8.0
    neighbours: int | None = None
    boundary: Any = "periodic"


class MixedSection(Section):
    capacity: int = Field(0, ge=0, description="sites; 0: mass action without exclusion")
    neighbours: int = Field(26, ge=1)


class CompartmentSection(Section):
    lattice: LatticeSection | None = None
    mixed: MixedSection | None = None
    patches: int = Field(1, ge=1)
    stands_for: Volume | None = None
    share: Written | None = None
    site_fractions: dict[Word, Annotated[float, Field(ge=0)]] = {}


class TubesSection(Section):
    spacing: Length
    radius: Length


class SlabsSection(Section):
    spacing: Length
    thickness: Length


class ClustersSection(Section):
    radius: Length


class PlaceSection(Section):
    tubes: TubesSection | None = None
    slabs: SlabsSection | None = None
    clusters: ClustersSection | None = None


class InitialSection(Section):
    cells: str | None = None
    mix: dict[str, Annotated[float, Field(ge=0)]] | None = None
    number: Number | None = None
    density: Density | None = None
    fraction: Share | None = None
    fraction_of: Word | None = None
    counters: dict[Word, Any] = {}
    split: dict[Word, dict[Word, Written]] = Field(
        {}, description="shares of the cells that have another value of an axis"
    )
    place: Any = "random"
    times: Annotated[Number, Field(ge=0)] = Field(1.0, description="factor on the amount")
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = ""


def _mapping(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"expected a mapping (key: value), got {shown(value)}")
    return value


#: Cells by compartment.
Cells = dict[str, list[InitialSection] | dict[str, Number]]
# checked item by item, where a mistake has an address
LaterCells = Annotated[Cells, SkipValidation, BeforeValidator(_mapping)]
#: Factors on cells, below a compartment or with its name before a dot.
Factors = Annotated[
    dict[str, Number | dict[str, Number]], SkipValidation, BeforeValidator(_mapping)
]


class StateSection(Section):
    """A named patient: cells at time zero."""

    like: Word | None = Field(None, description="the state that this one is made from")
    initial: LaterCells = {}
    times: Factors = Field({}, description="factors on what is there so far")
    add: LaterCells = Field({}, description="cells beside these")
    source: Word = ""


class StartSection(Section):
    state: Word | None = None
    times: Factors = {}
    add: LaterCells = {}


class ReservoirSection(Section):
    cells: Words = Field(min_length=1)
    in_: Word = Field(alias="in")
    below: Number = Field(20.0, ge=1, description="simulated cells, fewer go to the reservoir")
    above: Number = Field(100.0, description="simulated cells, more come back")
    probes: int = Field(256, ge=1, le=1_000_000)
    on: Words | None = Field(None, min_length=1, description="sites of probes, empty if not said")
    at: AtSection | None = None
    switch: Word | None = None
    source: Word = Field(min_length=1)
    class_: Class | None = Field(None, alias="class")


class SwitchSection(Section):
    default: Switch


class ImmunologySection(Section):
    alloreactive_full_mismatch: Share
    minor_antigen_share: Share
    kir_share_per_ligand: Share = Field(0.0, description="of NK cells, for each missing ligand")
    source: Word = Field(min_length=1)


class GraftSection(Section):
    per: Word
    share: Number = 1.0
    into: Word
    cells: str
    counters: dict[Word, Any] = {}
    fraction_of: Word | None = None
    switch: Word | None = None
    class_: Class | None = Field(None, alias="class")
    source: Word = ""


class PatientSection(Section):
    age: Age | None = None
    height: Height | None = None
    weight: Weight | None = None
    disease: dict[str, Any] = {}
    hla: list[str] = []
    kir: list[str] = []
    switches: dict[str, Switch] = {}


class DonorSection(Section):
    """Beside these: the cells per kg that the grafts of the model ask for."""

    model_config = ConfigDict(extra="allow", frozen=True)
    relation: Word = "unrelated"
    age: Age | None = None
    hla: list[str] = []
    kir: list[str] = []


class DoseSection(Section):
    give: Word
    dose: Written
    by: Literal["bolus", "infusion", "continuous infusion"] | None = None
    over: Time | None = None
    for_: Time | None = Field(None, alias="for")
    every: Time | None = None
    times: int = Field(1, ge=1)


class InfusionSection(Section):
    """Beside these: the cells per kg that the graft asks for, instead of the donor's."""

    model_config = ConfigDict(extra="allow", frozen=True)
    infuse: Word
    every: Time | None = None
    times: int = Field(1, ge=1)


class PlannedSection(Section):
    at: Time
    as_: Word | None = Field(None, alias="as", description="name of a group of acts")


class GiveSection(PlannedSection, DoseSection):
    """A drug at a planned time."""


class InfuseSection(PlannedSection, InfusionSection):
    """Cells at a planned time. Beside these keys: the cells per kg that the graft asks for."""

    model_config = ConfigDict(extra="allow", frozen=True)


class SetSection(PlannedSection):
    set: dict[str, Number]


class WhenSection(Section):
    """Beside these: observables with comparisons, all of which must hold."""

    model_config = ConfigDict(extra="allow", frozen=True)
    between: list[Time] | None = Field(None, min_length=2, max_length=2)
    after: Time | None = None
    before: Time | None = None
    of: Word | None = Field(None, description="group from whose latest start the window counts")
    for_: Time | None = Field(None, alias="for", description="whole days: daily checks on end")


class ReactionSection(Section):
    when: WhenSection
    name: Word = ""
    as_: Word | None = Field(None, alias="as", description="name of a group of acts")
    at_most: int = Field(1, ge=1)
    not_within: Time = Field(0.0, description="of the last time")
    then: Annotated[Any, WithJsonSchema({"type": ["array", "object"]})] = None


class GiveWhenSection(ReactionSection, DoseSection):
    """A drug when something is seen."""


class InfuseWhenSection(ReactionSection, InfusionSection):
    """Cells when something is seen."""

    model_config = ConfigDict(extra="allow", frozen=True)


class RepeatWhenSection(ReactionSection):
    repeat: Word


class StopWhenSection(ReactionSection):
    stop: Word = Field(min_length=1, description="why treatment ends")


class GiveThenSection(DoseSection):
    after: Time = 0.0


class InfuseThenSection(InfusionSection):
    model_config = ConfigDict(extra="allow", frozen=True)
    after: Time = 0.0


class RecordSection(Section):
    counts: Time = 1.0
    snapshots: Time = 0.0


class QuietSection(Section):
    """When a body exchanges less often."""

    exchange: Time = Field(4.0, description="exchange interval of a quiet body")
    from_: Time = Field(0.0, alias="from", description="not before this time")
    after_infusion: Time = Field(0.0, description="not before cells were last given, plus this")
    drugs_below: float = Field(
        1e-3, ge=0, description="levels of drugs, and of what they become, in their own units"
    )
    below: dict[str, float] = Field({}, description="levels of signals")


class RunSection(Section):
    until: Time = 24.0
    stop: Literal["at end", "at death", "at relapse"] = "at end"
    quiet: QuietSection | None = None
    seed: int = Field(1, ge=0, lt=2**64)
    exchange: Time = 0.5
    mode: Literal["exact", "tiled"] = "exact"
    tile: int = Field(0, ge=0, le=250, description="side of a tile in sites, 0 = the usual")
    window: Time = Field(0.0, description="of tiled mode; derived from the rates when 0")
    checkpoint: Time = Field(24.0, description="simulated, between checkpoints; 0: none")
    record: RecordSection = RecordSection()
    identity: Switch = False


class FileSection(Section):
    """A scenario or model file; every section is optional in a scenario that names a model."""

    # only the JSON Schema needs it whole; files are checked item by item
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    name: Word = ""
    model: Word | None = None
    types: dict[str, TypeSection | None] = {}
    sets: dict[str, list[str]] = {}
    signals: dict[str, SignalSection] = {}
    fields: dict[str, FieldSection] = {}
    observables: dict[str, ObservableSection] = {}
    hazards: dict[str, HazardSection] = {}
    drugs: dict[str, DrugSection] = {}
    rules: list[RuleSection] = []
    compartments: dict[str, CompartmentSection] = {}
    reservoirs: dict[str, ReservoirSection] = {}
    states: dict[str, StateSection] = {}
    start: Word | StartSection | None = None
    initial: Cells = {}
    switches: dict[str, Switch | SwitchSection] = {}
    patient_defaults: PatientSection | None = None
    immunology: ImmunologySection | None = None
    grafts: dict[str, list[GraftSection]] = {}
    patient: PatientSection | None = None
    donor: DonorSection | None = None
    protocol: list[
        GiveSection
        | InfuseSection
        | SetSection
        | GiveWhenSection
        | InfuseWhenSection
        | RepeatWhenSection
        | StopWhenSection
    ] = []
    run: RunSection | None = None
    override: dict[str, Any] = {}


MODEL_SECTIONS = (
    "types", "sets", "switches", "signals", "fields", "observables", "hazards", "drugs", "rules",
    "compartments", "reservoirs", "states", "initial", "patient_defaults", "immunology", "grafts",
)  # fmt: skip


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a file, for editors."""
    schema = FileSection.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "mst_abm scenario or model"
    return schema
