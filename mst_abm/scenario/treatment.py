"""Sections on people and treatment: drugs, patient, donor, immunology, grafts, protocol, run."""

from __future__ import annotations

import math

from pydantic import BaseModel

from mst_abm.clinic.hla import mismatch, missing_ligands
from mst_abm.clinic.patient import Donor, Patient
from mst_abm.clinic.pharmacokinetics import Drug
from mst_abm.clinic.protocol import (
    Acts,
    Infusion,
    Order,
    ProtocolError,
    Reset,
    TooLate,
    expand,
    repeats,
)
from mst_abm.errors import closest
from mst_abm.model.definition import Product
from mst_abm.scenario.context import Context, share_of
from mst_abm.scenario.definition import Quiet, Run
from mst_abm.scenario.document import Keys
from mst_abm.scenario.problems import WordError, known_keys
from mst_abm.scenario.schema import (
    DonorSection,
    DoseSection,
    DrugSection,
    GiveSection,
    GraftSection,
    ImmunologySection,
    InfuseSection,
    InfusionSection,
    PatientSection,
    PlannedSection,
    RunSection,
    SetSection,
)
from mst_abm.scenario.spaces import parse_species
from mst_abm.units import quantity, quantity_in, shown

#: What a line of a protocol is about.
WAYS = ("give", "infuse", "set", "when")


def read_run(context: Context) -> Run:
    section = context.problems.check(RunSection, ("run",))
    if section is None:
        return Run(until_h=float("inf"))
    for key, value in (("until", section.until), ("exchange", section.exchange)):
        if value <= 0:
            context.problems.add(("run", key), "expected a duration above 0")
    if section.window < 0:
        context.problems.add(("run", "window"), "expected a duration above 0, or 0 to derive it")
    if section.checkpoint < 0:
        context.problems.add(("run", "checkpoint"), "expected a duration above 0, or 0 for none")
    is_known = not context.problems.is_in_doubt("run", "until")
    return Run(
        until_h=section.until if is_known else math.inf,
        seed=section.seed,
        exchange_h=section.exchange,
        counts_every_h=section.record.counts,
        snapshots_every_h=section.record.snapshots,
        records_identity=section.identity,
        mode=section.mode,
        tile=section.tile,
        window_h=section.window,
        checkpoint_h=section.checkpoint,
        stop=section.stop,
        quiet=_read_quiet(context, section),
    )


def _read_quiet(context: Context, section: RunSection) -> Quiet | None:
    """The quieter pace, if its interval is made of usual ones."""
    quiet, keys = section.quiet, ("run", "quiet")
    if quiet is None:
        return None
    times = quiet.exchange / section.exchange if section.exchange > 0 else math.inf
    if round(times) < 1 or abs(times - round(times)) > 1e-9:
        context.problems.add(
            (*keys, "exchange"),
            f"expected a multiple of run.exchange ({section.exchange:g} h), got {quiet.exchange:g} h",
        )
    if section.mode != "exact" or context.names["fields"]:
        context.problems.add(keys, "expected only in exact mode and without fields", at_key=True)
    for name in quiet.below:
        with context.problems.at(*keys, "below", name):
            context.known("signals", name, "signal")
    return Quiet(
        exchange_h=quiet.exchange,
        from_h=quiet.from_,
        after_infusion_h=quiet.after_infusion,
        drugs_below=quiet.drugs_below,
        below=tuple(quiet.below.items()),
    )


def read_drugs(context: Context) -> dict[str, Drug]:
    found = {}
    for name in context.names["drugs"]:
        keys: Keys = ("drugs", name)
        section = context.problems.check(DrugSection, keys)
        drug = _read_drug(context, name, section, keys) if section is not None else None
        if drug is not None:
            found[name] = drug
    return found


def _read_drug(context: Context, name: str, section: DrugSection, keys: Keys) -> Drug | None:
    half_lives, fractions = tuple(section.half_lives), tuple(section.fractions)
    if len(half_lives) != len(fractions):
        got = f"got {len(fractions)} and {len(half_lives)}"
        context.problems.add(
            (*keys, "fractions"),
            f"expected as many fractions as half_lives, {got}",
            of=[(*keys, "fractions"), (*keys, "half_lives")],
        )
    elif abs(sum(fractions) - 1.0) > 1e-6:
        got = f"got {sum(fractions):g}"
        context.problems.add((*keys, "fractions"), f"expected fractions that add up to 1, {got}")
    if min(half_lives) <= 0:
        context.problems.add((*keys, "half_lives"), "expected half-lives above 0")
    if section.molar_mass <= 0:
        context.problems.add((*keys, "molar_mass"), "expected a molar mass above 0")
    highest = None
    if section.highest_dose is not None:
        with context.problems.at(*keys, "highest_dose"):
            a_day = f"{section.dosing}/day"
            highest = quantity_in(section.highest_dose, a_day)
            if not 0 < highest < math.inf:
                raise WordError(f"expected a dose above 0, got {shown(section.highest_dose)}")
    with context.problems.at(*keys, "clearance"):
        is_per_area = False
        try:
            clearance = quantity(section.clearance, "clearance")
        except ValueError:
            is_per_area = True
            clearance = quantity(section.clearance, "clearance per area")
        if clearance <= 0:
            raise WordError(f"expected a clearance above 0, got {shown(section.clearance)}")
        return Drug(
            name=name,
            molar_mass=section.molar_mass,
            clearance=clearance,
            is_per_area=is_per_area,
            half_lives_h=half_lives,
            fractions=fractions,
            dosing=section.dosing,
            highest_a_day=highest,
            reference=section.source,
        )
    return None


