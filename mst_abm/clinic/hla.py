"""HLA mismatch, counted apart in the two directions in which cells can attack.

Host-versus-graft (HvG): the donor's alleles that the host lacks. Graft-versus-host (GvH): the
host's alleles that the donor lacks. They differ where one of them is homozygous. No haplotypes are
inferred beyond what the alleles at each locus allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ALLELE = re.compile(r"(?:HLA-)?([A-Z]+\d?)\*(\d{2,3}(?::\d{2,4})*)[A-Z]?$")


@dataclass(frozen=True)
class Mismatch:
    """Mismatched alleles in both directions.

    ``hvg``/``gvh``: the foreign alleles, distinct ones once. The fractions divide their number by
    two per locus typed in both people, so 1 means that every locus shows two foreign alleles.
    """

    hvg: tuple[str, ...]
    gvh: tuple[str, ...]
    n_loci: int

    @property
    def hvg_fraction(self) -> float:
        return len(self.hvg) / (2 * self.n_loci) if self.n_loci else 0.0

    @property
    def gvh_fraction(self) -> float:
        return len(self.gvh) / (2 * self.n_loci) if self.n_loci else 0.0


def parse_allele(text: str) -> tuple[str, tuple[str, ...]]:
    """Locus and at most two fields: "HLA-A*02:01:01" is ("A", ("02", "01"))."""
    match = _ALLELE.match(str(text).strip())
    if match is None:
        raise ValueError(f'expected an HLA allele such as "A*02:01", got "{text}"')
    return match[1], tuple(match[2].split(":")[:2])


def _loci(alleles: Iterable[str]) -> dict[str, list[tuple[str, ...]]]:
    loci: dict[str, list[tuple[str, ...]]] = {}
    for text in alleles:
        locus, fields = parse_allele(text)
        loci.setdefault(locus, []).append(fields)
    for locus, found in loci.items():
        if len(found) > 2:
            raise ValueError(f"expected at most two alleles of HLA-{locus}, got {len(found)}")
    return loci


def _is_same(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Equal at the coarser of the two typings."""
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]


def _foreign(of: dict, to: dict, loci: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{locus}*{':'.join(allele)}"
        for locus in loci
        for allele in dict.fromkeys(of[locus])
        if not any(_is_same(allele, own) for own in to[locus])
    )


def mismatch(host: Iterable[str], donor: Iterable[str]) -> Mismatch:
    """Compare the loci typed in both. An allele given once stands for a homozygous locus."""
    host_loci, donor_loci = _loci(host), _loci(donor)
    shared = [locus for locus in host_loci if locus in donor_loci]
    return Mismatch(
        hvg=_foreign(donor_loci, host_loci, shared),
        gvh=_foreign(host_loci, donor_loci, shared),
        n_loci=len(shared),
    )


#: Ligands of inhibitory receptors of NK cells (KIR), with the receptor genes that see them.
RECEPTORS = {"C1": ("2DL2", "2DL3"), "C2": ("2DL1",), "Bw4": ("3DL1",), "A3/A11": ("3DL2",)}
#: Loci that carry a ligand; it is known to be missing only where all of them are typed.
CARRIERS = {"C1": ("B", "C"), "C2": ("C",), "Bw4": ("A", "B"), "A3/A11": ("A",)}
#: Families of alleles by ligand, and alleles that differ from their family (asparagine or lysine 80 of HLA-C).
_C2 = ("02", "04", "05", "06", "15", "17", "18")
_OTHER_C = ("03:07", "03:15", "07:07", "07:09", "12:04", "12:05", "15:07", "16:02")
_BW4_A = ("23", "24", "25", "32")
_BW4_B = ("13", "27", "37", "38", "44", "47", "49", "51", "52", "53", "57", "58", "59")
_BW4_B15 = ("15:13", "15:16", "15:17", "15:23", "15:24")
_C1_B = ("46:01", "73:01")


def kir_ligands(allele: str) -> frozenset[str]:
    """Ligands of inhibitory KIR that an allele carries: of C1, C2, Bw4 and A3/A11."""
    locus, fields = parse_allele(allele)
    family, name = fields[0], ":".join(fields)
    found = set()
    if locus == "C":
        found.add("C2" if (family in _C2) != (name in _OTHER_C) else "C1")
    elif locus == "A":
        found |= {"Bw4"} if family in _BW4_A else set()
        found |= {"A3/A11"} if family in ("03", "11") else set()
    elif locus == "B":
        found |= {"Bw4"} if family in _BW4_B or name in _BW4_B15 else set()
        found |= {"C1"} if name in _C1_B else set()
    return frozenset(found)


def missing_ligands(
    of: Iterable[str], on: Iterable[str], receptors: Iterable[str] = ()
) -> tuple[str, ...]:
    """Ligands that one person has and another lacks: NK cells of the first may kill cells of the second.

    Only ligands whose loci are typed in both count. ``receptors``: KIR genes of the first, as
    "KIR2DL1" or "2DL1"; where some are given, a ligand counts only with a receptor for it.
    """
    of, on = tuple(of), tuple(on)
    own = frozenset[str]().union(*(kir_ligands(allele) for allele in of))
    there = frozenset[str]().union(*(kir_ligands(allele) for allele in on))
    typed = set(_loci(of)) & set(_loci(on))
    genes = {str(gene).strip().removeprefix("KIR").split("*")[0] for gene in receptors}
    return tuple(
        ligand
        for ligand, seen_by in RECEPTORS.items()
        if ligand in own - there
        and typed.issuperset(CARRIERS[ligand])
        and (not genes or genes.intersection(seen_by))
    )


def shared_haplotypes(host: Iterable[str], donor: Iterable[str]) -> int:
    """How many haplotypes the two can share: 2 identical, 1 at least one allele at every locus, 0.

    The most that unphased typing allows, over the loci typed in both.
    """
    host_loci, donor_loci = _loci(host), _loci(donor)
    most = 2
    for locus, own in host_loci.items():
        if locus not in donor_loci:
            continue
        pair, other = (own * 2)[:2], (donor_loci[locus] * 2)[:2]
        straight = sum(_is_same(a, b) for a, b in zip(pair, other, strict=True))
        crossed = sum(_is_same(a, b) for a, b in zip(pair, reversed(other), strict=True))
        most = min(most, max(straight, crossed))
    return most
