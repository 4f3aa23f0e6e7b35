"""Every quantity is declared once, says what it is, and has a range."""

import re
from collections import Counter

import pytest
from docs.vocabulary import declared, vocabulary

EVERY = declared()
DIMS = {"layer", "mechanism", "interval", "neuron", "k", "k_", "m", "m_", "row", "col"}
DIMS |= {"sample", "sample_", "condition", "mode", "maximum", "parameter", "flow", "plateau"}


def test_no_name_is_declared_twice():
    """`null` of one thing and of another, a scalar and a tensor: one name has one declaration."""
    names = Counter(name for quantity in EVERY for name in (quantity, *quantity.beside))
    assert [one.name for one, count in names.items() if count > 1] == []
    assert len({one.name for one in names}) == len(names)


def test_no_two_have_the_same_meaning():
    meanings = Counter(quantity.meaning for quantity in EVERY)
    assert [meaning for meaning, count in meanings.items() if count > 1] == []


@pytest.mark.parametrize("name", vocabulary())
def test_it_says_what_it_is(name):
    quantity = vocabulary()[name]
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert quantity.meaning
    assert quantity.meaning[0].islower() or quantity.meaning[:2].isupper()
    assert not quantity.meaning.endswith(".")
    assert quantity.symbol
    assert quantity.units
    assert quantity.source
    assert quantity.low < quantity.high
    assert set(quantity.dims) <= DIMS


def test_names_do_not_say_less_than_they_mean():
    """A word that many quantities have belongs to one of them: `nfa_null`, not `null`."""
    bare = {"null", "stderr", "low", "high", "output", "ntk", "change", "share", "start", "stop"}
    assert not bare & set(vocabulary())