def read_patient(context: Context) -> Patient | None:
    context.problems.check(PatientSection, ("patient_defaults",))
    if context.raw("patient") is None:
        return None
    section = context.problems.check(PatientSection, ("patient",))
    if section is None:
        return None
    return Patient(
        age_y=section.age or 0.0,
        height_cm=section.height or 0.0,
        weight_kg=section.weight or 0.0,
        hla=tuple(section.hla),
        kir=tuple(section.kir),
        disease=dict(section.disease),
    )


def read_donor(context: Context) -> Donor | None:
    if context.raw("donor") is None:
        return None
    refuse_unknown(context, DonorSection, None, ("donor",))
    section = context.problems.check(DonorSection, ("donor",))
    if section is None:
        return None
    return Donor(
        relation=section.relation,
        age_y=section.age or 0.0,
        hla=tuple(section.hla),
        kir=tuple(section.kir),
        cells_per_kg=_cells_per_kg(context, section.model_extra or {}, None, ("donor",)),
    )


def refuse_unknown(
    context: Context, section: type[BaseModel], graft: str | None, keys: Keys
) -> None:
    """Complain about keys that are neither the section's own nor cells per kg of a graft."""
    known = [*known_keys(section, ()), *_per_names(context, graft)]
    if context.problems.is_in_doubt("grafts"):
        return
    written = context.raw(*keys)
    for key in written if isinstance(written, dict) else ():
        if key not in known:
            context.problems.add_unknown_key(keys, key, known)


def _cells_per_kg(
    context: Context, extra: dict[str, object], graft: str | None, keys: Keys
) -> dict[str, float]:
    """Keys beyond the fixed ones: cells per kg, by the names that grafts ask for."""
    wanted = _per_names(context, graft)
    found = {}
    for key, value in extra.items():
        if key not in wanted:
            continue
        with context.problems.at(*keys, key):
            is_bare = isinstance(value, (int, float)) and not isinstance(value, bool)
            found[key] = quantity(f"{value} /kg" if is_bare else value, "cells per kg")
    return found


def _per_names(context: Context, graft: str | None) -> list[str]:
    found: dict[str, None] = {}
    for name, content in (context.raw("grafts") or {}).items():
        if graft in (None, name) and isinstance(content, list):
            for i in range(len(content)):
                section = context.problems.check(GraftSection, ("grafts", name, i))
                if section is not None:
                    found[section.per] = None
    return list(found)


def read_fractions(context: Context, patient: Patient | None, donor: Donor | None) -> None:
    """The factors that ``fraction_of`` may name: of T and NK cells, and shares of the disease."""
    usual = context.raw("patient_defaults", "disease")
    shares = usual if isinstance(usual, dict) else {}
    for key, value in (shares | (patient.disease if patient else {})).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
            context.fractions[key] = float(value)
    foreign = {}
    hvg_share = gvh_share = 0.0
    for who, alleles in (
        ("patient", patient.hla if patient else ()),
        ("donor", donor.hla if donor else ()),
    ):
        with context.problems.at(who, "hla"):
            foreign[who] = _checked_alleles(alleles)
    kir_hvg = kir_gvh = 0
    if len(foreign) == 2:
        result = mismatch(foreign["patient"], foreign["donor"])
        hvg_share, gvh_share = result.hvg_fraction, result.gvh_fraction
        hosts, donors = (tuple(who.kir) if who else () for who in (patient, donor))
        kir_hvg = len(missing_ligands(foreign["patient"], foreign["donor"], hosts))
        kir_gvh = len(missing_ligands(foreign["donor"], foreign["patient"], donors))
    if context.raw("immunology") is None:
        return
    section = context.problems.check(ImmunologySection, ("immunology",))
    full = section.alloreactive_full_mismatch if section else 0.0
    least = section.minor_antigen_share if section else 0.0
    context.fractions["hvg"] = max(least, full * hvg_share)
    context.fractions["gvh"] = max(least, full * gvh_share)
    if donor is None and not _infuses(context):
        context.fractions |= {"hvg": 0.0, "gvh": 0.0}
        context.absent |= {"hvg", "gvh"}
    per_ligand = section.kir_share_per_ligand if section else 0.0
    context.fractions["kir_hvg"] = min(1.0, per_ligand * kir_hvg)
    context.fractions["kir_gvh"] = min(1.0, per_ligand * kir_gvh)


