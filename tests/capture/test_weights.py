"""The one reader of weights: copies, widened where needed, in whatever mode it is called."""

import pytest
import torch
from torch import nn

from lazyrich import InputError, NotFiniteError
from lazyrich.capture.capture import capture
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.network import as_network
from lazyrich.capture.weights import read_weights
from tests.models import Residual, randn


def test_everything_is_read_once_and_copied():
    model = Residual().double()
    frozen = next(iter(dict(model.named_parameters())))
    model.get_parameter(frozen).requires_grad_(False)
    weights = read_weights(model)
    read = {**weights.trainable, **weights.fixed}
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert read.keys() == held.keys()
    assert frozen in weights.fixed
    for name, tensor in read.items():
        assert torch.equal(tensor, held[name])
        assert tensor.data_ptr() != held[name].data_ptr()
        assert not tensor.requires_grad
    assert not weights.widened


def test_leaves_require_gradients_as_the_parameters_do():
    model = Residual().double()
    next(model.parameters()).requires_grad_(False)
    leaves = read_weights(model).leaves()
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, leaf in leaves.items() if leaf.requires_grad} == wanted
    assert all(leaf.is_leaf for leaf in leaves.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_everywhere(dtype):
    model, x = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(dtype), randn(4, 3).to(dtype)
    weights = read_weights(model)
    assert weights.widened
    floating = {t.dtype for t in weights.leaves().values() if t.is_floating_point()}
    assert floating == {torch.float32}
    net = as_network(model, x)
    with undisturbed(net.module):
        wide = net(net.theta)
    assert capture(model, x).outputs.dtype == wide.dtype == torch.float32
    assert torch.equal(capture(model, x).outputs, wide)
    assert model[0].weight.dtype == dtype


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_copies_have_gradients_where_they_are_off(context):
    model = nn.Linear(3, 2)
    with context():
        weights = read_weights(model)
    leaf = weights.leaves()["weight"]
    leaf.square().sum().backward()
    assert torch.equal(leaf.grad, 2 * model.weight)


def test_what_cannot_be_measured_is_refused_by_both_roads_alike():
    x = randn(2, 3).float()
    broken = nn.Linear(3, 2)
    broken.bias.data[0] = torch.nan
    for read in (lambda m: capture(m, x), lambda m: as_network(m, x), read_weights):
        with pytest.raises(InputError, match="the model must have parameters, got ReLU without"):
            read(nn.ReLU())
        with pytest.raises(NotFiniteError, match="parameter `bias` must be finite, got NaN or"):
            read(broken)


def test_a_frozen_model_can_be_looked_at_but_not_trained():
    model = nn.Linear(3, 2).requires_grad_(False)
    assert read_weights(model).trainable == {}
    with pytest.raises(InputError, match="trainable parameters, got 2 parameters and none that"):
        read_weights(model, to_train=True)
