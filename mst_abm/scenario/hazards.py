"""Section ``hazards``: what can befall the patient as a whole, driven by observables."""

from __future__ import annotations

from collections.abc import Sequence

from mst_abm.model.definition import Hazard, Observable, Risk
from mst_abm.scenario.context import Context, number_class
from mst_abm.scenario.document import Keys
from mst_abm.scenario.modifiers import read_shape
from mst_abm.scenario.problems import WordError
from mst_abm.scenario.schema import HazardSection

OF_EXPOSURE = ("log10_median", "log10_sd", "grades")


def read_hazards(context: Context, observables: Sequence[Observable]) -> tuple[Hazard, ...]:
    """The hazards that are switched on and whose observables are."""
    present = {item.name: item for item in observables}
    found = [_read(context, name, present) for name in context.names["hazards"]]
    return tuple(hazard for hazard in found if hazard is not None)


def _read(context: Context, name: str, present: dict[str, Observable]) -> Hazard | None:
    keys: Keys = ("hazards", name)
    section = context.problems.check(HazardSection, keys)
    if section is None or not context.is_on(section.switch, keys):
        return None
    if context.problems.one_of(keys, section, ("risks", "exposure"), "one") == "risks":
        for key in OF_EXPOSURE:
            if key in section.model_fields_set:
                message = f"expected '{key}' only beside 'exposure'"
                context.problems.add((*keys, key), message, at_key=True)
        risks = _read_risks(context, section, present, keys)
        if not risks:
            return None
        return Hazard(
            name,
            risks=risks,
            is_fatal=section.fatal,
            reference=risks[0].reference,
            number_class=risks[0].number_class,
        )
    with context.problems.at(*keys, "exposure"):
        exposure = context.known("observables", section.exposure or "", "observable")
        if section.log10_median is None or section.log10_sd is None or not section.source:
            raise WordError("expected 'log10_median', 'log10_sd' and 'source' beside it")
        grades = tuple(section.grades.items())
        if list(grades) != sorted(grades, key=lambda grade: grade[1]):
            raise WordError("expected grades in increasing order")
        if exposure not in present:
            return None
        return Hazard(
            name,
            exposure=exposure,
            log10_median=section.log10_median,
            log10_sd=section.log10_sd,
            grades=grades,
            is_fatal=section.fatal,
            reference=section.source,
            number_class=number_class(section.class_, section.source),
        )
    return None


def _read_risks(
    context: Context, section: HazardSection, present: dict[str, Observable], keys: Keys
) -> tuple[Risk, ...]:
    risks = []
    for i, part in enumerate(section.risks or []):
        here = (*keys, "risks", i)
        is_on = context.is_on(part.switch, here)
        with context.problems.at(*here, "observable"):
            name = context.known("observables", part.observable, "observable")
            # a count is in units such as 1e9/L: numbers of its shapes are written bare
            item = present.get(name)
            unit = None if item is None else item.unit if item.signal else "1"
            shape = read_shape(context, part.shape, unit, (*here, "shape"))
            if is_on and item is not None and shape is not None:
                rate_text = str(context.raw(*here, "rate"))
                number = number_class(part.class_, part.source)
                risks.append(Risk(name, shape, part.rate, rate_text, part.source, number))
    return tuple(risks)