def _infuses(context: Context) -> bool:
    lines = context.raw("protocol")
    return isinstance(lines, list) and any(isinstance(x, dict) and "infuse" in x for x in lines)


def _checked_alleles(alleles: tuple[str, ...]) -> tuple[str, ...]:
    try:
        mismatch(alleles, alleles)
    except ValueError as error:
        raise WordError(str(error)) from None
    return alleles


class Grafts:
    """What an infusion consists of: for each graft its parts with their checked species."""

    def __init__(self, context: Context) -> None:
        self.parts: dict[str, list[tuple[GraftSection, Product, float]]] = {}
        for name, content in (context.raw("grafts") or {}).items():
            self.parts[name] = []
            if not isinstance(content, list):
                context.problems.add(("grafts", name), f"expected a list, got {shown(content)}")
                continue
            for i in range(len(content)):
                self._read_part(context, name, ("grafts", name, i))

    def _read_part(self, context: Context, name: str, keys: Keys) -> None:
        section = context.problems.check(GraftSection, keys)
        if section is None:
            return
        with context.problems.at(*keys, "into"):
            context.known("compartments", section.into, "compartment")
        with context.problems.at(*keys, "cells"):
            product = parse_species(section.cells, context.vocabulary, section.counters)
            with context.problems.at(*keys, "fraction_of"):
                factor = share_of(context, section.fraction_of)
                if context.is_on(section.switch, keys):
                    context.entries.append(((*keys, "into"), section.into, product, None))
                    self.parts[name].append((section, product, factor))


