"""A small run of the shipped patient: its endpoints once more from the file alone, by loops that share no code."""

from __future__ import annotations

import itertools
import math
import zlib

import numpy as np
import pytest
from mini_patient import ON_REQUEST
from plain_random import block

from mst_abm.records.reader import Run, open_run
from mst_abm.report.summary import summary
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario import load_scenario

N = 8
SEED = 5
END_D = 7
#: Rates of death twice the shipped, so that about half of the patients die.
RATES = (0.012, 0.018, 0.008)
SMALL = (
    "compartments.marrow.lattice.shape=[24, 24, 24]",
    "compartments.marrow.patches=1",
    "compartments.lymphoid.share=3e-8",
    *(f"switches.{name}=on" for name in ON_REQUEST),
    f"run.seed={SEED}",
    "run.record.counts=4 h",
    "run.record.snapshots=0 h",
    *(f"hazards.aplastic_death.risks.{i}.rate={rate} /day" for i, rate in enumerate(RATES)),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("follow_up") / "run.h5"
    scenario = load_scenario("configs/quickstart.yaml", overrides=SMALL)
    run_to_file(scenario, path, replicates=N)
    with open_run(path) as found:
        yield found


def uniform(replicate: int, name: str) -> float:
    w0, w1, *_ = block(SEED, replicate, 0, 2**28 - 1, zlib.crc32(name.encode()), 15)
    return ((w0 >> 6) * 2**26 + (w1 >> 6) + 0.5) / 2**52


def death_day(run: Run, row: int) -> float:
    """Day on which the sum of daily hazards passes what this patient bears."""
    limit, total = -math.log(1 - uniform(row, "aplastic_death")), 0.0
    anc, platelets = (run.observed[name][row] for name in ("anc", "platelets"))
    for day in range(42):
        today = RATES[0] * (anc[day] < 0.5) + RATES[1] * (anc[day] < 0.1)
        today += RATES[2] * (platelets[day] < 10)
        if total + today >= limit:
            return day + (limit - total) / today
        total += today
    return math.nan


def alive(run: Run, row: int, name: str, *, is_true: bool) -> list[float]:
    """Values by day until the patient dies."""
    death = death_day(run, row)
    days = 43 if math.isnan(death) else math.floor(death) + 1
    return list((run.observed if is_true else run.reported)[name][row, :days])


def lasting(values: list[float], level: float, length: int) -> float:
    low = [day for day, value in enumerate(values) if value < level]
    for day in range((low or [len(values)])[0] + 1, len(values) - length + 1):
        if all(value >= level for value in values[day : day + length]):
            return day - END_D
    return math.nan


def remission(run: Run, row: int, *, is_true: bool) -> tuple[float, float]:
    """First days of CR and of CRi."""
    series = (alive(run, row, n, is_true=is_true) for n in ("marrow_blasts", "anc", "platelets"))
    complete = incomplete = math.nan
    for day, (blasts, anc, platelets) in enumerate(zip(*series, strict=True)):
        if day >= END_D + 14 and blasts < 0.05:
            if anc >= 1 and platelets >= 100 and math.isnan(complete):
                complete = day
            if (anc >= 1 or platelets >= 100) and math.isnan(incomplete):
                incomplete = day
    return complete, incomplete


def relapse(run: Run, row: int, start: float, *, is_true: bool) -> float:
    if math.isnan(start):
        return math.nan
    blasts = alive(run, row, "marrow_blasts", is_true=is_true)
    seen = [(d, b) for d, b in enumerate(blasts) if d > start and not math.isnan(b)]
    for (day, first), (_, second) in itertools.pairwise(seen):
        if first >= 0.05 and second >= 0.05:
            return day
    return math.nan


def column(run: Run, name: str, *, is_true: bool) -> np.ndarray:
    return (run.true_endpoints if is_true else run.endpoints)[name]


def agree(found: np.ndarray, expected: list[float]) -> None:
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True), (found, expected)


def test_some_die_and_some_live(run: Run):
    days = [death_day(run, row) for row in range(N)]
    assert 2 <= sum(map(math.isnan, days)) <= N - 2
    for is_true in (True, False):
        agree(column(run, "aplastic_death_day", is_true=is_true), days)
        agree(column(run, "os_time", is_true=is_true), [42 if math.isnan(d) else d for d in days])
        died = [not math.isnan(d) for d in days]
        agree(column(run, "os_event", is_true=is_true), died)
        time, event = run.survival("os", is_true=is_true)
        assert len(time) == N and event.tolist() == died


