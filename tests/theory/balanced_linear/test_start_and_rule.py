"""λ of any weights, states that have one, and the regime that follows from it."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.balanced_linear import (
    balanced_flow,
    balanced_regime,
    balanced_state,
    relative_scale,
)
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork
from lazyrich.vocabulary.regimes import LAZY_BELOW, RICH_FROM
from tests.theory.balanced_linear.problems import SHAPES, UNIT, problem, whitened_data


@pytest.mark.parametrize(("outputs", "inputs", "width", "scale"), SHAPES)
@pytest.mark.parametrize("std", [1e-6, 1.0])
def test_a_drawn_state_has_its_scale(outputs, inputs, width, scale, std):
    state, _ = problem(outputs, inputs, width, scale, std=std)
    found = relative_scale(state, UNIT)
    assert found.relative_scale.item() == pytest.approx(scale, rel=1e-12, abs=1e-13 * std**2)
    assert found.relative_scale_residual.item() < 1e-14
    u, w = state.factor.values[:outputs], state.factor.values[outputs:].T
    off = u.T @ u - w @ w.T - scale * np.eye(u.shape[1])
    assert np.abs(off).max() < 1e-13 * max(1.0, abs(scale))


def test_the_estimate_is_the_trace_of_explicit_weights():
    """Of weights that are not balanced, at unequal rates, against the definition."""
    random = np.random.default_rng(0)
    u, w = random.standard_normal((4, 3)), random.standard_normal((3, 5))
    network = LinearNetwork(output_scale=-2.0, lr_u=0.3, lr_w=0.1)
    found = relative_scale(GramState.from_weights(u, w), network)
    difference = 2.0 * (np.sqrt(0.1 / 0.3) * u.T @ u - np.sqrt(0.3 / 0.1) * w @ w.T)
    both = 2.0 * (np.sqrt(0.1 / 0.3) * u.T @ u + np.sqrt(0.3 / 0.1) * w @ w.T)
    balance = np.trace(difference) / 3
    left = np.linalg.norm(difference - balance * np.eye(3)) / np.linalg.norm(both, 2)
    assert found.relative_scale.item() == pytest.approx(balance, rel=1e-13)
    assert found.relative_scale_residual.item() == pytest.approx(left, rel=1e-12)


def test_neurons_that_have_no_weight_do_not_count():
    state = GramState.from_weights([[2.0, 0.0]], [[1.0], [0.0]])
    found = relative_scale(state, UNIT)
    assert found.relative_scale.item() == pytest.approx(3.0, rel=1e-14)
    assert found.relative_scale_residual.item() < 1e-15


@pytest.mark.parametrize(
    ("outputs", "inputs", "scale", "said"),
    [
        (2, 4, [-1.0, 1.0], "a relative scale > 0 needs a width of at most the outputs"),
        (4, 2, -1.0, r"got width 3 and inputs 2"),
    ],
)
def test_no_weights_have_some_scales(outputs, inputs, scale, said):
    with pytest.raises(InputError, match=said):
        balanced_state(
            outputs=outputs, inputs=inputs, width=3, init_relative_scale=scale, init_std=1, seed=0
        )
    with pytest.raises(InputError, match=r"no weights have λ = -?1 at width 3: h must be at most"):
        balanced_regime(scale, 1.0, width=3, outputs=outputs, inputs=inputs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0}, "`width` must be a whole number ≥ 1"),
        ({"init_std": -1.0}, "`init_std` must be finite and ≥ 0"),
        ({"init_relative_scale": np.inf}, "`init_relative_scale` must be finite"),
        ({"init_std": xr.DataArray([1.0], dims="neuron")}, "axis"),
    ],
)
def test_what_a_state_is_drawn_from_is_checked(change, said):
    plain = {"outputs": 2, "inputs": 2, "width": 2, "init_relative_scale": 0.0, "init_std": 1.0}
    with pytest.raises(InputError, match=said):
        balanced_state(**plain | change, seed=0)


TABLE = [  # outputs, inputs, width: λ → lazy, or rich after a delay
    (4, 4, 4, {-100.0: "lazy", 100.0: "lazy"}),
    (3, 8, 3, {-100.0: "delayed", 100.0: "lazy"}),
    (8, 3, 3, {-100.0: "lazy", 100.0: "delayed"}),
    (4, 4, 2, {-100.0: "delayed", 100.0: "delayed"}),
    (6, 1, 1, {-100.0: "lazy", 100.0: "delayed"}),
]


@pytest.mark.parametrize(("outputs", "inputs", "width", "expected"), TABLE)
def test_the_rule_is_what_the_kernel_does(outputs, inputs, width, expected):
    """The rule against the exact distance of the kernel, at the end and in between."""
    for scale, word in expected.items():
        judged = balanced_regime(scale, 1.0, width=width, outputs=outputs, inputs=inputs)
        delayed = word == "delayed"
        assert judged.delayed.item() == delayed
        assert judged.regime.item() == ("rich" if delayed else "lazy")
        state, target = problem(outputs, inputs, width, scale, std=0.1)
        target = target / np.linalg.norm(target, 2)
        found = balanced_flow(state, UNIT, whitened_data(target), [20 / abs(scale), 2e3])
        assert found.regime.item() == judged.regime.item()
        soon, late = found.kernel_distance.values
        assert soon < 1e-2
        assert (late > 0.3) == delayed


def test_no_scale_is_rich_at_any_width():
    for width in (1, 3, 100):
        judged = balanced_regime(0.0, 1.0, width=width, outputs=2, inputs=3)
        assert (judged.regime.item(), judged.delayed.item()) == ("rich", False)
        assert judged.laziness.item() == 0
        assert np.isinf(judged.aligned_ntk_change.item())


def test_nothing_to_learn_is_lazy():
    judged = balanced_regime(1.0, 0.0, width=1, outputs=1, inputs=1)
    assert judged.regime.item() == "lazy"
    assert judged.aligned_ntk_change.item() == 0


@pytest.mark.parametrize("scale", [0.02, 0.7, 3.0, 50.0])
def test_the_change_is_that_of_an_aligned_mode(scale):
    """One neuron on one input from a map of zero: the exact solution."""
    state = GramState.from_weights([[scale**0.5]], [[0.0]])
    found = balanced_flow(state, UNIT, whitened_data([[1.3]]), 60.0)
    judged = balanced_regime(scale, 1.3, width=1, outputs=1, inputs=1)
    assert judged.aligned_ntk_change.item() == pytest.approx(found.ntk_change.item(), rel=1e-9)


def test_the_thresholds_are_those_of_every_regime():
    edges = {"lazy": LAZY_BELOW, "rich": RICH_FROM}
    laziness = {word: ((1 + x) ** 2 - 1) ** -0.5 for word, x in edges.items()}
    for word, x in laziness.items():
        scales = 2 * x * np.array([0.999, 1.001])
        judged = balanced_regime(scales, 1.0, width=1, outputs=1, inputs=1).regime.values.tolist()
        assert judged == (["intermediate", word] if word == "lazy" else [word, "intermediate"])


def test_a_plane_of_regimes():
    judged = balanced_regime(
        np.linspace(-30, 30, 61), [0.5, 1.0], width=[1, 2], outputs=2, inputs=3
    )
    assert dict(judged.regime.sizes) == {"init_relative_scale": 61, "target_scale": 2, "width": 2}
    one = balanced_regime(-30.0, 0.5, width=1, outputs=2, inputs=3)
    cell = judged.sel(init_relative_scale=-30, target_scale=0.5, width=1)
    assert cell.equals(one.assign_coords(cell.coords))
