"""The closed form of λ-balanced networks: vectors, mpmath, the integrated flow, descent, limits."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.balanced_linear import balanced_flow, balanced_state, tangent_kernel
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, MomentData, descent, flow
from tests.theory.balanced_linear.problems import SHAPES, UNIT, problem, whitened_data

FEW = [0.0, 0.05, 0.5, 2.0, 6.0]


def from_layers(u, w):
    return GramState.from_weights(np.asarray(u, dtype=float), np.asarray(w, dtype=float))


def test_vectors_of_relative_scale_one():
    state = from_layers(np.diag([1.36, 1.09]) ** 0.5, np.diag([0.6, 0.3]))
    found = balanced_flow(state, UNIT, whitened_data([[1, 0.5], [-0.25, 0.75]], noise=0), [0.5, 2])
    expected = [
        [0.8903913447125961745, 0.28401292213744883078],
        [0.99753594452996047722, 0.49241050861140170967],
    ]
    np.testing.assert_allclose(found.end_to_end_map.values[:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(found.ww.values[0], 0.79564365138745693376, rtol=1e-12)
    half = [0.061879818719862434842, 2.1468818339394056578e-4]
    np.testing.assert_allclose(found.loss.values / 2, half, rtol=1e-12)
    assert found.relative_scale.item() == pytest.approx(1.0, abs=1e-14)


def test_vectors_of_a_singular_generator():
    """λ = 0 and more inputs than outputs, where the textbook form divides by zero."""
    state = from_layers(np.diag([0.1, 0.2]), [[0.1, 0, 0], [0, 0.2, 0]])
    data = whitened_data([[2, 0.3, -0.1], [0.4, 1, 0.6]], noise=0)
    found = balanced_flow(state, UNIT, data, 2.0)
    expected = [1.8634455492956859439, 0.40925043848493344168, 0.0054314223033798148502]
    np.testing.assert_allclose(found.end_to_end_map.values[0], expected, rtol=1e-12)
    assert found.loss.item() / 2 == pytest.approx(0.081682884786043741666, rel=1e-12)


def closed_form(theta, target, scale, time):
    """`QQᵀ` by its definition with an inverse, with as many digits as the exponentials need."""
    k, m = target.shape
    with mp.workdps(60 + int(2 * np.linalg.norm(target, 2) * time + abs(scale) * time)):
        lam, t, b, q = mp.mpf(scale), mp.mpf(time), mp.matrix(target), mp.matrix(theta)
        generator = mp.zeros(k + m)
        for i in range(k + m):
            generator[i, i] = lam / 2 if i < k else -lam / 2
        for i in range(k):
            for j in range(m):
                generator[i, k + j] = generator[k + j, i] = b[i, j]
        rates, vectors = mp.eigsy(generator)
        tiny = mp.mpf(10) ** -50
        of = [mp.expm1(2 * x * t) / (2 * x) if abs(x) > tiny else t for x in rates]
        integral = vectors * mp.diag(of) * vectors.T
        grown = vectors * mp.diag([mp.exp(x * t) for x in rates]) * vectors.T * q
        inner = mp.eye(q.cols) + q.T * integral * q
        return np.array((grown * mp.inverse(inner) * grown.T).tolist(), dtype=float)


@pytest.mark.parametrize(("outputs", "inputs", "width", "scale"), SHAPES[::2])
@pytest.mark.parametrize("time", [0.3, 7.0, 60.0])
def test_the_definition_with_many_digits(outputs, inputs, width, scale, time):
    state, target = problem(outputs, inputs, width, scale)
    found = balanced_flow(state, UNIT, whitened_data(target), time)
    exact = closed_form(state.factor.values, target, scale, time)
    size = np.abs(exact).max()
    blocks = [
        (found.readout_gram, np.s_[:outputs, :outputs]),
        (found.nfm, np.s_[outputs:, outputs:]),
    ]
    for values, part in [*blocks, (found.end_to_end_map, np.s_[:outputs, outputs:])]:
        np.testing.assert_allclose(values.values, exact[part], rtol=0, atol=2e-13 * size)


@pytest.mark.parametrize("scale", [1e6, -1e6, 1e10, -1e10])
@pytest.mark.parametrize("pieces", [3.0, 1000.0])
def test_every_block_keeps_its_digits_however_unequal_the_layers_are(scale, pieces):
    state, target = problem(3, 3, 3, scale)
    time = pieces / abs(scale)
    found = balanced_flow(state, UNIT, whitened_data(target), time)
    exact = closed_form(state.factor.values, target, scale, time)
    for values, part in (
        (found.readout_gram, exact[:3, :3]),
        (found.nfm, exact[3:, 3:]),
        (found.end_to_end_map, exact[:3, 3:]),
    ):
        np.testing.assert_allclose(values, part, rtol=0, atol=1e-13 * np.abs(part).max())


@pytest.mark.parametrize(("outputs", "inputs", "width", "scale"), SHAPES)
def test_it_is_the_flow_that_is_integrated(outputs, inputs, width, scale):
    """For every quantity of both, by subtraction."""
    state, target = problem(outputs, inputs, width, scale)
    data = whitened_data(target)
    exact, followed = balanced_flow(state, UNIT, data, FEW), flow(state, UNIT, data, FEW)
    gap = exact - followed
    assert set(gap.data_vars) == set(followed.data_vars)
    size = float(exact.uu.max() + exact.ww.max()) ** 2 + 1
    for name, values in gap.data_vars.items():
        assert exact[name].attrs == followed[name].attrs, name
        assert float(abs(values).max()) < 1e-10 * size, name


@pytest.mark.parametrize("gamma", [-0.7, 2.0])
@pytest.mark.parametrize("power", [1.0, 0.3])
def test_unequal_rates_and_scales(gamma, power):
    """Weights that are balanced at the rates at which the layers learn."""
    lr_u, lr_w = 0.3, 0.05
    state, target = problem(3, 4, 2, 0.8)
    tilt = (lr_w / lr_u) ** 0.25
    units = xr.DataArray([1 / tilt] * 3 + [tilt] * 4, dims="row") / abs(gamma) ** 0.5
    factor = state.factor * units
    own = GramState(
        matrix=xr.dot(factor, factor.rename(row="col"), dim="neuron"), outputs=3, factor=factor
    )
    network = LinearNetwork(output_scale=gamma, lr_u=lr_u, lr_w=lr_w)
    data = whitened_data(target, power)
    exact, followed = balanced_flow(own, network, data, FEW), flow(own, network, data, FEW)
    assert exact.relative_scale.item() == pytest.approx(0.8, abs=1e-13)
    for name in followed.data_vars:
        assert float(abs(exact[name] - followed[name]).max()) < 2e-10, name


def test_descent_comes_to_it_at_first_order():
    state, target = problem(3, 2, 2, 0.5)
    data, far = whitened_data(target), []
    for lr in (4e-3, 2e-3, 1e-3):
        network = LinearNetwork(output_scale=1.0, lr_u=lr, lr_w=lr)
        last = descent(state, network, data, steps=round(0.5 / lr)).isel(step=-1)
        exact = balanced_flow(state, network, data, 0.5 / lr)
        far.append(float(abs(last.end_to_end_map - exact.end_to_end_map).max()))
    assert np.diff(np.log2(far)) == pytest.approx([-1, -1], abs=0.05)


@pytest.mark.parametrize(("outputs", "inputs", "width", "scale"), SHAPES)
def test_it_ends_at_the_best_map_of_its_rank(outputs, inputs, width, scale):
    state, target = problem(outputs, inputs, width, scale)
    y, sizes, x = np.linalg.svd(target, full_matrices=False)
    best = (y[:, :width] * sizes[:width]) @ x[:width]
    found = balanced_flow(state, UNIT, whitened_data(target), 1e4)
    tolerance = 1e-13 * (1 + abs(scale))
    np.testing.assert_allclose(found.end_to_end_map.values, best, rtol=0, atol=tolerance)
    assert found.status.item() == "ok"


def test_a_flow_goes_on_from_where_it_came():
    state, target = problem(3, 4, 2, -1.0)
    data = whitened_data(target)
    half = balanced_flow(state, UNIT, data, 0.7)
    gram = np.block(
        [
            [half.readout_gram.values, half.uw.values],
            [half.uw.values.T, half.nfm.values],
        ]
    )
    whole = balanced_flow(state, UNIT, data, 1.9)
    rest = balanced_flow(GramState(matrix=gram, outputs=3), UNIT, data, 1.2)
    for name in ("end_to_end_map", "nfm", "readout_gram", "relative_scale"):
        np.testing.assert_allclose(rest[name], whole[name], rtol=0, atol=1e-12)


def mode(a, b, s, t):
    """One aligned mode of any a, b and s: `a' = b(s − ab)`, `b' = a(s − ab)`, in mpmath."""
    with mp.workdps(40):
        a, b, s, t = map(mp.mpf, (a, b, s, t))
        lam = b * b - a * a
        omega = mp.sqrt(s * s + lam * lam / 4)
        cosh, sinh = mp.cosh(omega * t), mp.sinh(omega * t) / omega
        square = (2 * s * a * b + lam * lam / 2) * sinh**2
        norm = mp.sqrt(1 + (a * a + b * b) * mp.sinh(2 * omega * t) / (2 * omega) + square)
        return (
            float((a * cosh + (s * b - lam * a / 2) * sinh) / norm),
            float((b * cosh + (s * a + lam * b / 2) * sinh) / norm),
        )


@pytest.mark.parametrize(
    ("a", "b", "s"), [(0.3, 0.9, 1.2), (-0.4, 0.1, 1.0), (0.2, 0.2, -0.7), (1e-8, 3.0, 0.5)]
)
def test_one_neuron_is_one_mode(a, b, s):
    state = from_layers([[b]], [[a]])
    for time in (0.2, 1.0, 5.0):
        found = balanced_flow(state, UNIT, whitened_data([[s]]), time)
        first, second = mode(a, b, s, time)
        assert found.end_to_end_map.item() == pytest.approx(first * second, rel=1e-12, abs=1e-15)
        assert found.uu.item() == pytest.approx(second**2, rel=1e-12)


def test_output_scale_and_initial_scale_are_one():
    """`(γ, θ₀, t) ≡ (1, √γ θ₀, t/γ)`, for the map and the change of the kernel."""
    gamma = 7.0
    state, target = problem(3, 3, 2, 0.4)
    larger = GramState(matrix=state.matrix * gamma, outputs=3, factor=state.factor * gamma**0.5)
    data = whitened_data(target)
    one = balanced_flow(
        state, LinearNetwork(output_scale=gamma, lr_u=0.5, lr_w=0.5), data, np.array(FEW) / gamma
    )
    other = balanced_flow(larger, UNIT, data, FEW)
    for name in ("end_to_end_map", "ntk_change", "kernel_distance", "loss"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-11, atol=1e-13)


def test_axes_are_the_cells_alone():
    state = balanced_state(
        outputs=2, inputs=3, width=2, init_relative_scale=[-2.0, 0.0, 1.0], init_std=[0.1, 1.0],
        seed=0,
    )  # fmt: skip
    rates = [0.25, 0.5]
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    fast = xr.DataArray(rates, dims="speed")
    data = whitened_data([[1, 0.2, 0], [0, 0.5, 0.3]])
    grid = balanced_flow(
        state, LinearNetwork(output_scale=1.0, lr_u=fast, lr_w=fast), data, [0.5, 3.0]
    )
    for scale in (-2.0, 0.0, 1.0):
        for std in (0.1, 1.0):
            cell = balanced_state(
                outputs=2, inputs=3, width=2, init_relative_scale=scale, init_std=std, seed=0
            )
            alone = balanced_flow(cell, network, data, [0.5, 3.0])
            where = {"init_relative_scale": scale, "init_std": std}
            of = grid.isel(speed=1).sel(where)
            for name in alone.data_vars:
                part = of[name].transpose(*alone[name].dims)
                np.testing.assert_allclose(part, alone[name], rtol=1e-9, atol=1e-13, err_msg=name)


def kernel_by_hand(u, w, x, network):
    """`JHJᵀ` of explicit weights, from the derivatives of `γ U W x`."""
    gamma, lr_u, lr_w = (float(v) for v in (network.output_scale, network.lr_u, network.lr_w))
    rows = []
    for sample in x:
        for i in range(len(u)):
            of_u, of_w = np.zeros_like(u), np.zeros_like(w)
            of_u[i] = gamma * w @ sample
            of_w += gamma * np.outer(u[i], sample)
            rows.append(np.concatenate([lr_u**0.5 * of_u.ravel(), lr_w**0.5 * of_w.ravel()]))
    jacobian = np.array(rows)
    n, k = len(x), len(u)
    return (jacobian @ jacobian.T).reshape(n, k, n, k).transpose(0, 2, 1, 3)


def test_the_kernel_is_that_of_the_derivatives():
    state, target = problem(2, 3, 2, 0.6)
    factor = state.factor.values
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    x = 3**0.5 * np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3))).Q  # whitened
    solution = balanced_flow(state, network, whitened_data(target), [0.0, 2.0])
    kernel = tangent_kernel(solution, network, x)
    at_start = kernel_by_hand(factor[:2], factor[2:].T, x, network)
    np.testing.assert_allclose(kernel.isel(time=0), at_start, atol=1e-13)
    first, later = kernel.values
    cosine = (first * later).sum() / np.linalg.norm(first) / np.linalg.norm(later)
    assert solution.kernel_distance.values[1] == pytest.approx(1 - cosine, rel=1e-9)
    change = np.linalg.norm(later - first) / np.linalg.norm(first)
    assert solution.ntk_change.values[1] == pytest.approx(change, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_units_do_not_matter(scale):
    """Maps of any size: time goes as their inverse."""
    state, target = problem(2, 3, 2, 0.5)
    other = GramState(matrix=state.matrix * scale, outputs=2, factor=state.factor * scale**0.5)
    plain = balanced_flow(state, UNIT, whitened_data(target), [0.5, 5.0])
    large = balanced_flow(other, UNIT, whitened_data(scale * target), np.array([0.5, 5.0]) / scale)
    for name in ("ntk_change", "kernel_distance", "alignment", "nfa"):
        np.testing.assert_allclose(large[name], plain[name], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(large.end_to_end_map / scale, plain.end_to_end_map, rtol=1e-11)


def test_what_has_no_weights_stays():
    state = from_layers(np.zeros((2, 2)), np.zeros((2, 3)))
    found = balanced_flow(state, UNIT, whitened_data(np.ones((2, 3))), [0.0, 100.0])
    assert not found.end_to_end_map.any()
    assert not found.kernel_distance.any()
    assert found.status.item().startswith("stays at a saddle: the layers are zero")


def test_a_target_of_zero_is_forgotten():
    state = from_layers([[0.5]], [[0.5]])
    found = balanced_flow(state, UNIT, whitened_data([[0.0]]), 8.0)
    assert found.end_to_end_map.item() == pytest.approx(0.25 / (1 + 2 * 0.25 * 8), rel=1e-13)
    assert found.status.item() == "ok"


def test_a_saddle_is_named():
    """The second direction has no weight in either layer."""
    state = from_layers([[0.1, 0], [0, 0]], [[0.1, 0], [0, 0]])
    one = balanced_flow(state, UNIT, whitened_data(np.diag([2.0, 1.0])), 3.0)
    assert one.status.item() == "ok"  # one neuron learns the larger direction
    across = from_layers([[0, 0], [0, 0.1]], [[0, 0], [0, 0.1]])
    two = balanced_flow(across, UNIT, whitened_data(np.diag([2.0, 1.0])), 3.0)
    assert "rounding may leave it from t = 18.5 on" in two.status.item()
    np.testing.assert_array_equal(two.end_to_end_map.values[0], 0.0)


def test_what_is_not_whitened_is_refused_by_how_much():
    state, target = problem(2, 2, 2, 0.5)
    xx = np.diag([1.0, 1.02])
    data = MomentData(sigma_xx=xx, sigma_yx=target @ xx, mean_yy=50.0)
    with pytest.raises(InputError, match=r"between 1 and 1\.02, off by 0\.0099 of their mean"):
        balanced_flow(state, UNIT, data, 1.0)
    blind = MomentData(sigma_xx=np.zeros((2, 2)), sigma_yx=np.zeros((2, 2)), mean_yy=1.0)
    with pytest.raises(InputError, match="must be whitened"):
        balanced_flow(state, UNIT, blind, 1.0)


def test_what_is_not_balanced_is_refused_by_how_much():
    state = from_layers(np.diag([2.0, 2.0]), np.diag([1.0, 1.001]))
    with pytest.raises(InputError, match=r"with λ = 2\.999 they are off by 0\.00028 of their"):
        balanced_flow(state, UNIT, whitened_data(np.eye(2)), 1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output_scale": 0.0}, "`output_scale` must not be 0: a λ-balanced network learns in"),
        ({"lr_u": 0.0}, "`lr_u` must not be 0"),
        ({"lr_w": 0.0}, "`lr_w` must not be 0"),
    ],
)
def test_both_layers_learn(change, said):
    state, target = problem(2, 2, 2, 0.5)
    network = LinearNetwork(**{"output_scale": 1.0, "lr_u": 0.5, "lr_w": 0.5} | change)
    with pytest.raises(InputError, match=said):
        balanced_flow(state, network, whitened_data(target), 1.0)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([0.0, -1.0], r"`times` must be finite and ≥ 0, got -1\.0 at index 1"),
        (np.inf, "`times` must be finite and ≥ 0, got inf"),
        (1e12, "`times` must be at most 100,000 steps of the solution, got "),
    ],
)
def test_times(times, said):
    state, target = problem(2, 2, 2, 0.5)
    with pytest.raises(InputError, match=said):
        balanced_flow(state, UNIT, whitened_data(target), times)


def test_shapes_and_axes_that_do_not_fit():
    state, target = problem(2, 3, 2, 0.5)
    with pytest.raises(InputError, match=r"the state has \(outputs, inputs\) = \(2, 3\)"):
        balanced_flow(state, UNIT, whitened_data(target.T), 1.0)
    taken = LinearNetwork(output_scale=xr.DataArray([1.0], dims="relative_scale"), lr_u=1, lr_w=1)
    with pytest.raises(InputError, match="an axis must not have the name of what the result holds"):
        balanced_flow(state, taken, whitened_data(target), 1.0)
    solution = balanced_flow(state, UNIT, whitened_data(target), 1.0)
    with pytest.raises(InputError, match=r"`x` must hold finite inputs of shape \(n, 3\)"):
        tangent_kernel(solution, UNIT, np.ones((4, 2)))


@pytest.mark.parametrize(
    ("a", "w", "target", "time", "later_a", "later_w"),
    [
        (
            0.5,
            [0.3, -0.4],
            [1.0, 0.5],
            2.0,
            0.96799536857228734558,
            [0.92875104755455104419, 0.2728305797445046089],
        ),
        (
            0.1,
            [-2.0, 1.5],
            [1.0, 0.5],
            3.0,
            -0.28404086476251061446,
            [-2.3163126490597799574, 0.97743282360513118799],
        ),
        (
            2.0,
            [-0.1, 0.2, 0.3],
            [0.5, -1.0, 0.25],
            1.0,
            2.0405513688425204096,
            [0.23998694554022934228, -0.47997389108045868456, 0.12602070756998134125],
        ),
    ],
)
def test_the_single_neuron_is_the_case_of_one(a, w, target, time, later_a, later_w):
    """Vectors of `f = a w·x` on whitened data, one of which changes the sign of a."""
    found = balanced_flow(from_layers([[a]], [w]), UNIT, whitened_data([target]), time)
    later_w = np.array(later_w)
    np.testing.assert_allclose(found.end_to_end_map.values[0], later_a * later_w, rtol=1e-12)
    np.testing.assert_allclose(found.nfm, np.outer(later_w, later_w), rtol=1e-12)
    assert found.uu.item() == pytest.approx(later_a**2, rel=1e-12)
