"""The report of the proofs tells what was found, and above all what was not."""

from __future__ import annotations

import re

import proof
import pytest
from proof_report import Report


def noted(request: pytest.FixtureRequest) -> list[dict]:
    return [row for name, row in request.node.user_properties if name == proof.PROPERTY]


def test_what_a_proof_finds_is_noted_before_it_fails(request: pytest.FixtureRequest) -> None:
    proof.holds("calm", [0.5, -1.0], 4.89, 100, ["mean"])
    with pytest.raises(AssertionError, match=r"wild: Z = \[6.0\], allowed 4.89, n = 7"):
        proof.holds("wild", [6.0], 4.89, 7)
    with pytest.raises(AssertionError, match="wild: rate"):
        proof.is_caught("wild", "rate +2%", [-1.0, 3.0], 4.89, 7)
    with pytest.raises(AssertionError):
        proof.holds("nothing", [], 4.89, 7)
    with pytest.raises(AssertionError):
        proof.holds("undefined", [0.0, float("nan")], 4.89, 7)
    rows = noted(request)
    assert [row["statistic"] for row in rows[:3]] == ["mean", "statistic 2", "statistic 1"]
    assert (rows[3]["seen"], rows[3]["z"], rows[3]["family"]) == (False, 3.0, "proof_report")


def test_the_report_puts_the_largest_first(request: pytest.FixtureRequest, tmp_path) -> None:
    proof.note_values("calm", [0.5, -2.0], 4.89, 10_000, ["mean", "variance"])
    proof.note_values("in tolerances", [0.9], 1.0, 16)
    proof.is_caught("calm", "rate +2%", [9.0], 4.89, 10_000)
    proof.note_curve("calm", [1.0, 2.0], [3.0, 4.0], [3.1, 4.1], of="cells")
    proof.note("control", "calm", wrong="death +2%", z=1.0, threshold=4.89, n=10_000, seen=False)
    report = Report(asked="fresh", seed="12345")
    report.add("a::b", "passed", 1.5, noted(request))
    report.add("a::c", "failed", 0.5, [])
    report.add("a::e", "passed", 0.5, [])
    report.skipped["a::d"] = "no such program"
    page = report.write(tmp_path).read_text(encoding="utf-8")
    values = [float(z) for z in re.findall(r"\| ([+-]\d\.\d\d) \|", page)]
    assert values == [0.9, -2.0, 0.5]
    assert "seed: 12345 (fresh)" in page
    assert "1 of 2 negative controls failed as they must" in page
    assert "| calm | death +2% | 1.0 | 4.89 | 10,000 | **NO** |" in page
    assert "without statistics\n\n- a::e\n" in page
    assert "FAILED: a::c" in page and "skipped: a::d: no such program" in page
    assert (tmp_path / "proof_report.png").stat().st_size > 10_000


def test_bits_that_agree_have_a_figure(request: pytest.FixtureRequest, tmp_path) -> None:
    proof.note_same_bits("engine and twin", 1234)
    report = Report(asked="", seed="")
    report.add("a::b", "passed", 1.5, noted(request))
    page = report.write(tmp_path).read_text(encoding="utf-8")
    assert "seed: the fixed ones" in page and "| 1,234 |" in page
    assert (tmp_path / "proof_report.png").exists()
