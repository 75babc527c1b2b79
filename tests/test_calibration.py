"""Fitted numbers: at most twelve, each in the list of docs/calibration.md; what is called derived is computed again."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from scipy.optimize import brentq

from mst_abm.scenario.document import read_file
from mst_abm.units import quantity

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "mst_abm" / "models" / "marrow.yaml"
FILES = [*MODEL.parent.glob("*.yaml"), *(ROOT / "configs").rglob("*.yaml")]
LIST = ROOT / "docs" / "calibration.md"
MOST = 12
DAY = 24.0
RED_MARROW = 1.14e6  # mm^3
BLOOD = 5.0  # L
#: Fitted numbers that the table shows as what they come to in a course or a patient: (in the file, in the table).
IN_OTHER_UNITS = {
    "marrow: rules.mitoxantrone kills stem-like cells.rate": (0.03, 0.1),
    "marrow: states.aml_at_diagnosis.initial.lymphoid.4.density": (117, 3e-4),
}


@cache
def documents() -> dict[str, Any]:
    """Every shipped file by its stem; not to be changed."""
    return {path.stem: read_file(path).plain() for path in FILES}


def blocks(node: Any, word: str, path: str = "") -> Iterator[str]:
    """Addresses of the blocks of this class; a list is addressed by name where its items have one."""
    if isinstance(node, dict):
        if node.get("class") == word:
            yield path
        for key, value in node.items():
            yield from blocks(value, word, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            key = value["name"] if isinstance(value, dict) and "name" in value else i
            yield from blocks(value, word, f"{path}.{key}")


def at(node: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(node, list):
            names = [item.get("name") if isinstance(item, dict) else None for item in node]
            node = node[names.index(key) if key in names else int(key)]
        else:
            node = node[key]
    return node


def listed(text: str) -> list[str]:
    """Names in the table of fitted numbers: the code in the second cell of each numbered row."""
    return re.findall(r"^\| \d+ \| `([^`]+)` \|", text, re.MULTILINE)


def fitted(found: dict[str, Any]) -> set[str]:
    return {f"{stem}: {path}" for stem, doc in found.items() for path in blocks(doc, "calibrated")}


def complaints(names: list[str], found: dict[str, Any]) -> list[str]:
    """What is wrong with a list of fitted numbers."""
    wrong = [f"{len(names)} numbers"] if len(names) > MOST else []
    wrong += [f"{name} is listed twice" for name in sorted(set(names)) if names.count(name) > 1]
    marked = fitted(found)
    used = set()
    for name in names:
        stem, _, path = name.partition(": ")
        owners = [block for block in marked if name.startswith(f"{block}.")]
        if not owners:
            wrong.append(f"{name} is not calibrated")
        used |= set(owners)
        value = at(found[stem], path)
        if isinstance(value, (dict, list)):
            wrong.append(f"{name} is no number")
    return wrong + [f"{block} is calibrated and not listed" for block in sorted(marked - used)]


def test_fitted_numbers_are_a_dozen_at_most_and_listed():
    names = listed(LIST.read_text(encoding="utf-8"))
    assert len(names) > 6
    assert not complaints(names, documents())


def test_one_number_too_many_or_not_listed_is_noticed():
    found, names = documents(), listed(LIST.read_text(encoding="utf-8"))
    missing = complaints([n for n in names if "blasts.rate" not in n], found)
    assert missing == ["marrow: rules.cytarabine kills blasts is calibrated and not listed"]
    assert "13 numbers" in complaints([*names, *(13 - len(names)) * [names[0]]], found)
    wrong = complaints([*names, "marrow: rules.blasts die.rate"], found)
    assert "marrow: rules.blasts die.rate is not calibrated" in wrong
    marked = copy.deepcopy(found["marrow"])
    at(marked, "rules.blasts die")["class"] = "calibrated"
    wrong = complaints(names, found | {"marrow": marked})
    assert wrong == ["marrow: rules.blasts die is calibrated and not listed"]


def test_no_file_is_hidden_behind_another_of_its_name():
    assert len(documents()) == len(FILES)


def test_values_of_the_table_are_those_of_the_files():
    text = LIST.read_text(encoding="utf-8")
    row = r"^\| \d+ \| `([^`]+)` \|.*\| ([^|]+) \| [^|]+ \|$"
    rows, names = dict(re.findall(row, text, re.MULTILINE)), listed(text)
    assert list(rows) == names
    for name in names:
        stem, _, path = name.partition(": ")
        written = float(str(at(documents()[stem], path)).split()[0])
        shown = float(rows[name].removeprefix("10^").split()[0])
        if name in IN_OTHER_UNITS:
            assert (written, shown) == IN_OTHER_UNITS[name], name
        else:
            assert shown / (100 if "%" in rows[name] else 1) == written, name


#: Numbers that a scenario or an arm puts in place of the model's carry no class, so they are listed here: those that say how a body is
#: sampled or treated (`SAMPLING`), and others.
SAMPLING = (
    "compartments.",
    "run.",
    "patient.",
    "donor.",
    "observables.",
    "switches.",
    "protocol",
    "start",
)
OVERRIDDEN = {
    # visitors of a marrow that is left out go elsewhere; bystanders stay
    "lymphocyte_transfusion: rules.bystanders leave the blood.rate",
    "lymphocyte_transfusion: rules.bystanders leave lymphoid tissue.rate",
    "lymphocyte_transfusion: rules.bystanders leave other tissue.rate",
    "lymphocyte_transfusion: rules.resting T cells leave the blood.outcomes",
    "lymphocyte_transfusion: rules.NK cells leave the blood.outcomes",
    "lymphocyte_transfusion: rules.effectors leave the blood.outcomes",
    # irradiated cells do not divide
    *(
        f"one_population: rules.donor {cells} divide {how}.rate"
        for cells, how in product(("CD8", "CD4"), ("as programmed", "with help"))
    ),
    # computed again below
    *(
        f"{stem}: signals.gvhd_exposure.yields.{i}.rate"
        for stem in ("donor_lymphocytes", "sibling_transplant")
        for i in (0, 1)
    ),
    "donor_lymphocytes: signals.cytokine_index.yields.0.relative_to",
    # grafts of a sibling rest in lymphoid tissue from the start
    "sibling_transplant: grafts.peripheral_blood.0.into",
    "sibling_transplant: grafts.peripheral_blood.2.into",
    # an assumption of a disease without targets; a dish in which nobody leaves
    "mst_mds: signals.blast_load.yields.0.relative_to",
    "killer_dish: rules.effectors leave the marrow.rate",
    "killer_dish: rules.effectors contract.rate",
}


def overridden(found: dict[str, Any]) -> set[str]:
    """Numbers of models that files put others in place of, by file and address."""

    def look(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("override", "set") and isinstance(value, dict):
                    yield from value
                else:
                    yield from look(value)
        elif isinstance(node, list):
            for value in node:
                yield from look(value)

    return {
        f"{stem}: {path}"
        for stem, doc in found.items()
        for path in look(doc)
        if not path.startswith(SAMPLING)
    }


def test_no_fitted_number_hides_in_a_scenario_or_an_arm():
    """A number that takes the place of another has no class: a new one fails until it is looked at and listed."""
    found = documents()
    assert overridden(found) == OVERRIDDEN
    # negative control
    other = copy.deepcopy(found["haplo_transplant"])
    other["override"] = {"rules.effectors leave the blood.rate": "20 /day"}
    hidden = overridden(found | {"haplo_transplant": other}) - OVERRIDDEN
    assert hidden == {"haplo_transplant: rules.effectors leave the blood.rate"}


def test_fewer_macrophages_make_as_much_cytokine():
    """Donor lymphocytes meet a thousandth of the macrophages, each of which counts as a thousand."""
    found = documents()
    thinned = found["donor_lymphocytes"]
    usual = Numbers(found["marrow"]).number("signals.cytokine_index.yields.0.relative_to")
    written = thinned["override"]["signals.cytokine_index.yields.0.relative_to"]
    share = thinned["start"]["times"]["macrophage"]
    assert float(written.split()[0]) == pytest.approx(share * usual)


# ------------------------------------------------------------------ what follows from other numbers


class Numbers:
    """Numbers of the model, rates per day."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model

    def rate(self, name: str) -> float:
        return quantity(at(self.model, f"rules.{name}.rate"), "rate") * DAY

    def number(self, path: str) -> float:
        return float(str(at(self.model, path)).split()[0])

    def shape(self, name: str, modifier: int, kind: str) -> dict[str, Any]:
        return at(self.model, f"rules.{name}.modifiers.{modifier}.shape.{kind}")

    # ---- blood formation at rest
    @property
    def after_g1(self) -> float:
        """Days in S, G2 and M of blood-forming cells."""
        return (
            1 / self.rate("precursors pass early S")
            + 1 / self.rate("precursors pass late S")
            + 1 / self.rate("precursors divide")
        )

    def g1(self, cycle_d: float) -> float:
        return 1 / (cycle_d - self.after_g1)

    @property
    def stem_flux(self) -> float:
        """Committed daughters per mm^3 and day: every division leaves one stem-like cell."""
        occupancy = self.number("signals.stem_occupancy.yields.0.relative_to")
        return 0.1 * occupancy

    @property
    def neutrophil_fate(self) -> float:
        """What keeps 8e9 neutrophils in a litre of blood, of which half circulate."""
        used = 8e9 * BLOOD * self.rate("blood neutrophils die") / RED_MARROW
        return used / (self.stem_flux * 2**10)

    @property
    def branching(self) -> float:
        """Rate at which the megakaryocyte line branches off, for 250e9 platelets in a litre."""
        ages, used_up = self.rate("platelets age 1"), self.rate("platelets are used up")
        loss = used_up * 15 / (250 + 15)
        stages = sum(ages**i / (ages + loss) ** (i + 1) for i in range(4))
        platelets = 250e9 * BLOOD / stages / RED_MARROW
        shed = self.rate("megakaryocytes shed platelets") * self.number(
            "rules.megakaryocytes shed platelets.emit.yield"
        )
        needed = platelets * self.rate("megakaryocytes are spent") / shed / 2
        share = needed / (self.stem_flux * (1 - 0.55) * 2**4)
        return self.rate("other progenitors divide") * share / (1 - share)

    def transit(self, level: float, top: float) -> float:
        """Days of post-mitotic neutrophils in marrow at a level of G-CSF."""
        release = self.shape("neutrophils leave for the blood", 0, "hill")
        bound = (level - 1) / (level - 1 + float(release["half"]))
        stages = 4 / (self.rate("neutrophils mature 1") * (1 + (top - 1) * bound))
        return stages + 1 / self.rate("neutrophils leave for the blood") / release["top"] ** bound

    # ---- leukaemia
    def cycle(self, s: float) -> float:
        """E[exp(-s T)] of the time T that a cycling blast needs, s per day."""
        passes = ["enter S", "pass early S", "pass mid S", "pass late S", "divide"]
        rates = [self.rate(f"blasts {name}") for name in passes]
        return math.prod(rate / (rate + s) for rate in rates)

    @property
    def blast_turnover(self) -> float:
        """Net growth and loss together, per day, where half of the daughters rest and two thirds of all cycle."""
        # 2 E (1/2 + 1/2 e / (e + s)) = 1 and e / (e + s) = 2/3
        return brentq(lambda s: self.cycle(s) * (1 + 2 / 3) - 1, 1e-3, 2)

    @property
    def clonogenic_turnover(self) -> float:
        rest = self.rate("blasts leave quiescence")
        return brentq(lambda s: 2 * 0.9 * self.cycle(s) * rest / (rest + s) - 1, 1e-3, 2)


