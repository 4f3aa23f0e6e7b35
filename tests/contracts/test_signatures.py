"""One concept has one name, one place and one type in the signature of every public callable."""

import inspect
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import InputError
from tests.contracts.public import public_callables, public_modules, public_paths

FIRST = ("model", "batch", "loss")  # in this order, before everything else
RETIRED = {"asked", "exact", "found", "made", "probes", "rng", "sketches", "way"}
POSITIONAL, BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
TYPES = {
    "batch": {"LabelledBatch"},
    "loss": {"Loss", "LossName", "str", "float"},  # a function; a name; a user's; what it came to
    "directions": {"Directions", "Directions | Literal['auto']"},
    "seed": {"int", "SeedLike"},  # PyTorch's; NumPy's, also a generator
    "samples": {
        "int | None",
        "int",
        "Samples",
        "int | Literal['auto'] | None",
    },  # how many; or they
    "lrs": {"Mapping[str, float] | None"},
    "memory": {"int"},
    "heads": {"Heads | None"},
    "correlation": {"Correlation"},
    "confidence": {"float"},
    "tolerance": {"float"},
    "when": {"Schedule | int | None"},
    "recipe": {"Recipe"},
    "ax": {"Axes | None"},
    "path": {"str | Path"},
}
OPTIONS = (
    *("ax", "confidence", "correlation", "directions", "heads", "lrs", "memory", "seed"),
    "tolerance",
)
OF_FRAMEWORKS = {"LightningCallback", "HuggingFaceCallback"}  # which name their hooks' arguments
ON_ITS_OWN_OPTIMISER = {"Probe.watch", "SpeedLimited"}  # which acts on it: it comes first


def callables() -> Iterator[tuple[str, inspect.Signature]]:
    """Every public function, class and method, by its name in its package."""
    for path, value in public_paths().items():
        if inspect.isclass(value) and not issubclass(value, Exception):
            yield path.rpartition(".")[2], inspect.signature(value)
    packages = sorted((module.__name__ for module in public_modules()), key=len)
    for path, function in public_callables().items():
        package = next(name for name in reversed(packages) if path.startswith(f"{name}."))
        name = path.removeprefix(f"{package}.")
        if name.partition(".")[0] not in OF_FRAMEWORKS:
            yield name, inspect.signature(function)


SIGNATURES = dict(callables())


def with_parameter(name: str) -> list[str]:
    return [who for who, signature in SIGNATURES.items() if name in signature.parameters]


def test_the_callables_are_found():
    assert {"forecast", "dial", "nfa", "Probe.watch", "train", "SpeedLimited"} <= set(SIGNATURES)
    assert {"flow", "LineState.sample", "Store.read", "judge", "haar_null"} <= set(SIGNATURES)
    assert len(SIGNATURES) > 250


@pytest.mark.parametrize("who", SIGNATURES)
def test_no_retired_name_occurs(who):
    assert not RETIRED & set(SIGNATURES[who].parameters)


@pytest.mark.parametrize("who", SIGNATURES)
def test_model_batch_and_loss_come_first_in_this_order(who):
    """Of what measures a model on inputs and targets; only `loss` may be left out."""
    parameters = SIGNATURES[who].parameters
    if not {"model", "batch"} <= set(parameters):
        return
    assert [name for name in parameters if name != "self"][:3] == list(FIRST)
    for name in FIRST:
        assert parameters[name].kind is POSITIONAL
    assert parameters["loss"].default == "mse"
    rest = [p for name, p in parameters.items() if name not in (*FIRST, "self")]
    assert all(p.kind is BY_NAME for p in rest)


@pytest.mark.parametrize("who", with_parameter("optimizer"))
def test_an_optimiser_goes_by_name_except_where_it_is_acted_upon(who):
    parameters = SIGNATURES[who].parameters
    if who in ON_ITS_OWN_OPTIMISER:
        assert next(name for name in parameters if name != "self") == "optimizer"
    elif not {"Recipe", "Training"} & {who}:  # records, all of whose fields go by name
        assert parameters["optimizer"].kind is BY_NAME


@pytest.mark.parametrize(
    ("who", "name"), [(who, name) for name in OPTIONS for who in with_parameter(name)]
)
def test_options_go_by_name(who, name):
    assert SIGNATURES[who].parameters[name].kind is BY_NAME


@pytest.mark.parametrize(
    ("who", "name"),
    [(who, name) for name in TYPES for who in with_parameter(name)],
)
def test_a_concept_has_one_type(who, name):
    assert SIGNATURES[who].parameters[name].annotation in TYPES[name]


def test_inputs_without_targets_are_called_x():
    for who in ("ntk", "nfa"):
        assert list(SIGNATURES[who].parameters)[:2] == ["model", "x"]
    assert "x" in SIGNATURES["SpeedLimited"].parameters


def arguments(who: str) -> dict[str, object]:
    """What a call must have, of a model with more outputs than directions."""
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
    known = {
        "model": model,
        "factory": lambda width: nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 4)),
        "batch": (torch.randn(5, 3), torch.randn(5, 4)),
        "x": torch.randn(5, 3),
        "optimizer": 0.1
        if who == "coordinate_check"
        else torch.optim.SGD(model.parameters(), lr=0.1),
        "richness": 1.0,
        "widths": (4, 8, 16),
    }
    needed = [p.name for p in SIGNATURES[who].parameters.values() if p.default is p.empty]
    one_of_two = {"ntk_change": 0.1} if who == "dial" else {}
    return {name: known[name] for name in needed} | one_of_two


@pytest.mark.parametrize("who", with_parameter("directions"))
def test_directions_are_refused_by_all_in_one_sentence(who):
    with pytest.raises(
        InputError, match=r'`directions` must be an integer ≥ 2 or "all", got 1. Two'
    ):
        getattr(lazyrich, who)(**arguments(who), directions=1)


def test_directions_are_chosen_wherever_outputs_are_sampled():
    """All but `ntk`, which gives every entry, take them."""
    assert set(with_parameter("directions")) == {
        "Probe",
        "coordinate_check",
        "dial",
        "first_step",
        "forecast",
        "initial_cnfa",
        "nfa",
        "richness",
    }
