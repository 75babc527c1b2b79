"""HLA mismatch in both directions."""

from __future__ import annotations

import pytest

from mst_abm.clinic.hla import mismatch, shared_haplotypes

HOST = ["A*02:01", "A*24:02", "B*40:01", "B*15:01", "DRB1*09:01", "DRB1*15:01"]
CHILD = ["A*02:01", "A*11:01", "B*40:01", "B*46:01", "DRB1*09:01", "DRB1*08:03"]


def test_child_differs_by_half_in_both_directions() -> None:
    found = mismatch(HOST, CHILD)
    assert found.hvg == ("A*11:01", "B*46:01", "DRB1*08:03")
    assert found.gvh == ("A*24:02", "B*15:01", "DRB1*15:01")
    assert found.hvg_fraction == found.gvh_fraction == 0.5
    assert shared_haplotypes(HOST, CHILD) == 1


@pytest.mark.parametrize("donor_a", [["A*02:01"], ["A*02:01", "A*02:01"]])
def test_homozygous_donor_is_seen_in_one_direction_only(donor_a: list[str]) -> None:
    found = mismatch(["A*02:01", "A*24:02"], donor_a)
    assert (len(found.hvg), len(found.gvh)) == (0, 1)
    assert (found.hvg_fraction, found.gvh_fraction) == (0.0, 0.5)
    # and the other way round for a homozygous host
    back = mismatch(donor_a, ["A*02:01", "A*24:02"])
    assert (len(back.hvg), len(back.gvh)) == (1, 0)


def test_homozygous_foreign_allele_counts_once() -> None:
    found = mismatch(["A*02:01", "A*24:02"], ["A*01:01", "A*01:01"])
    assert (found.hvg_fraction, found.gvh_fraction) == (0.5, 1.0)


def test_identical_and_unrelated() -> None:
    same = mismatch(HOST, HOST)
    assert same.hvg == same.gvh == ()
    assert shared_haplotypes(HOST, HOST) == 2
    other = ["A*01:01", "A*03:01", "B*08:01", "B*07:02", "DRB1*03:01", "DRB1*04:01"]
    assert mismatch(HOST, other).hvg_fraction == mismatch(HOST, other).gvh_fraction == 1.0
    assert shared_haplotypes(HOST, other) == 0


def test_coarser_typing_decides_and_only_shared_loci_count() -> None:
    found = mismatch(["A*02:01:01", "B*40:01"], ["HLA-A*02", "C*01:02"])
    assert found.hvg == found.gvh == ()
    assert found.n_loci == 1


@pytest.mark.parametrize("alleles", [["A2"], ["A*02:01", "A*03:01", "A*11:01"]])
def test_unreadable_typing_is_refused(alleles: list[str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        mismatch(alleles, HOST)
