"""Output scale and initial scale are one: (α, w₀, t) ≡ (1, α^{1/L} w₀, α^{2/L−2} t)."""

import numpy as np
import pytest

from lazyrich.study.matching.case import Case
from lazyrich.study.matching.recursion import descend
from lazyrich.theory.balanced_linear import balanced_flow
from lazyrich.theory.power_neurons import power_flow
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    flow,
)

LR, TIMES = 0.2, np.array([0.0, 0.7, 5.0])
LINE = LineData(mean_aa=1.3, mean_ay=0.8, mean_yy=1.0)
GENERAL = MomentData(sigma_xx=np.diag([1.0, 0.4]), sigma_yx=[[0.9, 0.3]], mean_yy=2.0)
WHITE = MomentData(sigma_xx=np.eye(2), sigma_yx=[[0.9, 0.3]], mean_yy=2.0)
U, W = np.array([0.4, -0.3]), np.array([[0.2, 0.7], [0.5, -0.1]])

MODELS = {
    "line": (2, lambda n, c, t: flow(LineState.from_weights(c * U, c * W[0]), n, LINE, t)),
    "general": (2, lambda n, c, t: flow(GramState.from_weights(c * U[None], c * W), n, GENERAL, t)),
    "neuron": (2, lambda n, c, t: neuron_flow(c * U[0], c * W[0], n, WHITE, t)),
    "balanced": (
        2,
        lambda n, c, t: balanced_flow(GramState.from_weights([[c]], c * W[:1]), n, WHITE, t),
    ),
    "power": (2.5, lambda n, c, t: power_flow(c * U, c * W[0], n, LINE, t, power=1.5)),
}


@pytest.mark.parametrize("alpha", [0.05, 7.0])
@pytest.mark.parametrize("name", MODELS)
def test_a_scale_of_the_output_is_one_of_the_weights(name, alpha):
    """With the loss over α², that is with rates over α²."""
    degree, solve = MODELS[name]
    rate = LR / alpha**2
    scaled = solve(LinearNetwork(output_scale=alpha, lr_u=rate, lr_w=rate), 1.0, TIMES)
    plain = solve(
        LinearNetwork(output_scale=1.0, lr_u=LR, lr_w=LR),
        alpha ** (1 / degree),
        TIMES * alpha ** (2 / degree - 2),
    )
    for quantity in ("loss", "ntk_change"):
        np.testing.assert_allclose(
            scaled[quantity], plain[quantity], rtol=1e-8, atol=1e-11, err_msg=quantity
        )


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_descent_is_the_same_at_every_depth(depth):
    """Step by step: the rate takes the place of the time."""
    rng = np.random.default_rng(depth)
    shapes = [(3, 2), *[(3, 3)] * (depth - 2), (1, 3)]
    weights = tuple(rng.standard_normal(shape) / 2 for shape in shapes)
    alpha = 3.0
    scaled = Case(weights=weights, data=GENERAL, output_scale=alpha, lr=0.01)
    plain = Case(
        weights=tuple(alpha ** (1 / depth) * w for w in weights),
        data=GENERAL,
        lr=0.01 * alpha ** (2 / depth),
    )
    here, there = descend(scaled, 60), descend(plain, 60)
    assert here.loss == pytest.approx(there.loss, rel=1e-11)
    assert here.ntk_change == pytest.approx(there.ntk_change, rel=1e-10)
