"""The shipped patient, module by module, then composed. Long modules run under ``-m verify``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mst_abm.clinic.laboratory import Laboratory
from mst_abm.model.definition import Pattern, PatternTerm
from mst_abm.model.species import matches
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario

CONFIGS = Path(__file__).parent.parent / "configs"
EFFECTOR = "cd8[origin=donor,target=allo,status=effector]"


class Course:
    """A run with its laboratory series, one sample a day."""

    def __init__(self, config: str, *overrides: str, until_d: float | None = None, seed: int = 1):
        self.scenario = load_scenario(CONFIGS / f"{config}.yaml", overrides=overrides)
        self.simulation = Simulation(self.scenario, seed=seed)
        model = self.scenario.model
        laboratory = Laboratory(
            self.scenario.observables,
            self.simulation.compiled.species,
            model.compartments,
            self.simulation.compiled.signal_names,
        )
        end = until_d or self.scenario.run.until_h / 24.0
        self.days = np.arange(0.0, end + 0.5)
        rows, types = [], []
        for day in self.days:
            self.simulation.advance(day * 24.0)
            rows.append(laboratory.read(self.simulation.counts, self.simulation.signals))
            types.append(self.cells_by_type())
        self.series = {name: np.array([row[name][0] for row in rows]) for name in rows[0]}
        self.types = {key: np.array([t.get(key, 0) for t in types]) for key in types[0]}

    def cells_by_type(self) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for place, counts in self.simulation.counts.items():
            for species, n in zip(self.simulation.compiled.species, counts[0], strict=True):
                found[place, species.type] = found.get((place, species.type), 0) + int(n)
        return found

    def events(self, word: str) -> dict[str, int]:
        """Events of rules whose name contains a word, by the actor's species."""
        found: dict[str, int] = {}
        tallies = self.simulation.compiled.tallies
        for tally, n in zip(tallies, self.simulation.tally[0], strict=True):
            if word in tally.rule and n:
                found[tally.actor] = found.get(tally.actor, 0) + int(n)
        return found


def kills_per_killer(targets: str, killers: int, hours: float, seed: int = 1) -> float:
    """Leukaemia cells killed per killer in a dish."""
    cells = f'{{cells: "blast[phase=g1]", fraction: {targets}}}'
    actors = f'{{cells: "{EFFECTOR}", number: {killers}}}'
    scenario = load_scenario(
        CONFIGS / "killer_dish.yaml",
        overrides=(
            f"initial.marrow=[{cells}, {actors}]",
            "override.rules.blasts divide.rate=0 /h",
            "override.rules.blasts die.rate=0 /h",
        ),
    )
    simulation = Simulation(scenario, seed=seed)
    blast = Pattern((PatternTerm("blast"),), "blast")
    mask = np.array([matches(blast, s) for s in simulation.compiled.species])
    before = simulation.counts["marrow"][0, mask].sum()
    simulation.advance(hours)
    return float(before - simulation.counts["marrow"][0, mask].sum()) / killers


def test_killers_kill_as_many_a_day_as_measured():
    assert 2.0 <= kills_per_killer("0.3", 200, 24.0) <= 16.0


def test_killing_is_linear_in_targets_while_these_are_rare():
    few, many = (kills_per_killer(f, 1500, 6.0) for f in ("0.01", "0.02"))
    # 300 and 600 kills: a ratio of 2 with a standard deviation of 0.15
    assert 1.5 < many / few < 2.5


def test_killing_saturates_in_killers():
    alone, crowded = (kills_per_killer("0.02", n, 24.0) for n in (200, 6000))
    assert crowded < 0.5 * alone