@pytest.mark.parametrize("is_true", [True, False])
def test_recovery(run: Run, is_true: bool):
    for name, series, level, days in (
        ("neutrophil_recovery", "anc", 0.5, 3),
        ("platelet_recovery", "platelets", 20, 7),
    ):
        expected = [lasting(alive(run, r, series, is_true=is_true), level, days) for r in range(N)]
        agree(column(run, name, is_true=is_true), expected)
        if is_true:
            assert np.isfinite(expected).any()


@pytest.mark.parametrize("is_true", [True, False])
def test_response_and_disease_free_time(run: Run, is_true: bool):
    words = run.categories("response", is_true=is_true)
    for row in range(N):
        complete, incomplete = remission(run, row, is_true=is_true)
        start = incomplete if math.isnan(complete) else complete
        death = death_day(run, row)
        back = relapse(run, row, start, is_true=is_true)
        blasts = [b for b in alive(run, row, "marrow_blasts", is_true=is_true) if not math.isnan(b)]
        if not math.isnan(complete):
            word = "CR"
        elif not math.isnan(incomplete):
            word = "CRi"
        elif not math.isnan(death):
            word = "death in aplasia"
        else:
            word = "aplasia" if blasts[-1] < 0.05 else "persistent disease"
        assert words[row] == word
        ends = [day for day in (back, death, 42.0) if not math.isnan(day)]
        time, event = (column(run, f"dfs_{n}", is_true=is_true)[row] for n in ("time", "event"))
        if math.isnan(start):
            assert math.isnan(time) and math.isnan(event)
        else:
            assert time == pytest.approx(min(ends) - start)
            assert event == (min(ends) < 42)


def test_blood_series_follow_from_the_counts(run: Run):
    """Shares and densities once more from simulated cells, every 24 h."""
    daily = slice(0, None, 6)
    (share,) = run.compartments["share"][[n == "blood" for n in run.compartment_names]]
    cells = run.counts_by("blood", "type")
    anc = 0.5 * cells[("neutrophil",)][:, daily] / share / 5 / 1e9
    agree(run.observed["anc"], anc)
    origins = run.counts_by("blood", "type", "origin")
    t_cells = ("cd8", "cd4", "treg")
    donor = sum(origins.get((t, "donor"), 0) for t in t_cells)
    every = sum(cells[(t,)] for t in t_cells)
    found = (donor / np.maximum(every, 1))[:, daily]
    agree(run.observed["donor_t"], found)
    for row in range(N):
        end = death_day(run, row)
        end = 42.0 if math.isnan(end) else end
        days = sum(max(min(day + 1, end) - day, 0) for day in range(42) if found[row, day] >= 1e-2)
        assert run.true_endpoints["donor_t_str_days"][row] == pytest.approx(days)
    assert run.true_endpoints["donor_t_str_days"].max() >= 2


def test_illness_and_exposure(run: Run):
    exposure = run.observed["gvhd_exposure"][:, -1]
    # any grade, then grades from II, III and IV on
    for name, above in (("", 0.0), ("_II", 0.2), ("_III", 0.6), ("_IV", 1.0)):
        expected = [
            0.5 * math.erfc(-(math.log10(x) - 10.1 - above) / 0.8 / math.sqrt(2)) if x else 0.0
            for x in exposure
        ]
        assert max(expected) > 1e-8
        agree(run.true_endpoints[f"gvhd{name}_probability"], expected)
    assert not run.endpoint_table["is_reported"][list(run.endpoints).index("gvhd_exposure")]
    ill = np.isfinite(run.true_endpoints["gvhd_day"])
    assert [w != "none" for w in run.categories("gvhd_grade", is_true=True)] == ill.tolist()


def test_cytokines_are_timed_to_the_record(run: Run):
    index = run.signals["cytokine_index"]
    for row in range(N):
        death = death_day(run, row)
        end = math.inf if math.isnan(death) else 24 * death
        high = [t for t, x in zip(run.times_h, index[row], strict=True) if x >= 10 and t <= end]
        onset = high[0] - 8 * 24 if high else math.nan
        agree(run.true_endpoints["cytokine_onset"][[row]], [onset])
    assert np.isfinite(run.true_endpoints["cytokine_onset"]).any()


# ---------------------------------------------------------------------- deaths of leukaemia


