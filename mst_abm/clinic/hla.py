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