GROWTH = math.log(2) / 12  # net doubling in 12 d
T_CELLS = [f"{o} {c}" for o, c in product(("host", "donor"), ("CD8", "CD4"))]
#: Rates per day that follow from others, with the relative error that rounding explains.
RATES: dict[str, tuple[Callable[[Numbers], float], float]] = {
    "stem-like cells enter S": (lambda n: n.g1(10), 2e-3),
    "early precursors enter S": (lambda n: n.g1(2), 1e-6),
    "late precursors enter S": (lambda n: n.g1(2.97), 2e-3),
    "megakaryocyte line branches off": (lambda n: n.branching, 5e-3),
    "blasts leave quiescence": (lambda n: 2 * n.blast_turnover, 1e-2),
    "blasts die": (lambda n: n.blast_turnover - GROWTH, 1e-2),
    "clonogenic blasts die": (lambda n: n.clonogenic_turnover - GROWTH, 1e-2),
    "amplifying blasts divide": (lambda n: n.rate("blasts divide"), 1e-9),
    "host NK cells are lost": (lambda n: n.rate("host NK cells are made"), 1e-9),
    **{
        f"cytarabine kills {cells}": (lambda n: n.rate("cytarabine kills blasts"), 1e-9)
        for cells in (
            "stem-like cells",
            "neutrophil precursors",
            "other progenitors",
            "megakaryocyte progenitors",
        )
    },
    **{
        f"{cells} stop dividing": (lambda n: n.rate("host CD8 stop dividing"), 1e-9)
        for cells in T_CELLS[1:]
    },
    **{
        f"{cells} run out of help": (lambda n, c=cells: n.rate(f"{c} divide with help"), 1e-9)
        for cells in (*T_CELLS, "anti-leukaemia CD8")
    },
    "anti-leukaemia CD8 find no licensed cell": (
        lambda n: n.rate("anti-leukaemia CD8 divide with help"),
        1e-9,
    ),
    "first contacts of host T cells wake macrophages": (
        lambda n: n.rate("first contacts of donor T cells wake macrophages"),
        1e-9,
    ),
    **{
        rule: (lambda n: n.rate("effectors contract") * 0.05 / 0.95, 1e-3)
        for rule in (
            "host effectors become memory",
            "donor effectors become memory",
            "anti-leukaemia effectors become memory",
            "host effectors outlive their use",
            "donor effectors outlive their use",
        )
    },
}
CLONE_AT = "states.aml_at_diagnosis.initial.lymphoid.4"
HAZARD = "hazards.aplastic_death.risks"
#: Other numbers, by address.
OTHERS: dict[str, tuple[Callable[[Numbers], float], float]] = {
    "rules.stem-like cells renew once.outcomes.0.probability": (lambda n: n.neutrophil_fate, 5e-3),
    "rules.stem-like cells differentiate.outcomes.0.probability": (
        lambda n: n.neutrophil_fate**2,
        1e-2,
    ),
    # a shortest cycle of 0.8 d
    "rules.early precursors enter S.modifiers.1.shape.hill.top": (
        lambda n: n.g1(0.8) / n.rate("early precursors enter S"),
        1e-6,
    ),
    "rules.late precursors enter S.modifiers.1.shape.hill.top": (
        lambda n: n.g1(0.8) / n.rate("late precursors enter S"),
        1e-3,
    ),
    **{
        f"rules.neutrophils mature {i}.modifiers.0.shape.hill.top": (
            lambda n: brentq(lambda top: n.transit(40, top) - 2.9, 1, 3),
            5e-3,
        )
        for i in (1, 2, 3, 4)
    },
    f"{HAZARD}.1.rate": (lambda n: 1.5 * n.number(f"{HAZARD}.0.rate"), 1e-9),
    f"{HAZARD}.2.rate": (lambda n: n.number(f"{HAZARD}.0.rate") / 1.5, 1e-9),
    **{
        f"drugs.{drug}.effects.2.rate": (
            lambda n: n.rate("mitoxantrone kills stem-like cells"),
            1e-9,
        )
        for drug in ("daunorubicin", "idarubicin")
    },
}


