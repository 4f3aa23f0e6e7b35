"""Every number that theory, studies or the command line let one choose is in the vocabulary."""

import inspect
from collections import Counter
from dataclasses import fields, is_dataclass
from importlib import import_module
from pkgutil import walk_packages
from typing import get_args, get_type_hints

import numpy as np
import pytest
import xarray as xr
from docs.vocabulary import declared

from lazyrich import exponent_diagram, order_parameters, parameter_diagram, phases, theory
from lazyrich.cli import app
from lazyrich.phases.scaling import ScalingLaw
from lazyrich.phases.setting import BOTH_LAYERS, Setting
from lazyrich.plot.style import axis_label
from lazyrich.study import Training
from lazyrich.study.config import TrainingConfig
from lazyrich.study.measured import measured_diagram
from lazyrich.study.training.recipe import Recipe
from lazyrich.sweeps import Result
from lazyrich.sweeps.store.results import assemble
from lazyrich.theory.labels import Parameter
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, descent, flow
from lazyrich.vocabulary.parameters import PARAMETERS, QUANTITIES

NO_PARAMETER = {
    **dict.fromkeys(("seed", "data_seed", "draws"), "chooses draws, not what they are drawn from"),
    **dict.fromkeys(("times", "until", "points"), "where a solution is looked at"),
    **dict.fromkeys(("steps", "every", "epochs", "stop_loss"), "where a training ends or is seen"),
    **dict.fromkeys(("measurements", "measure_at", "probe_samples"), "of the measuring alone"),
    **dict.fromkeys(("workers", "together", "timeout", "recycle"), "of the machine alone"),
    "test_samples": "of the measuring alone",
    "accuracy": "what a search for the learning rate has to reach",
    "outputs": "the shape of what is given",
    "constant": "of a power law, whose name says of what",
    **dict.fromkeys(("small", "large", "seeds"), "sizes of a family, and how often each is drawn"),
    "gram": "initial_uu, initial_uw and initial_ww at once",
    "moments": "mean_aa, mean_ay and mean_yy at once",
}


def modules(*packages):
    """Packages and all that is in them."""
    for package in packages:
        yield package
        if hasattr(package, "__path__"):
            names = [
                found.name for found in walk_packages(package.__path__, f"{package.__name__}.")
            ]
            yield from map(import_module, names)


def classes(*packages):
    """The dataclasses that are defined in some packages."""
    for module in modules(*packages):
        for one in vars(module).values():
            if inspect.isclass(one) and is_dataclass(one) and one.__module__ == module.__name__:
                yield one


def is_number(hint):
    """Whether an annotation is of a number, or of numbers or words."""
    return hint in (int, float) or any(map(is_number, get_args(hint)))


def descriptors():
    """Fields of theory and phases that broadcast: the name of their axis, and how they check."""
    for one in classes(theory, phases):
        for declared_as in vars(one).values():
            if isinstance(declared_as, Parameter):
                yield declared_as.axis or declared_as.name, declared_as


def numeric_fields():
    """Of theory and phases, and of what a study trains and how."""
    configs = (TrainingConfig, Recipe)
    for one in (*classes(theory, phases), *configs):
        if not one.__name__.startswith("_"):
            hints = get_type_hints(one)
            yield from (field.name for field in fields(one) if is_number(hints[field.name]))


def public_objects():
    """Of the exact column: what its modules define without a leading underscore."""
    for module in modules(theory, phases):
        if module is theory.labels:  # takes any of them
            continue
        for name, one in vars(module).items():
            own = getattr(one, "__module__", "") == module.__name__
            if own and callable(one) and not name.startswith("_"):
                yield one


def broadcast_arguments():
    """Of public functions, and of public methods of public classes, of theory and phases."""
    for public in public_objects():
        members = inspect.getmembers(public, callable) if inspect.isclass(public) else []
        methods = [
            member
            for key, member in members
            if not key.startswith("_") and getattr(member, "__module__", "") == public.__module__
        ]
        for function in (public, *methods):
            for key, argument in inspect.signature(function).parameters.items():
                if (
                    "ParameterLike" in str(argument.annotation)
                    and argument.kind != argument.VAR_KEYWORD
                ):
                    yield key


def numeric_options():
    """Of the command line."""
    for command in app.registered_commands:
        hints = get_type_hints(command.callback)
        yield from (name for name, hint in hints.items() if is_number(hint))


CHOSEN = {
    "fields that broadcast": lambda: (name for name, _ in descriptors()),
    "numeric fields": numeric_fields,
    "arguments that broadcast": broadcast_arguments,
    "options": numeric_options,
}


