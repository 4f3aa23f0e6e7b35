import pytest
import torch

from lazyrich import InputError
from lazyrich.study import networks
from lazyrich.study.datasets import digits


@pytest.fixture(scope="module")
def images():
    return digits().some(6, seed=0)


@pytest.mark.parametrize("build", [networks.mlp, networks.cnn, networks.transformer])
def test_outputs_are_centred_and_scaled(images, build):
    made = [
        networks.scaled(lambda: build(images, 8), output_scale=scale, seed=3)
        for scale in (1.0, 5.0)
    ]
    for network in made:
        assert torch.equal(network(images.x), torch.zeros(6, 10))
        with torch.no_grad():
            for parameter in network.network.parameters():
                parameter.add_(0.1)
    one, five = (network(images.x) for network in made)
    assert one.abs().max() > 0
    assert torch.allclose(5 * one, five)


def test_init_scale_multiplies_the_weights_alone(images):
    one, ten = (
        networks.scaled(lambda: networks.mlp(images, 8), init_scale=scale, seed=3).network
        for scale in (1.0, 10.0)
    )
    assert torch.equal(10 * one[1].weight, ten[1].weight)
    assert torch.equal(one[1].bias, ten[1].bias)


def test_building_leaves_the_random_state_alone(images):
    before = torch.get_rng_state()
    networks.scaled(lambda: networks.mlp(images, 8), seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_bad_numbers_are_refused(images):
    with pytest.raises(InputError, match="multiple of 4"):
        networks.transformer(images, 10)
    with pytest.raises(InputError, match="`init_scale` must be a positive number"):
        networks.scaled(lambda: networks.mlp(images, 8), init_scale=0.0, seed=0)
