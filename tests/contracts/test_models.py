"""Every solvable model keeps to the contract of `lazyrich.theory.model`."""

import numpy as np
import pytest
import xarray as xr
from docs.vocabulary import vocabulary

import lazyrich.theory
from lazyrich import InputError
from lazyrich.theory.catalogue import models

MODELS = models()
ASSUMPTIONS = [(name, one) for name, model in MODELS.items() for one in model.assumptions]
AXES = {"time", "step", "draw"}  # beside those named after a parameter
NOT_A_QUANTITY = {"status"}


def test_models_are_found_where_users_look_for_them():
    found = {"balanced_linear", "diagonal_linear", "quadratic_start", "two_layer_linear"}
    assert found <= set(MODELS)
    for name in MODELS:
        assert __import__(f"{lazyrich.theory.__name__}.{name}")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_solves(name):
    model = MODELS[name]
    assert model.equation
    assert model.assumptions
    assert model.references
    assert all(one.sentence.endswith(".") for one in model.assumptions)


@pytest.mark.parametrize("name", MODELS)
def test_its_dataset_is_in_the_shared_vocabulary(name):
    model, known = MODELS[name], vocabulary()
    data = model.example()
    assert isinstance(data, xr.Dataset)
    names = set(map(str, data.data_vars)) - NOT_A_QUANTITY
    assert names
    assert names <= set(model.quantities) & set(known)
    for each in names:
        values, quantity = data[each], model.quantities[each]
        own = set(values.dims) - AXES - set(values.coords)
        assert own <= set(quantity.dims), each
        assert values.attrs == quantity.attrs, each
        if each == "loss":  # says its convention too
            assert values.attrs["long_name"].startswith(known[each].meaning)
        else:
            assert values.attrs == known[each].attrs, each
        assert np.isfinite(values).all(), each
        assert float(values.min()) >= quantity.low - 1e-12, each
        assert float(values.max()) <= quantity.high + 1e-12, each


@pytest.mark.parametrize(
    ("name", "assumption"), ASSUMPTIONS, ids=lambda value: getattr(value, "sentence", value)
)
def test_a_broken_assumption_is_an_error_and_not_an_approximation(name, assumption):
    with pytest.raises(InputError) as refused:
        assumption.broken()
    assert len(str(refused.value)) > 20
