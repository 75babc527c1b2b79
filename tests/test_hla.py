"""HLA mismatch in both directions."""

from __future__ import annotations

import pytest

from mst_abm.clinic.hla import kir_ligands, mismatch, missing_ligands, shared_haplotypes

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


@pytest.mark.parametrize(
    ("allele", "ligands"),
    [
        ("C*07:02", {"C1"}),
        ("C*03:04", {"C1"}),
        ("C*04:01", {"C2"}),
        ("C*06:02", {"C2"}),
        ("C*16:01", {"C1"}),
        ("C*16:02", {"C2"}),
        ("A*24:02", {"Bw4"}),
        ("A*02:01", set()),
        ("A*11:01", {"A3/A11"}),
        ("A*03", {"A3/A11"}),
        ("B*44:02", {"Bw4"}),
        ("B*15:01", set()),
        ("B*15:17", {"Bw4"}),
        ("B*46:01", {"C1"}),
        ("DRB1*15:01", set()),
    ],
)
def test_ligands_of_inhibitory_receptors(allele: str, ligands: set[str]) -> None:
    assert kir_ligands(allele) == ligands


C1_C1 = ["A*02:01", "B*07:02", "C*07:02", "C*03:04"]
C1_C2 = ["A*02:01", "B*07:02", "C*07:02", "C*06:02"]


def test_missing_ligands_have_a_direction() -> None:
    # cells of who has both ligands are not inhibited by who has one; the other way round they are
    assert missing_ligands(C1_C2, C1_C1) == ("C2",)
    assert missing_ligands(C1_C1, C1_C2) == ()
    assert missing_ligands(C1_C2, C1_C2) == ()


def test_only_what_is_typed_in_both_can_be_missing() -> None:
    without_c = [a for a in C1_C1 if not a.startswith("C")]
    assert missing_ligands(C1_C2, without_c) == ()
    # HLA-B*46 carries C1: without HLA-B nobody knows that C1 is missing
    c2_c2 = ["C*04:01", "C*06:02"]
    assert missing_ligands(["C*07:02", "C*04:01"], c2_c2) == ()
    assert missing_ligands(["B*07:02", "C*07:02", "C*04:01"], ["B*07:02", *c2_c2]) == ("C1",)
    assert missing_ligands(["B*07:02", "C*07:02", "C*04:01"], ["B*46:01", *c2_c2]) == ()
    assert missing_ligands(["A*24:02", "B*07:02"], ["A*02:01", "B*07:02"]) == ("Bw4",)
    assert missing_ligands(["A*24:02"], ["A*02:01"]) == ()


def test_a_receptor_for_the_ligand_is_needed_where_receptors_are_typed() -> None:
    assert missing_ligands(C1_C2, C1_C1, ["KIR2DL1*003", "2DL3"]) == ("C2",)
    assert missing_ligands(C1_C2, C1_C1, ["2DL3"]) == ()