def balance(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(replicate, time): leukaemia cells lost by all rules; born + put in by reservoirs - change of counts."""
    lost = sum(run.leukaemia_deaths().values())
    is_blast = run.species["type"] == "blast"
    blasts = run.counts("marrow")[:, :, is_blast].sum(axis=2)
    gained = run.handed("marrow")[:, :, is_blast].sum(axis=2)
    for channel, verb in enumerate(run.channels["verb"]):
        if verb == "divide" and str(run.channels["actor"][channel]).startswith("blast"):
            gained = gained + run.events()[:, :, channel]
    return lost[:, 1:], gained[:, 1:] - np.diff(blasts, axis=1)


def test_leukaemia_deaths_by_rule_add_up_exactly(run: Run):
    lost, gone = balance(run)
    assert np.array_equal(lost, gone)
    assert lost.sum() > 10_000


def test_leukaemia_deaths_add_up_beside_a_reservoir(tmp_path):
    scenario = load_scenario("configs/quickstart.yaml", overrides=[*SMALL, "switches.residual=on"])
    run_to_file(scenario, tmp_path / "run.h5", replicates=2)
    with open_run(tmp_path / "run.h5") as run:
        lost, gone = balance(run)
        assert np.array_equal(lost, gone)
        assert run.handed("marrow").any()
        assert sum(run.leukaemia_deaths(in_reservoirs=True).values()).any()


def test_a_rule_left_out_is_missed(run: Run):
    """Negative control: without its rarest rule the book no longer balances."""
    by_rule = {rule: cells for rule, cells in run.leukaemia_deaths().items() if cells.any()}
    rarest = min(by_rule, key=lambda rule: by_rule[rule].sum())
    all_lost = sum(by_rule.values())
    assert not np.array_equal(all_lost - by_rule[rarest], all_lost)
    assert len(by_rule) >= 3


def test_the_summary_shows_both_and_the_table_adds_up(run: Run):
    text = summary(run)
    table = text.partition("leukaemia cells lost, by rule, 8 replicates together\n")[2]
    rows = [line.rsplit("  ", 1)[0] for line in table.partition("\n\n")[0].splitlines()]
    numbers = [int(row.split()[-1].replace(",", "")) for row in rows[:-1]]
    total = int(table.partition("\n\n")[0].splitlines()[-1].split()[-1].replace(",", ""))
    assert sum(numbers) == total == sum(c.sum() for c in run.leukaemia_deaths().values())
    assert "reported" in text and "not measured" in text
    assert max(map(len, text.splitlines())) <= 125


def test_the_same_patients_alone(run: Run, tmp_path):
    """What befalls a patient does not depend on who else is in the file."""
    scenario = load_scenario("configs/quickstart.yaml", overrides=SMALL)
    run_to_file(scenario, tmp_path / "two.h5", replicates=2, first_replicate=3)
    with open_run(tmp_path / "two.h5") as part:
        for name, values in part.true_endpoints.items():
            assert np.array_equal(values, run.true_endpoints[name][3:5], equal_nan=True), name
            assert np.array_equal(part.endpoints[name], run.endpoints[name][3:5], equal_nan=True)


def test_what_was_decided_moves_the_end_of_chemotherapy(tmp_path):
    """A second course six days after the first belongs to it, in those patients who were given it."""
    lines = [
        "{at: 0 d, give: cytarabine, dose: 150 mg/m^2/day, for: 7 d, as: induction}",
        "{at: 10 d, infuse: donor}",
        "{when: {anc: '< 0.25e9 /L', between: [12 d, 12 d]}, give: cytarabine, dose: 150 mg/m^2/day, for: 2 d}",
    ]
    overrides = [*SMALL, f"protocol=[{', '.join(lines)}]", "switches.aplastic_death=off"]
    scenario = load_scenario("configs/quickstart.yaml", overrides=overrides)
    run_to_file(scenario, tmp_path / "run.h5", replicates=N)
    with open_run(tmp_path / "run.h5") as run:
        treated = {item.replicate for item in run.decisions}
        assert 0 < len(treated) < N
        days = [
            lasting(list(run.reported["anc"][row]), 0.5, 3) - 7 * (row in treated)
            for row in range(N)
        ]
        agree(run.endpoints["neutrophil_recovery"], days)
        assert np.isfinite([days[row] for row in treated]).any()
        # nobody can die: no survival to speak of
        assert "os_time" not in run.endpoints