class Protocol:
    """Reads the lines of a protocol to acts: doses, infusions and resets.

    ``waiting``: places of the lines that wait for something to be seen, left to their own reader.
    ``groups``: acts of the same name (``as``), from the first of them on; ``begins``: when that is.
    """

    def __init__(
        self,
        context: Context,
        run: Run,
        drugs: dict[str, Drug],
        patient: Patient | None,
        donor: Donor | None,
    ) -> None:
        self.context, self.run, self.drugs = context, run, drugs
        self.patient, self.donor = patient, donor
        self.grafts = Grafts(context)
        self.waiting: list[Keys] = []
        self.groups: dict[str, Acts] = {}
        self.begins: dict[str, float] = {}
        self._late: list[Keys] = []
        self._late_messages: list[str] = []
        written = context.raw("protocol") or []
        if not isinstance(written, list):
            context.problems.add(("protocol",), f"expected a list, got {shown(written)}")
            written = []
        planned = Acts()
        for i, item in enumerate(written):
            planned += self._read_line(item, ("protocol", i))
        self._refuse_late()
        for name, acts in self.groups.items():
            self.begins[name] = min(acts.times_h, default=0.0)
            self.groups[name] = acts.shifted(-self.begins[name])
        self.doses = tuple(sorted(planned.doses, key=lambda dose: dose.start_h))
        self.infusions = tuple(sorted(planned.infusions, key=lambda event: event.at_h))
        self.resets = tuple(sorted(planned.resets, key=lambda event: event.at_h))

    def _read_line(self, item: object, keys: Keys) -> Acts:
        words = item if isinstance(item, dict) else {}
        if "when" in words:
            self.waiting.append(keys)
            return Acts()
        section: PlannedSection | None = None
        acts = Acts()
        until_h = self.run.until_h
        if "give" in words:
            give = section = self.context.problems.check(GiveSection, keys)
            if give is not None:
                acts = self.give(give, give.at, until_h, keys)
        elif "infuse" in words:
            refuse_unknown(self.context, InfuseSection, str(words["infuse"]), keys)
            infuse = section = self.context.problems.check(InfuseSection, keys)
            if infuse is not None:
                acts = self.infuse(infuse, infuse.at, until_h, keys)
        elif "set" in words:
            reset = section = self.context.problems.check(SetSection, keys)
            if reset is not None:
                acts = self._set(reset, keys)
        else:
            # the misspelt word is the one that is like one of these
            likely = [(word, meant) for word in words if (meant := closest(word, WAYS))]
            tail = f"; for '{likely[0][0]}' did you mean '{likely[0][1]}'?" if likely else ""
            got = ", ".join(words) or shown(item)
            message = f"expected one of give, infuse and set, or when, got {got}{tail}"
            self.context.problems.add(keys, message)
        if section is not None and section.as_:
            self.groups[section.as_] = self.groups.get(section.as_, Acts()) + acts
        return acts

    def give(self, section: DoseSection, at_h: float, until_h: float, keys: Keys) -> Acts:
        """Doses of a line that gives a drug, the first at ``at_h``, all before ``until_h``."""
        with self.context.problems.at(*keys, "give"):
            self.context.known("drugs", section.give, "drug")
            drug = self.drugs.get(section.give)
            if drug is None:
                return Acts()
            order = Order(
                drug=section.give,
                at_h=at_h,
                dose=section.dose,
                by=section.by,
                over_h=section.over,
                for_h=section.for_,
                every_h=section.every,
                times=section.times,
            )
            try:
                doses = expand(order, drug.dosing, self.patient, until_h, drug.highest_a_day)
                return Acts(doses=tuple(doses))
            except ProtocolError as error:
                self._refuse(error, keys)
        return Acts()

    def infuse(self, section: InfusionSection, at_h: float, until_h: float, keys: Keys) -> Acts:
        """Infusions of a line that gives cells, the first at ``at_h``, all before ``until_h``."""
        problems = self.context.problems
        name = section.infuse
        with problems.at(*keys, "infuse"):
            self.context.names["grafts"] = list(self.grafts.parts)
            self.context.known("grafts", name, "graft")
            here = _cells_per_kg(self.context, section.model_extra or {}, name, keys)
            per_kg = (self.donor.cells_per_kg if self.donor else {}) | here
            weight = self.patient.weight_kg if self.patient else 0.0
            cells = []
            for part, product, factor in self.grafts.parts[name]:
                number = per_kg.get(part.per, 0.0) * weight * part.share * factor
                if number > 0:
                    cells.append((part.into, product, number))
            self._refuse_incomplete([p.per for p, *_ in self.grafts.parts[name]], per_kg, keys)
            try:
                if weight <= 0:
                    message = "expected a patient with a weight, for doses of cells are per kg"
                    raise ProtocolError("infuse", message, ("patient", "weight"))
                times = list(repeats(at_h, section.every, section.times, until_h))
                return Acts(infusions=tuple(Infusion(time, name, tuple(cells)) for time in times))
            except ProtocolError as error:
                self._refuse(error, keys)
        return Acts()

    def _refuse_incomplete(self, wanted: list[str], per_kg: dict[str, float], keys: Keys) -> None:
        """Complain once about all numbers of cells that are neither in the line nor the donor's."""
        problems = self.context.problems
        missing = [
            per
            for per in dict.fromkeys(wanted)
            if per not in per_kg
            and not problems.is_in_doubt("donor", per)
            and not problems.is_in_doubt(*keys, per)
        ]
        if missing:
            words = " and ".join(f"'{per}'" for per in missing)
            message = f"missing {words} (cells per kg) in 'donor' or in this line; write 0 for none"
            problems.add((*keys, "infuse"), message)
            for per in missing:
                problems.doubt(("donor", per))

    def _refuse(self, error: ProtocolError, keys: Keys) -> None:
        """Complain about a line, unless a word of it or what it hangs on is in doubt."""
        if isinstance(error, TooLate):
            self._late.append((*keys, error.key))
            self._late_messages.append(str(error))
            return
        problems = self.context.problems
        is_patient = bool(error.about) and self.patient is not None
        where: Keys = ("patient",) if is_patient else (*keys, error.key)
        problems.add(where, str(error), at_key=is_patient, of=[keys, *error.about])
        for about in error.about:
            problems.doubt(about)

    def _refuse_late(self) -> None:
        """Lines after the end of the run: one is moved, several mean another end."""
        if not self._late:
            return
        problems, end = self.context.problems, ("run", "until")
        place = problems.latest(self._late[0], end)
        if place != end and len(self._late) == 1:
            problems.add(place, self._late_messages[0], of=[place[:-1], end])
            return
        lines = sorted({problems.tree.locate(keys).line for keys in self._late})
        message = (
            f"expected an end after everything in the protocol, got {self.run.until_h / 24:g} d; "
            f"make it later or move line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))}"
        )
        problems.add(end, message)

    def _set(self, section: SetSection, keys: Keys) -> Acts:
        problems = self.context.problems
        try:
            list(repeats(section.at, None, 1, self.run.until_h))
        except ProtocolError as error:
            self._refuse(error, keys)
        resets = []
        for text, number in section.set.items():
            with problems.at(*keys, "set", text):
                place, cells = self.context.place(text, "blood.prey")
                compartment = self.context.compartments.get(place)
                if compartment is not None and compartment.kind != "mixed":
                    raise WordError(f"expected a mixed compartment, '{place}' is a lattice")
                product = parse_species(cells, self.context.vocabulary)
                resets.append(Reset(section.at, place, product, number))
        return Acts(resets=tuple(resets))
