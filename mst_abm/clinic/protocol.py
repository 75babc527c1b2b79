"""What is done to the patient and when: doses, infusions of cells, resets of numbers.

Expands what a protocol says ("8 mg/m^2 over 30 min, every day, three times") to single acts with
absolute amounts, and refuses what cannot be meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mst_abm.clinic.patient import Patient
from mst_abm.model.definition import Product
from mst_abm.units import factor, quantity_in, shown, split


@dataclass(frozen=True)
class Dose:
    """One administration; duration 0 is a bolus."""

    drug: str
    start_h: float
    duration_h: float
    amount_mg: float


@dataclass(frozen=True)
class Infusion:
    """Cells given at once: (compartment, what, number in the whole body) of each kind."""

    at_h: float
    label: str
    cells: tuple[tuple[str, Product, float], ...]


@dataclass(frozen=True)
class Reset:
    """The number of one species in a mixed compartment, set from outside."""

    at_h: float
    compartment: str
    product: Product
    number: float


@dataclass(frozen=True)
class Acts:
    """Things done, in the order of the file; times are counted from a beginning of their own."""

    doses: tuple[Dose, ...] = ()
    infusions: tuple[Infusion, ...] = ()
    resets: tuple[Reset, ...] = ()

    def __add__(self, other: Acts) -> Acts:
        return Acts(
            self.doses + other.doses,
            self.infusions + other.infusions,
            self.resets + other.resets,
        )

    @property
    def times_h(self) -> list[float]:
        """Starts and ends of everything."""
        ends = [dose.start_h + dose.duration_h for dose in self.doses]
        starts = [dose.start_h for dose in self.doses]
        return starts + ends + [event.at_h for event in (*self.infusions, *self.resets)]

    def shifted(self, by_h: float) -> Acts:
        """The same later."""
        return Acts(
            tuple(replace(dose, start_h=dose.start_h + by_h) for dose in self.doses),
            tuple(replace(event, at_h=event.at_h + by_h) for event in self.infusions),
            tuple(replace(event, at_h=event.at_h + by_h) for event in self.resets),
        )


def stopped(doses: tuple[Dose, ...], at_h: float) -> tuple[Dose, ...]:
    """What has been given of doses when treatment stops: later ones fall out, running ones are cut."""
    kept = []
    for dose in doses:
        if dose.start_h >= at_h:
            continue
        length = min(dose.duration_h, at_h - dose.start_h)
        part = length / dose.duration_h if dose.duration_h else 1.0
        kept.append(replace(dose, duration_h=length, amount_mg=dose.amount_mg * part))
    return tuple(kept)


class ProtocolError(ValueError):
    """An order that cannot be carried out.

    ``key`` says which word of it is at fault, ``about`` which values elsewhere it hangs on.
    """

    def __init__(self, key: str, message: str, *about: tuple[str, ...]) -> None:
        self.key, self.about = key, about
        super().__init__(message)


class TooLate(ProtocolError):
    """An act after the end of the run."""


@dataclass(frozen=True)
class Order:
    """A line of a protocol that gives a drug, times in h, dose as written."""

    drug: str
    at_h: float
    dose: str | float
    by: str | None = None
    over_h: float | None = None
    for_h: float | None = None
    every_h: float | None = None
    times: int = 1


#: Units of doses by what they are counted per, and what the patient must have for them.
_PER = {"mg/m^2": "bsa_m2", "mg/kg": "weight_kg", "mg": None}

#: Most of any drug a day, above what is given of any against cancer (methotrexate, 12 g/m^2).
HIGHEST_A_DAY = {"mg/m^2": 20_000.0, "mg/kg": 500.0, "mg": 40_000.0}


def repeats(at_h: float, every_h: float | None, times: int, until_h: float) -> Iterator[float]:
    """The times of a repeated act, all of them before the end of the run."""
    if times > 1 and not every_h:
        raise ProtocolError("times", f"expected 'every' beside times: {times}, as every: 1 d")
    if every_h and times == 1:
        raise ProtocolError("every", "expected 'times' beside 'every', as times: 3")
    for i in range(times):
        time = at_h + i * (every_h or 0.0)
        if time >= until_h:
            which = f"number {i + 1} of {times}, " if times > 1 else ""
            key = "at" if i == 0 else "times"
            raise TooLate(
                key,
                f"expected a time before the end of the run at {until_h / 24:g} d, "
                f"got {which}{time / 24:g} d; move it or set run.until",
            )
        yield time


def expand(
    order: Order,
    dosing: str,
    patient: Patient | None,
    until_h: float,
    highest_a_day: float | None = None,
) -> list[Dose]:
    """Single doses in mg of an order for a drug dosed in ``dosing``.

    More than ``highest_a_day`` (in ``dosing``) is refused as a slip of the pen.
    """
    is_rate, amount = _amount(order, dosing)
    duration = _duration(order, is_rate)
    _refuse_too_much(order, dosing, 24.0 * amount if is_rate else amount, highest_a_day)
    attribute = _PER[dosing]
    if attribute is not None:
        size = getattr(patient, attribute) if patient is not None else 0.0
        if size <= 0.0:
            needed = "height and weight" if attribute == "bsa_m2" else "a weight"
            message = f"expected a patient with {needed} for a dose in {dosing}"
            raise ProtocolError("dose", message, ("patient", "height"), ("patient", "weight"))
        amount *= size
    if is_rate:
        amount *= duration
    times = repeats(order.at_h, order.every_h, order.times, until_h)
    return [Dose(order.drug, time, duration, amount) for time in times]


def _refuse_too_much(order: Order, dosing: str, amount: float, highest: float | None) -> None:
    """``amount``: of one dose, or of a day for a dose per time."""
    if order.every_h and order.for_h is None:
        amount *= max(min(order.times, 24.0 / order.every_h), 1.0)
    limit = HIGHEST_A_DAY[dosing] if highest is None else highest
    if amount > limit * (1 + 1e-9):
        raise ProtocolError(
            "dose",
            f"expected at most {limit:g} {dosing} of {order.drug} a day, got {amount:g}; check the "
            f"dose, or set drugs.{order.drug}.highest_dose if it is meant",
        )


def _amount(order: Order, dosing: str) -> tuple[bool, float]:
    """Whether the dose is per time, and its number in ``dosing`` (per hour)."""
    example = f'"100 {dosing}"'
    try:
        _, unit = split(order.dose)
        is_rate = factor(unit, f"{dosing}/hour") is not None
        words = f"a dose such as {example}"
        wanted = f"{dosing}/hour" if is_rate else dosing
        if not is_rate and factor(unit, dosing) is None:
            raise ProtocolError(
                "dose",
                f"expected a dose in {dosing} (or per day with 'for'), as {order.drug} is dosed, "
                f"got {shown(order.dose)}",
            )
        amount = quantity_in(order.dose, wanted, words)
    except ProtocolError:
        raise
    except ValueError as error:
        raise ProtocolError("dose", str(error)) from None
    if not 0.0 <= amount < float("inf"):
        raise ProtocolError("dose", f"expected a dose of 0 or more, got {shown(order.dose)}")
    return is_rate, amount


def _duration(order: Order, is_rate: bool) -> float:
    if order.over_h is not None and order.for_h is not None:
        raise ProtocolError("for", "expected 'over' (one dose) or 'for' (a dose per day), got both")
    if is_rate and order.for_h is None:
        raise ProtocolError(
            "dose", f"expected 'for' beside a dose per time, as for: 7 d, got {shown(order.dose)}"
        )
    if order.for_h is not None and not is_rate:
        raise ProtocolError(
            "dose", f"expected a dose per time beside 'for', as "
            f'"100 mg/m^2/day", got {shown(order.dose)}; or use \'over\' for one dose',
        )  # fmt: skip
    duration = order.for_h if order.for_h is not None else order.over_h
    if order.by == "bolus" and duration:
        raise ProtocolError("by", "expected no 'over' or 'for' beside by: bolus")
    if order.by in ("infusion", "continuous infusion") and not duration:
        raise ProtocolError("by", f"expected 'for' or 'over' beside by: {order.by}, as for: 7 d")
    if duration is not None and duration <= 0.0:
        key = "for" if order.for_h is not None else "over"
        raise ProtocolError(key, "expected a duration above 0")
    return duration or 0.0
