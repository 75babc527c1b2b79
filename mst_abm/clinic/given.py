"""What patients were given, as far as endpoints hang on it: chemotherapy, cells of a donor, platelets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mst_abm.clinic.protocol import Acts, Dose, Infusion, stopped
from mst_abm.clinic.reaction import Decision, Reaction
from mst_abm.model.definition import Model, Observable, Pattern, Product

#: A pause without doses that is longer ends a course.
PAUSE_H = 7 * 24.0


def chemotherapy(model: Model, observables: Iterable[Observable]) -> set[str]:
    """Drugs whose level makes rules kill what ``blast_cells`` counts; any cell, where nothing does.

    So growth factors and drugs against T cells alone are none.
    """
    counts = [o.count for o in observables if o.name == "blast_cells" and o.count is not None]
    targets = {term.type for count in counts for term in count.pattern.terms}
    drug_of = {signal.name: signal.drug for signal in model.signals if signal.drug}
    return {
        drug_of[modifier.target]
        for rule in model.rules
        if rule.verb == "die"
        and (not targets or targets.intersection(term.type for term in rule.actor.terms))
        for modifier in rule.modifiers
        if modifier.source == "signal" and modifier.target in drug_of
    }


def first_course_end_h(doses: Iterable[Dose], drugs: set[str]) -> float:
    """End of the last dose that follows on those before it; 0 without any."""
    end_h: float | None = None
    for dose in sorted(doses, key=lambda dose: dose.start_h):
        if dose.drug not in drugs:
            continue
        if end_h is not None and dose.start_h > end_h + PAUSE_H:
            break
        end_h = max(end_h or 0.0, dose.start_h + dose.duration_h)
    return end_h or 0.0


def acts_of(
    planned: Acts, reactions: Sequence[Reaction], decisions: Iterable[Decision], n: int
) -> list[Acts]:
    """Everything each of ``n`` patients was given, planned or decided."""
    found = [planned] * n
    for decision in decisions:
        reaction, before = reactions[decision.reaction], found[decision.body]
        if reaction.stops:
            found[decision.body] = Acts(
                stopped(before.doses, decision.time_h),
                tuple(i for i in before.infusions if i.at_h < decision.time_h),
            )
        else:
            found[decision.body] = before + reaction.acts.shifted(decision.time_h)
    return found


def infused_h(
    infusions: Iterable[Infusion], observables: Iterable[Observable], name: str
) -> tuple[float, ...]:
    """Times at which cells came in that an observable counts."""
    counts = [o.count for o in observables if o.name == name and o.count is not None]
    return tuple(
        infusion.at_h
        for infusion in infusions
        if any(_is_counted(product, c.pattern) for *_, product, _ in infusion.cells for c in counts)
    )


def _is_counted(product: Product, pattern: Pattern) -> bool:
    values = dict(product.values)
    return any(
        term.type == product.type
        and all(values.get(axis) in allowed for axis, allowed in term.values)
        for term in pattern.terms
    )
