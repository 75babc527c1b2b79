"""The list of endpoints: what each is called, what it needs, and how it follows from a course.

Definitions in full: docs/endpoints.md. A model that lacks an observable lacks the endpoints that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mst_abm.clinic import response
from mst_abm.clinic.course import Course, highest, last, lowest, recovery_days
from mst_abm.clinic.donors import (
    ASSAYS,
    days_above,
    rejection_day,
    release_hours,
    share_falls_day,
)
from mst_abm.clinic.hazards import grade, probability
from mst_abm.clinic.observation import DAY_H
from mst_abm.model.definition import Hazard, Observable

# First of 3 days with ANC >= 0.5e9/L, first of 7 with platelets >= 20e9/L.
ANC_RECOVERED, ANC_DAYS = 0.5, 3
PLATELETS_RECOVERED, PLATELET_DAYS = 20.0, 7
#: Graft-versus-host disease later than this is called chronic.
LATE_D = 100
LINEAGES = {
    "donor_cells": "leukocytes", "donor_t": "T cells", "donor_nk": "NK cells",
    "donor_neutrophils": "neutrophils", "donor_dna": "DNA",
}  # fmt: skip


@dataclass(frozen=True)
class EndpointRule:
    """An endpoint: the observables it needs, and how it follows from a course (one replicate a row).

    ``categories``: what its values 0, 1 ... stand for; empty if it is a quantity. ``fates``: hazards, one
    of which is enough; the observables they follow from need not be reported.
    """

    name: str
    unit: str
    description: str
    needs: tuple[str, ...]
    evaluate: Callable[[Course], np.ndarray]
    categories: tuple[str, ...] = ()
    fates: tuple[str, ...] = ()

    def is_in(self, course: Course) -> bool:
        """Whether the course has what this needs."""
        if self.fates:
            return not course.fates.keys().isdisjoint(self.fates)
        return course.series.keys() >= set(self.needs)


#: Observables that endpoints need between the daily samples.
FINE = ("cytokine_index",)

_COUNTS = (
    EndpointRule(
        "neutrophil_nadir", "1e9/L", "lowest daily count", ("anc",), lambda c: lowest(c["anc"])
    ),
    EndpointRule(
        "days_anc_below_0.5", "d", "days with fewer than 0.5e9/L", ("anc",),
        lambda c: c.days(c["anc"] < ANC_RECOVERED),
    ),
    EndpointRule(
        "neutrophil_recovery", "d",
        "from chemotherapy to the first of 3 days with 0.5e9/L", ("anc",),
        partial(recovery_days, name="anc", level=ANC_RECOVERED, run=ANC_DAYS),
    ),
    EndpointRule(
        "platelet_nadir", "1e9/L", "lowest daily count, given ones included", ("platelets",),
        lambda c: lowest(c["platelets"]),
    ),
    EndpointRule(
        "platelet_recovery", "d",
        "from chemotherapy to the first of 7 days with 20e9/L", ("platelets",),
        partial(recovery_days, name="platelets", level=PLATELETS_RECOVERED, run=PLATELET_DAYS),
    ),
)  # fmt: skip

_FULL = ("marrow_blasts", "anc", "platelets")


def _log_kill(course: Course) -> np.ndarray:
    blasts = course["blast_cells"]
    with np.errstate(divide="ignore", invalid="ignore"):
        # nothing left in the sample gives infinity: more than can be seen
        fall = np.log10(blasts[:, 0]) - np.log10(lowest(blasts))
    return np.where(blasts[:, 0] > 0, fall, 0.0)


_LEUKAEMIA = (
    EndpointRule(
        "leukaemia_log_kill", "log10", "largest fall in blasts from the start", ("blast_cells",),
        _log_kill,
    ),
    EndpointRule(
        "marrow_blasts_at_end", "1", "share of nucleated marrow cells", ("marrow_blasts",),
        lambda c: last(c["marrow_blasts"]),
    ),
    EndpointRule(
        "response", "1", "best response", _FULL, response.response, response.RESPONSES
    ),
    EndpointRule(
        "remission", "d", "CR: blasts < 5 %, neutrophils 1, platelets 100e9/L",
        _FULL, response.remission_day,
    ),
    EndpointRule(
        "relapse", "d", "after CR or CRi: two marrows with blasts >= 5 %", _FULL,
        response.relapse_day,
    ),
    EndpointRule(
        "non_relapse_death", "d", "death after CR or CRi, before relapse", _FULL,
        response.non_relapse_death_day,
    ),
    EndpointRule(
        "dfs_time", "d", "from CR or CRi to relapse, death or end of run", _FULL,
        response.disease_free_days,
    ),
    EndpointRule(
        "dfs_event", "1", "how that time ended", _FULL, response.disease_free_event,
        ("censored", "relapse or death"),
    ),
    EndpointRule(
        "twist", "d", "time without symptoms of disease or toxicity",
        _FULL, response.good_days,
    ),
)  # fmt: skip

_DONOR = (
    EndpointRule(
        "donor_cells_peak", "1", "highest donor share of blood leukocytes", ("donor_cells",),
        lambda c: highest(c["donor_cells"]),
    ),
    EndpointRule(
        "donor_cells_below_1_percent", "d", "day on which donor cells are below 1 % again",
        ("donor_cells",), partial(share_falls_day, name="donor_cells", limit=ASSAYS["str"]),
    ),
    EndpointRule(
        "donor_cells_at_end", "1", "donor share of blood leukocytes", ("donor_cells",),
        lambda c: last(c["donor_cells"]),
    ),
    EndpointRule(
        "rejection", "d", "donor cells stay below 1e-4 from this day on",
        ("donor_cells",), rejection_day,
    ),
    *(
        EndpointRule(
            f"{name}_{assay}_days", "d", f"days with {limit:g} or more of the donor in {cells}",
            (name,), partial(days_above, name=name, limit=limit),
        )
        for name, cells in LINEAGES.items()
        for assay, limit in ASSAYS.items()
    ),
)  # fmt: skip

_COMPLICATIONS = (
    EndpointRule(
        "gvhd_exposure", "cell d", "donor effectors in host tissue times days",
        ("gvhd_exposure",), lambda c: last(c["gvhd_exposure"]),
    ),
    EndpointRule(
        "cytokine_peak", "1", "highest level of cytokines, fold of that at rest",
        ("cytokine_index",), lambda c: highest(c.finely("cytokine_index")),
    ),
    EndpointRule(
        "cytokine_onset", "h", "from the infusion to a tenfold level", ("cytokine_index",),
        partial(release_hours, is_end=False),
    ),
    EndpointRule(
        "cytokine_end", "h", "from the infusion until it is below again",
        ("cytokine_index",), partial(release_hours, is_end=True),
    ),
)  # fmt: skip

#: Endpoints of every model that has the observables; those of hazards come on top.
ENDPOINTS: tuple[EndpointRule, ...] = (*_COUNTS, *_LEUKAEMIA, *_DONOR, *_COMPLICATIONS)


def endpoints_for(
    observables: Sequence[Observable], hazards: Sequence[Hazard] = ()
) -> tuple[EndpointRule, ...]:
    """The endpoints that a model's observables and hazards allow."""
    names = {item.name for item in observables}
    found = [e for e in ENDPOINTS if names.issuperset(e.needs)]
    for hazard in hazards:
        found += _of_hazard(hazard)
    fatal = tuple(hazard.name for hazard in hazards if hazard.is_fatal)
    if fatal:
        found += [
            EndpointRule(
                "os_time", "d", "from the start to death or the end of the run", (),
                response.overall_days, fates=fatal,
            ),
            EndpointRule(
                "os_event", "1", "how that time ended", (), response.overall_event,
                ("censored", "died"), fatal,
            ),
        ]  # fmt: skip
    return tuple(found)


