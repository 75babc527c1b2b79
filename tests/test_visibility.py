"""What killers see of leukaemia: HLA class I, and the ligands that stem-like blasts lack."""

from __future__ import annotations

import math

import pytest
from mini_patient import cells, events, mini_patient
from thresholds import VISIBLE

STILL = {
    "effectors leave the marrow": "0 /day",
    "effectors contract": "0 /day",
    "CD8 recover after a kill": "0 /day",
    "CD4 recover after a kill": "0 /day",
    "NK cells leave the marrow": "0 /day",
    "donor NK cells die": "0 /day",
    "donor NK cells recover after a kill": "0 /day",
    "blasts die": "0 /day",
    "blasts divide": "0 /h",
}
NK = "nk[origin=donor,status=ready,missing_ligand="
KILLERS = {
    "donor CD8": "cd8[origin=donor,target=allo,status=effector]",
    "donor CD4": "cd4[origin=donor,target=allo,status=effector]",
    "anti-leukaemia CD8": "cd8[origin=host,target=leukaemia,status=effector]",
    "mismatched NK": f"{NK}yes]",
    "matched NK": f"{NK}no]",
}
LOW, STEM = "class_i=low", "potency=clonogenic"


def killed(killer: str, *kinds: str) -> dict[str, int]:
    """Kills of each kind of blast, all there in the same number and mixed, in the first minutes: later those that see badly have
    lingered beside their targets, and the share says more about the walk than about what is seen."""
    marrow = [cells(f"blast[phase=g1{kind and ','}{kind}]", 6000 // len(kinds)) for kind in kinds]
    marrow.append(cells(KILLERS[killer], 4 * VISIBLE["half"].n))
    simulation = mini_patient(
        {"marrow": marrow},
        switches={"rvt": "on", "clonogenic": "on", "exhaustion": "off"},
        rates=STILL,
    )
    simulation.advance("3 min")
    found = dict.fromkeys(kinds, 0)
    for tally, n in zip(simulation.compiled.tallies, simulation.tally[0], strict=True):
        if "kill" in tally.rule and tally.partner.startswith("blast"):
            kind = ",".join(word for word in (LOW, STEM) if word in tally.partner)
            found[kind] = found.get(kind, 0) + int(n)
    assert events(simulation, "blasts die") == 0
    return found


def z(one: int, other: int, odds: float) -> float:
    """Of the share of kills that fell on the other kind, against odds of it to the first."""
    n, p = one + other, odds / (1.0 + odds)
    return (other - n * p) / math.sqrt(n * p * (1.0 - p))


@pytest.mark.parametrize("killer", ["donor CD8", "anti-leukaemia CD8"])
def test_cd8_kill_low_class_i_half_as_readily(killer: str):
    found = killed(killer, "", LOW)
    assert abs(z(found[""], found[LOW], 0.5)) < VISIBLE["half"].z
    assert abs(z(found[""], found[LOW], 1.0)) > VISIBLE["half"].z  # negative control: seen alike


def test_cd4_do_not_see_class_i():
    found = killed("donor CD4", "", LOW)
    assert abs(z(found[""], found[LOW], 1.0)) < VISIBLE["half"].z
    assert abs(z(found[""], found[LOW], 0.5)) > VISIBLE["half"].z


def test_nk_kill_what_lacks_their_ligand_or_has_little_class_i():
    mismatched, matched = killed("mismatched NK", "", LOW), killed("matched NK", "", LOW)
    assert abs(z(mismatched[""], mismatched[LOW], 1.0)) < VISIBLE["half"].z
    assert matched[""] == 0 < matched[LOW]
    assert sum(killed("matched NK", "").values()) == 0


def test_nk_hardly_see_stem_like_blasts():
    found = killed("mismatched NK", "", STEM)
    assert abs(z(found[""], found[STEM], 0.1)) < VISIBLE["half"].z
    assert abs(z(found[""], found[STEM], 0.3)) > VISIBLE["half"].z  # negative control
    cd8 = killed("donor CD8", "", STEM)
    assert abs(z(cd8[""], cd8[STEM], 1.0)) < VISIBLE["half"].z