def square_roots(model: dict[str, Any]) -> set[str]:
    """Modifiers that stand for the square root of the inhibition of stem-like cells by blasts."""
    half = {"half": 2.3, "power": 1.2}
    found = blocks(model, "derived")
    return {path for path in found if at(model, path).get("shape", {}).get("inverse_hill") == half}


def differences(model: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Derived numbers that are not what they follow from: (written, computed)."""
    numbers = Numbers(model)
    pairs = [(f"rules.{name}.rate", numbers.rate(name), law) for name, law in RATES.items()]
    pairs += [(path, numbers.number(path), law) for path, law in OTHERS.items()]
    found = {}
    for path, written, (computed, error) in pairs:
        expected = computed(numbers)
        if abs(written / expected - 1) > error:
            found[path] = (written, expected)
    return found


def test_derived_numbers_follow_from_others():
    model = documents()["marrow"]
    assert not differences(model)


def test_every_derived_number_is_computed_again():
    model = documents()["marrow"]
    known = {f"rules.{name}" for name in RATES}
    known |= {path.partition(".shape")[0] for path in OTHERS if ".shape" in path}
    known |= {path.removesuffix(".rate").partition(".outcomes")[0] for path in OTHERS}
    known |= square_roots(model) | set(GRAFT) | set(CLONE)
    assert set(blocks(model, "derived")) <= known
    others = {stem for stem, doc in documents().items() if set(blocks(doc, "derived"))}
    assert others == {"marrow", "donor_lymphocytes"}


@pytest.mark.parametrize("path", [*(f"rules.{name}.rate" for name in RATES), *OTHERS])
def test_a_wrong_derived_number_is_noticed(path: str):
    model = copy.deepcopy(documents()["marrow"])
    *where, last = path.split(".")
    block = at(model, ".".join(where))
    number, _, unit = str(block[last]).partition(" ")
    block[last] = f"{1.03 * float(number)} {unit}".strip()
    assert path in differences(model)


def test_the_square_root_of_the_inhibition():
    model = documents()["marrow"]
    assert len(square_roots(model)) == 8
    for tenth in range(60):
        x = tenth / 10
        assert 1 / (1 + (x / 2.3) ** 1.2) == pytest.approx(math.sqrt(1 / (1 + x**1.5)), abs=0.05)


#: Parts of the graft `stored_blood`, in whose last part the share alive is written, by what they have of it.
GRAFT = {
    "grafts.stored_blood.0": lambda alive: 0.44 * alive,
    "grafts.stored_blood.1": lambda alive: 0.44 * alive,
    "grafts.stored_blood.2": lambda alive: 0.56 * alive,
    "grafts.stored_blood.3": lambda alive: 0.56 * alive,
    "grafts.stored_blood.4": lambda alive: 3 - alive,
    "grafts.stored_blood.5": lambda alive: 0.56 * alive * 0.05 / 0.95,
}


def test_parts_of_stored_blood_follow_from_the_share_alive():
    model = documents()["marrow"]
    alive = at(model, "grafts.stored_blood.6.share")
    for path, share in GRAFT.items():
        assert at(model, path)["share"] == pytest.approx(share(alive), rel=0.01), path


#: Precursors against leukaemia, by the share of CD8 that is left: 1.6e11 of them at diagnosis in 4.1e5 mm^3 of lymphoid tissue.
CLONE = {
    "states.healthy_adult.initial.lymphoid.4": 1.0,
    "states.aml_in_remission.add.lymphoid.0": 0.4,
}


def test_precursors_against_leukaemia_are_the_same_share_in_every_state():
    model = documents()["marrow"]
    fitted_number = quantity(at(model, f"{CLONE_AT}.density"), "density")
    assert at(model, CLONE_AT)["cells"].startswith("cd8[origin=host,target=leukaemia")
    for path, left in CLONE.items():
        part = at(model, path)
        assert part["cells"].startswith("cd8[origin=host,target=leukaemia"), path
        assert quantity(part["density"], "density") == pytest.approx(left * fitted_number, rel=0.01)


def test_the_response_helps_in_portions_of_one_size():
    """G-CSF and thrombopoietin are made ten times as much as at rest by every portion of helping cells."""
    signals = documents()["marrow"]["signals"]
    portion = {y["relative_to"] for y in signals["allo_help"]["yields"]}
    assert len(portion) == 1
    for name in ("g_csf", "tpo"):
        made = quantity(signals[name]["production"], "rate")
        for part in signals[name]["yields"]:
            assert part["relative_to"] in portion
            assert quantity(part["rate"], "rate") == pytest.approx(10 * made)


def test_thin_tissue_exhausts_as_full_tissue_does():
    """Donor lymphocytes meet one in ten thousand of the cells of tissue; what these would do is a rule."""
    found = documents()
    numbers = Numbers(found["marrow"])
    meeting = numbers.rate("donor CD8 damage host tissue") * 6 * 0.5
    engaged = meeting / (meeting + numbers.rate("CD8 recover after a kill"))
    rate = at(found["donor_lymphocytes"], "rules.tissue exhausts effectors.rate")
    wanted = numbers.rate("T cells are exhausted by antigen") * engaged
    assert quantity(rate, "rate") * DAY == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("name", ["donor_lymphocytes", "sibling_transplant"])
def test_effectors_that_travel_directly_are_in_tissue_as_long_as_others(name: str):
    """In these scenarios effectors go between lymphoid and other tissue at once, and count less for it."""
    found = documents()
    numbers = Numbers(found["marrow"])
    visits = [
        o["probability"] for o in at(found["marrow"], "rules.effectors leave the blood.outcomes")
    ]
    places = ("other tissue", "lymphoid tissue", "the marrow")
    stays = [1 / numbers.rate(f"effectors leave {place}") for place in places]
    in_blood = 1 / numbers.rate("effectors leave the blood")
    share = (
        visits[0] * stays[0] / (in_blood + sum(v * s for v, s in zip(visits, stays, strict=True)))
    )
    direct = Numbers(found[name])
    to, back = (direct.rate(f"effectors leave {place}") for place in places[1::-1])
    factor = share / (to / (to + back))
    for i, weight in enumerate((1, 0.25)):
        written = found[name]["override"][f"signals.gvhd_exposure.yields.{i}.rate"]
        assert quantity(written, "rate") * DAY == pytest.approx(weight * factor, rel=0.01)