@pytest.mark.parametrize("config", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_scenario_loads_with_every_mechanism_on(config: str):
    switches = load_scenario(CONFIGS / f"{config}.yaml").switches
    everything = [f"switches.{name}=on" for name, _ in switches]
    scenario = load_scenario(CONFIGS / f"{config}.yaml", overrides=everything)
    assert all(is_on for _, is_on in scenario.switches)
    assert len(Simulation(scenario, seed=1).compiled.species) > 1


@pytest.fixture(scope="module")
def quickstart() -> Course:
    return Course("quickstart")


def test_leukaemia_falls_by_more_than_a_log(quickstart: Course):
    blasts = quickstart.series["blast_cells"]
    assert np.log10(blasts[0] / blasts.min()) > 1.0


def test_neutrophils_fall_and_return(quickstart: Course):
    anc = quickstart.series["anc"]
    low = np.nonzero(anc < 0.5)[0]
    assert len(low) > 5
    assert anc[low[-1] + 1 :].min() >= 0.5
    assert len(anc) - 1 > low[-1]


def test_donor_cells_appear_are_rejected_and_end_below_one_percent(quickstart: Course):
    share = quickstart.series["donor_cells"]
    assert (share[:8] == 0).all()
    assert share.max() > 0.02
    assert share[-1] < 0.01


def test_cytarabine_kills_in_s_phase_only(quickstart: Course):
    killed = quickstart.events("cytarabine kills blasts")
    assert killed
    assert all("phase=s_" in actor for actor in killed)
    # negative control: mitoxantrone is not phase-specific, and the same reading shows it
    others = quickstart.events("mitoxantrone kills blasts")
    assert any("phase=s_" not in actor for actor in others)


def test_every_change_of_every_species_is_booked(quickstart: Course):
    simulation = quickstart.simulation
    start = Simulation(quickstart.scenario, seed=1)
    before = np.stack(list(start.counts.values()), axis=1)[0]
    after = np.stack(list(simulation.counts.values()), axis=1)[0]
    change = np.zeros_like(before)
    tally = simulation.tally[0]
    for channel, compartment, species, cells in simulation.compiled.stoichiometry:
        change[compartment, species] += tally[channel] * cells
    names = simulation.compiled.compartment_names
    for m, name in enumerate(names):
        if name != "marrow":
            change[m] += simulation.received[0, m]
    assert np.array_equal((after - before)[:, 1:], change[:, 1:])


@pytest.mark.verify
def test_healthy_marrow_is_stationary_for_half_a_year():
    course = Course("healthy_marrow")
    late = course.days > 90
    for key, cells in course.types.items():
        if cells[0] < 300 or key[1] in ("sinusoid", "stroma", "fat"):
            continue
        assert abs(cells[late].mean() / cells[0] - 1.0) < 0.10, key
    assert 1.8 < course.series["anc"][late].mean() < 7.5
    assert 150 < course.series["platelets"][late].mean() < 400


@pytest.mark.verify
def test_recovery_from_the_loss_of_nine_precursors_in_ten():
    course = Course("precursor_loss")
    anc, platelets = course.series["anc"], course.series["platelets"]
    assert anc.min() < 1.2
    assert anc[20:].min() > 1.5
    assert 0.8 < anc[-5:].mean() / 4.0 < 1.2
    assert platelets.min() < 60
    assert platelets[-5:].mean() > 200


@pytest.mark.verify
def test_chemotherapy_of_a_patient_follows_the_published_course():
    course = Course("chemo_elderly_aml")
    anc, blasts = course.series["anc"], course.series["blast_cells"]
    low = np.nonzero(anc < 0.5)[0]
    assert 14 <= low[-1] + 1 - 7 <= 18
    assert 2.0 < np.log10(blasts[0] / blasts.min()) < 3.3


@pytest.mark.verify
def test_transfused_lymphocytes_rise_and_go():
    # copies as an assay sees them: living donor cells and dead infused ones, per blood sample
    simulation = Simulation(load_scenario(CONFIGS / "lymphocyte_transfusion.yaml"))
    marked = np.array(
        [
            s.type == "dead_cell" or ("origin", "donor") in s.values
            for s in simulation.compiled.species
        ]
    )
    copies = []
    for day in range(15):
        simulation.advance(day * 24.0)
        copies.append(int(simulation.counts["blood"][0, marked].sum()))
    assert copies[0] > 1000
    assert copies[2] < 0.01 * copies[0]
    assert max(copies[3:8]) > 2 * copies[2]
    assert copies[14] < 0.1 * max(copies[3:8])
