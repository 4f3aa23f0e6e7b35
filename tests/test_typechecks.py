"""The calls of the measuring rooms are checked while the tests run, of nested functions too."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from torch import Tensor

import lazyrich
from lazyrich.capture.centred_kernel import centred_columns
from tests.typechecks import ROOMS, _hints, _Loader, checked


@checked
def product(a: Float[Tensor, "m n"], b: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
    return (a @ b).relu() if len(a) > 1 else (a @ b).T


@checked
def adder(amount: int):
    @checked
    def add(number: int, *more: int, twice: bool = False) -> int:
        return (1 + twice) * (number + amount + sum(more))

    return add


@checked
@dataclass(frozen=True)
class Pair:
    first: Float[Tensor, " n"]
    second: "Float[Tensor, ' n']"


@checked
def unknown(one: "Nowhere", two: int) -> "list[Nowhere]":
    return [one] * two


def test_sizes_have_names_within_a_call():
    assert product(torch.ones(2, 3), torch.ones(3, 4)).shape == (2, 4)
    assert product(torch.ones(4, 2), torch.ones(2, 1)).shape == (4, 1)  # other sizes, other call
    with pytest.raises(BeartypeCallHintViolation, match="parameter b"):
        product(torch.ones(2, 3), torch.ones(4, 4))
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        product(torch.ones(1, 3), torch.ones(3, 4))


def test_a_nested_function_is_checked_each_time_and_keeps_its_own_surroundings():
    one, ten = adder(1), adder(10)
    assert (one(1), ten(1), one(1, 2, twice=True)) == (2, 11, 8)
    for add in (one, ten):
        with pytest.raises(BeartypeCallHintViolation, match="parameter number"):
            add("1")
        with pytest.raises(BeartypeCallHintViolation, match="twice"):
            add(1, twice="yes")


def test_the_fields_of_a_dataclass():
    assert Pair(torch.ones(3), torch.zeros(3)).second.sum() == 0
    with pytest.raises(BeartypeCallHintViolation, match="parameter second"):
        Pair(torch.ones(3), torch.zeros(4))


@checked
def rows(matrix: Float[Tensor, "m n"], start: Float[Tensor, " n"]) -> Iterator[Tensor]:
    yield start
    yield from matrix


def test_a_generator_is_checked_when_it_is_called():
    assert len(list(rows(torch.ones(2, 3), torch.ones(3)))) == 3
    with pytest.raises(BeartypeCallHintViolation, match="parameter start"):
        rows(torch.ones(2, 3), torch.ones(4))


def test_what_only_a_type_checker_can_read_is_left_out():
    assert unknown("a", 2) == ["a", "a"]
    with pytest.raises(BeartypeCallHintViolation, match="parameter two"):
        unknown("a", "b")


def test_the_switch():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        assert adder(1)(1.5) == 2.5
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("room", ROOMS)
def test_a_whole_room_is_checked(room):
    package = importlib.import_module(room)
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{room}.")]
    seen = 0
    for module in map(importlib.import_module, names):
        assert isinstance(module.__spec__.loader, _Loader), module
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                annotated = {*_hints(inspect.unwrap(function)).values()} - {Any, object}
                assert hasattr(function, "__wrapped__") or not annotated, function
                seen += 1
    assert seen > 40


def test_a_call_into_a_room_is_checked():
    with pytest.raises(BeartypeCallHintViolation):
        lazyrich.Probe.measure("no probe", "no step")
    with pytest.raises(BeartypeCallHintViolation, match="parameter"):
        centred_columns(torch.ones(3))