@pytest.mark.parametrize("where", CHOSEN)
def test_what_one_may_choose_is_a_parameter(where):
    names = set(CHOSEN[where]())
    assert len(names) >= 6
    assert names - set(PARAMETERS) - set(NO_PARAMETER) == set()


def test_what_is_no_parameter_is_there():
    found = {name for names in CHOSEN.values() for name in names()}
    assert set(NO_PARAMETER) <= found
    assert not set(NO_PARAMETER) & set(PARAMETERS)


def test_ranges_are_those_that_are_checked():
    for name, checked in descriptors():
        assert checked.low == PARAMETERS[name].low, name
        assert checked.high >= PARAMETERS[name].high, name  # a momentum below 1 is checked apart


def test_one_name_one_symbol_one_meaning():
    names = Counter(quantity.name for quantity in declared())
    assert [name for name in PARAMETERS if names[name] != 1] == []
    for of in ("symbol", "meaning", "label"):
        seen = Counter(getattr(one, of) for one in QUANTITIES)
        assert [text for text, count in seen.items() if count > 1] == []


def unlabelled(data, names):
    """Axes that do not say what the vocabulary says of them."""
    return [
        name
        for name in names
        if data[name].attrs != PARAMETERS[name].attrs or axis_label(data[name]) == name
    ]


@pytest.mark.parametrize("name", [*(field.name for field in fields(Setting)), *BOTH_LAYERS])
def test_axes_of_parameter_diagrams(name):
    other = "width" if name != "width" else "output_scale"
    values = np.linspace(0.5, 1, 3) + (name == "width")
    moments = {} if name == "mean_ay" else {"mean_ay": 0.5}  # data that there are
    made = parameter_diagram((name, values), (other, [1.0, 2.0, 3.0]), **moments).values
    assert unlabelled(made, (name, other)) == []
    for shown in made.data_vars.values():  # nothing but the loss depends on E[y²]
        assert unlabelled(shown, set(shown.dims) - {"mean_yy"}) == [], shown.name


BOTH = ("lr", "init_var")


@pytest.mark.parametrize("name", [*(field.name for field in fields(ScalingLaw)), *BOTH])
def test_axes_of_exponent_diagrams(name):
    axes = f"{name}_exponent", "output_scale_exponent" if name in BOTH else "lr_exponent"
    if name.startswith("lr"):
        axes = axes[0], "output_scale_exponent"
    made = exponent_diagram((axes[0], [-1.0, 0.0]), (axes[1], [-1.0, 0.0])).values
    for shown in made.data_vars.values():
        assert unlabelled(shown, axes) == [], shown.name


def test_axes_of_theory():
    state = LineState(uu=[2.0, 3.0], uw=[0.0, 0.5], ww=[1.0, 2.0])
    network = LinearNetwork(output_scale=[0.5, 1.0], lr_u=[0.1, 0.2], lr_w=[0.1, 0.3])
    data = LineData(mean_aa=[1.0, 2.0], mean_ay=[0.5, 1.0], mean_yy=[1.0, 2.0])
    axes = {"initial_uu", "initial_uw", "initial_ww", "output_scale", "lr_u", "lr_w"}
    axes |= {"mean_aa", "mean_ay", "mean_yy"}
    for found in (
        flow(state, network, data, [0.0, 1.0]),
        order_parameters(state, network, data),
        descent(state, network, data, steps=2),
    ):
        assert unlabelled(found, axes) == []
    decays = {"momentum": [0.0, 0.5], "weight_decay_u": [0.0, 0.1], "weight_decay_w": [0.0, 0.1]}
    assert unlabelled(descent(state, network, data, steps=2, **decays), decays) == []


def test_axes_of_results():
    result = Result(status="finished", sentence="", data=xr.Dataset({"ntk_change": 0.5}))
    known = [field.name for field in fields(Training) if field.name in PARAMETERS]
    assert {"width", "output_scale", "init_scale", "init_var_w_exponent", "lr"} <= set(known)
    for name in known:
        place = {name: 1.0, "my_own_field": 2, "seed": 0}
        data = assemble([(place, result)], {axis: [value] for axis, value in place.items()})
        assert unlabelled(data, [name]) == []
        assert (data.my_own_field.attrs, axis_label(data.my_own_field)) == ({}, "my_own_field")
        diagram = measured_diagram(data, name, "my_own_field", order=["ntk_change"])
        assert unlabelled(diagram, [name]) == unlabelled(diagram.ntk_change, [name]) == []