def evaluate(rules: Iterable[EndpointRule], course: Course) -> dict[str, np.ndarray]:
    """Values (replicate,) of those endpoints of which the course has what they need."""
    return {rule.name: rule.evaluate(course) for rule in rules if rule.is_in(course)}


def _chance_of(hazard: Hazard, name: str, course: Course) -> np.ndarray:
    """Probability of a hazard by the end of the run, its burden being that of ``name``."""
    return probability(hazard, course.fates[name].burden[:, -1])


def _late_chance(hazard: Hazard, name: str, course: Course) -> np.ndarray:
    """The same by what came to it later than `LATE_D` after donor cells first came in."""
    burden = course.fates[name].burden
    begins = [min(given, default=0.0) + LATE_D * DAY_H for given in course.infusions_h]
    early = np.maximum(np.searchsorted(course.times_h, begins, side="right") - 1, 0)
    return probability(hazard, burden[:, -1] - burden[np.arange(len(burden)), early])


def _of_hazard(hazard: Hazard) -> list[EndpointRule]:
    name, needs = hazard.name, hazard.needs

    def severity(course: Course) -> np.ndarray:
        fate = course.fates[name]
        lived = np.where(course.times_h > course.end_h[:, None], np.nan, fate.burden)
        found = np.maximum(grade(hazard, last(lived), fate.bearable), 1.0)
        return np.where(np.isnan(fate.at_h), 0.0, found)

    of = "from the exposure" if hazard.exposure else "had nobody died"
    rules = [
        EndpointRule(
            f"{name}_probability", "1", f"in the whole run, {of}",
            needs, partial(_chance_of, hazard, name), fates=(name,),
        ),
        EndpointRule(
            f"{name}_day", "d", "when it came", needs,
            lambda c: c.fates[name].at_h / DAY_H, fates=(name,),
        ),
    ]  # fmt: skip
    if not hazard.exposure:
        rules.insert(
            0,
            EndpointRule(
                f"{name}_hazard", "1", "in the whole run, had nobody died",
                needs, lambda c: c.fates[name].burden[:, -1], fates=(name,),
            ),
        )  # fmt: skip
    else:
        rules.append(
            EndpointRule(
                f"{name}_late_probability", "1", f"by the exposure later than {LATE_D} d after infusion",
                needs, partial(_late_chance, hazard, name), fates=(name,),
            )
        )  # fmt: skip
    if hazard.grades:
        grades = ("none", *(g for g, _ in hazard.grades))
        rules.append(
            EndpointRule(f"{name}_grade", "1", "how severe", needs, severity, grades, (name,))
        )
        for label, above in hazard.grades[1:]:
            worse = replace(hazard, log10_median=hazard.log10_median + above)
            rules.append(
                EndpointRule(
                    f"{name}_{label}_probability", "1", f"grade {label} or worse, in the whole run",
                    needs, partial(_chance_of, worse, name), fates=(name,),
                )
            )  # fmt: skip
    return rules
