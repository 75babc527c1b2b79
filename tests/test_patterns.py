"""The small language of cells."""

from __future__ import annotations

import pytest

from mst_abm.model.definition import CellType, Counter, PatternTerm
from mst_abm.scenario.patterns import (
    Vocabulary,
    combinations,
    parse_change,
    parse_pattern,
    parse_product,
    split_arrow,
    split_plus,
)
from mst_abm.scenario.problems import WordError


@pytest.fixture
def words() -> Vocabulary:
    hits = Counter("hits", 2, (1.0, 0.0, 0.0))
    types = [
        CellType("blast", {"phase": ("g0", "g1", "s"), "class_i": ("low", "normal")}, (hits,)),
        CellType("lsc", {"phase": ("g0", "g1")}),
        CellType("nk"),
        CellType("fat", is_static=True),
    ]
    terms = (PatternTerm("blast"), PatternTerm("lsc"))
    return Vocabulary({t.name: t for t in types}, {"leukaemia": terms})


def test_pattern_narrows_axes(words: Vocabulary) -> None:
    pattern = parse_pattern("blast[phase = g0|s, class_i=low]", words)
    term = PatternTerm("blast", (("phase", ("g0", "s")), ("class_i", ("low",))))
    assert pattern.terms == (term,)


def test_sets_and_star_expand_in_order(words: Vocabulary) -> None:
    assert [t.type for t in parse_pattern("leukaemia", words).terms] == ["blast", "lsc"]
    assert [t.type for t in parse_pattern("*", words).terms] == ["blast", "lsc", "nk"]
    # only the types that can be in S
    assert [t.type for t in parse_pattern("leukaemia[phase=s]", words).terms] == ["blast"]


def test_empty_only_where_allowed(words: Vocabulary) -> None:
    assert parse_pattern("empty", words, is_empty_allowed=True).is_empty
    with pytest.raises(WordError, match="near"):
        parse_pattern("empty", words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blsat", "unknown cell type or set 'blsat'; did you mean 'blast'"),
        ("blast[fase=g0]", "'blast' has no axis 'fase'; did you mean 'phase'"),
        ("blast[phase=g7]", "has no value 'g7'"),
        ("blast[phase]", "expected axis=value"),
        ("blast[phase=g0,phase=s]", "given twice"),
        ("blast phase=g0", "expected cells such as"),
        ("lsc[phase=s]", "has no value 's'"),
    ],
)
def test_refused_patterns(words: Vocabulary, text: str, message: str) -> None:
    with pytest.raises(WordError, match=message):
        parse_pattern(text, words)


def test_products(words: Vocabulary) -> None:
    blast = parse_pattern("blast", words)
    product = parse_product("blast[phase=g1]", words, blast)
    assert (product.type, product.values) == ("blast", (("phase", "g1"),))
    assert parse_product("empty", words, blast).kind == "empty"
    assert parse_product("same", words, blast).kind == "same"
    changed = parse_product({"phase": "s", "hits": "+1"}, words, blast)
    assert changed.type is None
    assert changed.values == (("phase", "s"),)
    assert changed.counters == (("hits", "add", 1),)
    kept = parse_product("leukaemia[phase=g1]", words, parse_pattern("leukaemia[phase=g0]", words))
    assert kept.type is None


@pytest.mark.parametrize(
    ("written", "reactant", "message"),
    [
        ("blast", "nk", "leaves the axis 'phase'"),
        ("lsc", "blast", "leaves the axis 'phase'"),  # a blast can be in s, an lsc cannot
        ("blast[phase=g0|s]", "blast", "one value"),
        ("leukaemia", "nk", "expected one cell type"),
        ({"phse": "s"}, "blast", "did you mean 'phase'"),
        ({"hits": "+3"}, "blast", "at most 2"),
        ({"hits": "more"}, "blast", "expected a change"),
        ({"phase": "s"}, "leukaemia", "has no value 's'"),
        (7, "blast", "expected a product"),
    ],
)
def test_refused_products(words: Vocabulary, written: object, reactant: str, message: str) -> None:
    with pytest.raises(WordError, match=message):
        parse_product(written, words, parse_pattern(reactant, words))


def test_changes_of_counters() -> None:
    assert parse_change("+1") == ("add", 1)
    assert parse_change("-2") == ("add", -2)
    assert parse_change("=3") == parse_change(3) == ("set", 3)


def test_splitting_leaves_brackets_alone() -> None:
    assert split_arrow("a + b -> c + d") == ("a + b", "c + d")
    assert split_arrow("a") == ("a", None)
    assert split_plus("a[x=1] + b[y=2]", 2, "two") == ["a[x=1]", "b[y=2]"]
    with pytest.raises(WordError):
        split_plus("a", 2, "two")
    with pytest.raises(WordError):
        split_arrow("a -> b -> c")


def test_combinations_carry_and_state(words: Vocabulary) -> None:
    blast = parse_pattern("blast[phase=g0|s]", words)
    product = parse_product("blast[class_i=low]", words, blast)
    assert combinations(product, blast, words) == [
        ("blast", (("phase", "g0"), ("class_i", "low"))),
        ("blast", (("phase", "s"), ("class_i", "low"))),
    ]
