"""Every formula of docs/theory, checked numerically: each test names its page.

The oracle is explicit weights, with many digits where it matters, and not the library.
"""

import math
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from tests.reference import Network

from lazyrich import ScalingLaw, mechanisms, order_parameters
from lazyrich.phases import abc_scaling_law
from lazyrich.phases.scaling import exponents
from lazyrich.theory.abc import AbcParametrisation
from lazyrich.theory.aligned_modes import mode_flow, mode_times
from lazyrich.theory.barlow_twins import barlow_start, barlow_times
from lazyrich.theory.catapult import catapult_descent, catapult_phases
from lazyrich.theory.contrastive_energy import contrastive_maxima
from lazyrich.theory.power_neurons import power_flow
from lazyrich.theory.quadratic_start import quadratic_network_prediction
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    neurons,
    time_to_residual,
)
from lazyrich.theory.two_layer_relu import relu_phases
from lazyrich.theory.weight_decay_chain import chain_minima

PAGES = Path(__file__).parents[2] / "docs" / "theory"
CHECKED: dict[str, int] = {}


def page(name):
    """A test of formulas on a page, which must be there."""
    CHECKED[name] = CHECKED.get(name, 0) + 1
    return pytest.mark.parametrize("text", [pytest.param(name, id=name)])


def test_every_page_with_formulas_has_its_tests():
    with_formulas = {path.name for path in PAGES.glob("*.md") if "\\[" in path.read_text()}
    assert with_formulas <= set(CHECKED)
    assert {name for name in CHECKED if not (PAGES / name).exists()} == set()


# one problem on a line, its weights, and its closed form with 50 digits
G, ETA_U, ETA_W, AA, AY, YY = 0.7, 0.3, 0.5, 1.3, 0.9, 2.0
U, W = np.array([0.4, -0.3, 0.8]), np.array([-0.2, 0.9, 0.1])
STATE = LineState.from_weights(U, W)
NETWORK = LinearNetwork(output_scale=G, lr_u=ETA_U, lr_w=ETA_W)
DATA = LineData(mean_aa=AA, mean_ay=AY, mean_yy=YY)
TIMES = [0.0, 0.3, 1.0, 3.0]


@pytest.fixture(autouse=True)
def _many_digits():
    with mp.workdps(50):
        yield


class Closed:
    """The symbols of line.md, in mpmath."""

    def __init__(self):
        g, self.eu, self.ew, aa, ay = map(mp.mpf, (G, ETA_U, ETA_W, AA, AY))
        self.g, self.aa, self.ay = g, aa, ay
        self.uu, self.uw, self.ww = (mp.mpf(float(v)) for v in (U @ U, U @ W, W @ W))
        self.X = mp.sqrt(self.eu * self.ew)
        side, inner = self.ew * self.uu + self.eu * self.ww, 2 * self.X * self.uw
        self.P, self.Q = (side + inner) / 4, (side - inner) / 4
        self.R = (self.ew * self.uu - self.eu * self.ww) / 4
        self.A, self.B0 = 4 * g**2 * aa, 4 * g * self.X * ay
        self.B = self.B0 / self.A
        self.D = mp.sqrt(self.B**2 + 4 * self.P * self.Q)

    def chi(self, t):
        t = self.A * mp.mpf(t)
        c, s = mp.cosh(self.D * t / 2), mp.sinh(self.D * t / 2) / self.D
        y, z = c + (self.B + 2 * self.Q) * s, c + (2 * self.P - self.B) * s
        return y / z, y, z, c, s


@pytest.fixture(scope="module")
def integrated():
    """Explicit weights under gradient flow, by a Taylor series with 25 digits."""
    with mp.workdps(40):

        def velocity(_, flat):
            u, w = flat[:3], flat[3:]
            rho = mp.mpf(AA) * mp.mpf(G) * mp.fdot(u, w) - mp.mpf(AY)
            factor = -2 * mp.mpf(G) * rho
            return [factor * mp.mpf(ETA_U) * x for x in w] + [factor * mp.mpf(ETA_W) * x for x in u]

        solve = mp.odefun(velocity, 0, [mp.mpf(float(x)) for x in (*U, *W)], tol=mp.mpf("1e-22"))
        return {t: [+x for x in solve(t)] for t in TIMES}


@page("line.md")
def test_line_solution_is_that_of_the_weights(text, integrated):
    """χ, the Riccati equation, Pχ and Q/χ, E = 1/(yz), Δ, and what the library says."""
    s = Closed()
    found = flow(STATE, NETWORK, DATA, TIMES)
    best = s.ay / s.aa
    for row, t in enumerate(TIMES):
        u, w = integrated[t][:3], integrated[t][3:]
        uu, uw, ww = mp.fdot(u, u), mp.fdot(u, w), mp.fdot(w, w)
        chi, y, z, c, sh = s.chi(t)
        along, across = s.P * chi, s.Q / chi
        for derived, true in (
            ((along - across) / s.X, uw),
            ((along + across + 2 * s.R) / s.ew, uu),
            ((along + across - 2 * s.R) / s.eu, ww),
            ((s.g * uw - best) / (s.g * s.uw - best), 1 / (y * z)),
        ):
            assert mp.almosteq(derived, true, rel_eps=mp.mpf("1e-15"), abs_eps=mp.mpf("1e-15"))
        kernel = along + across - s.P - s.Q
        product = 2 * sh * (s.B + s.Q - s.P) * ((s.P - s.Q) * c + s.B * (s.P + s.Q) * sh) / (y * z)
        assert mp.almosteq(kernel, product, rel_eps=mp.mpf("1e-30"), abs_eps=mp.mpf("1e-40"))
        slope = mp.diff(lambda at: s.chi(at)[0], t) / s.A
        assert mp.almosteq(slope, -s.P * chi**2 + s.B * chi + s.Q, rel_eps=mp.mpf("1e-15"))
        for name, true in (("uu", uu), ("uw", uw), ("ww", ww)):
            assert found[name].values[row] == pytest.approx(float(true), rel=1e-12)


@page("line.md")
def test_line_stable_forms(text):
    """ỹ and z̃, 1 − E, the norms for R < 0, the smaller of P and Q, each with 50 digits."""
    s = Closed()
    sine = 1 - s.uw**2 / (s.uu * s.ww)
    assert mp.almosteq(s.P * s.Q, s.R**2 + s.ew * s.uu * s.eu * s.ww * sine / 4)
    big_y, big_z = s.D + s.B + 2 * s.Q, s.D - s.B + 2 * s.P
    assert mp.almosteq(s.D - abs(s.B), 4 * s.P * s.Q / (s.D + abs(s.B)))
    for t in TIMES[1:]:
        chi, y, z, *_ = s.chi(t)
        e = mp.exp(-s.D * s.A * t)
        g = (1 - e) / (2 * s.D)
        yt, zt = e + g * big_y, e + g * big_z
        assert mp.almosteq(yt, y * mp.exp(-s.D * s.A * t / 2))
        remaining = e / (yt * zt)
        assert mp.almosteq(remaining, 1 / (y * z))
        gained = 2 * g * (s.P + s.Q) * remaining + (g * big_y / yt) * (g * big_z / zt)
        assert mp.almosteq(1 - remaining, gained)
        total, root, size = s.P * chi + s.Q / chi, mp.sqrt(s.P * s.Q), abs(s.R)
        inner = (s.P * chi - s.Q / chi) / s.X
        for sign, rate, own in ((1, s.ew, s.uu), (-1, s.eu, s.ww)):
            if sign * s.R >= 0:
                continue
            whole = total + 2 * sign * s.R
            assert mp.almosteq(whole, (s.X * inner) ** 2 / (total + 2 * root) + 2 * (root - size))
            part = (s.P + s.Q + 2 * size) / 2 / (root + size)
            assert mp.almosteq(2 * (root - size), rate * own * sine * part)


@page("line.md")
def test_line_ends_times_and_neurons(text):
    """Pχ and Q/χ at infinity, the quadratic of time_to_residual, the propagator of neurons."""
    s = Closed()
    chi = s.chi(200)[0]
    assert mp.almosteq(s.P * chi, (s.D + s.B) / 2, rel_eps=mp.mpf("1e-30"))
    assert mp.almosteq(s.Q / chi, (s.D - s.B) / 2, rel_eps=mp.mpf("1e-30"))
    for share in (0.9, 0.1, 1e-6):
        t = time_to_residual(STATE, NETWORK, DATA, share).item()
        _, y, z, *_ = s.chi(t)
        assert float(1 / (y * z)) == pytest.approx(share, rel=1e-11)
        n = 1 / mp.mpf(share) - 1
        swept = (mp.exp(s.D * s.A * t) - 1) / (2 * s.D)
        yz = (s.D + s.B + 2 * s.Q) * (s.D - s.B + 2 * s.P)
        left = yz * swept**2 + 2 * (s.P + s.Q - s.D * n) * swept - n
        assert abs(left) < 1e-10 * (yz * swept**2 + n)
    path = flow(STATE, NETWORK, DATA, TIMES, propagator=True)
    moved = neurons(path, U, W)
    for row, t in enumerate(TIMES):
        half = mp.log(s.chi(t)[0]) / 2
        h = mp.sinh(half) / s.X
        expected = float(mp.cosh(half)) * U + ETA_U * float(h) * W
        np.testing.assert_allclose(moved.u[row], expected, rtol=1e-12)


@page("identities.md")
def test_identities_of_the_weights(text, integrated):
    """Balance, area, alignment and kernel from the output; the last rate; σ."""
    s = Closed()
    area = s.uu * s.ww - s.uw**2
    theta_0 = s.g**2 * (s.ew * s.uu + s.eu * s.ww)
    tight = {"rel_eps": mp.mpf("1e-15"), "abs_eps": mp.mpf("1e-15")}
    for t in TIMES:
        u, w = integrated[t][:3], integrated[t][3:]
        uu, uw, ww = mp.fdot(u, u), mp.fdot(u, w), mp.fdot(w, w)
        f, zeta = s.g * uw, uw / mp.sqrt(uu * ww)
        theta = s.g**2 * (s.ew * uu + s.eu * ww)
        assert mp.almosteq(s.ew * uu - s.eu * ww, 4 * s.R, **tight)
        assert mp.almosteq(uu * ww - uw**2, area, **tight)
        assert mp.almosteq(uu * ww, f**2 / s.g**2 + area, **tight)
        assert mp.almosteq(zeta / mp.sqrt(1 - zeta**2), f / (s.g * mp.sqrt(area)), **tight)
        assert mp.almosteq(theta**2, (2 * s.g * s.X * f) ** 2 + 16 * s.g**4 * s.P * s.Q, **tight)
        moved = 4 * s.g**2 * s.X**2 * (f**2 - (s.g * s.uw) ** 2)
        assert mp.almosteq(theta**2 - theta_0**2, moved, **tight)
    order = order_parameters(STATE, NETWORK, DATA)
    best = s.ay / s.aa
    last = mp.sqrt(theta_0**2 + 4 * s.g**2 * s.X**2 * (best**2 - (s.g * s.uw) ** 2))
    assert 1 / order.time_constant.item() == pytest.approx(float(2 * s.aa * last), rel=1e-13)
    assert order.order_parameter.item() == pytest.approx(
        float(4 * s.g * s.X * best / theta_0), rel=1e-13
    )
    chi = mp.exp(mp.asinh(s.B / (2 * mp.sqrt(s.P * s.Q))) + mp.log(s.Q / s.P) / 2)
    assert mp.almosteq(s.chi(200)[0], chi, rel_eps=mp.mpf("1e-30"))


@page("identities.md")
def test_identities_of_orthogonal_layers(text):
    """2 sinh σ = F, Θ_∞/Θ₀ = cosh σ and ζ_∞ = sinh σ/√(cosh²σ − (R/P)²), by integrating weights."""
    uu, ww = 2.0, 0.7
    p, r = (ETA_W * uu + ETA_U * ww) / 4, (ETA_W * uu - ETA_U * ww) / 4
    sigma = math.asinh(AY / AA * 2 * G * math.sqrt(ETA_U * ETA_W) / (G**2 * 4 * p))
    u, w = np.array([uu**0.5, 0.0]), np.array([0.0, ww**0.5])
    for _ in range(400_000):  # explicit weights, small steps
        rho = AA * G * u @ w - AY
        u, w = u - 2 * G * rho * 1e-4 * ETA_U * w, w - 2 * G * rho * 1e-4 * ETA_W * u
    kernel = (ETA_W * u @ u + ETA_U * w @ w) / (4 * p)
    zeta = u @ w / np.sqrt((u @ u) * (w @ w))
    assert kernel == pytest.approx(math.cosh(sigma), rel=1e-4)
    assert kernel == pytest.approx(math.sqrt(1 + (2 * math.sinh(sigma)) ** 2 / 4), rel=1e-4)
    expected = math.sinh(sigma) / math.sqrt(math.cosh(sigma) ** 2 - (r / p) ** 2)
    assert zeta == pytest.approx(expected, rel=1e-4)
    found = order_parameters(LineState(uu=uu, uw=0.0, ww=ww), NETWORK, DATA)
    assert found.alignment.item() == pytest.approx(expected, rel=1e-12)
    assert found.ntk_change.item() == pytest.approx(math.cosh(sigma) - 1, rel=1e-12)


@page("identities.md")
def test_identities_of_a_step(text):
    """P, Q, R of explicit weights after one step; f' and Θ' of the catapult."""
    u, w, x = U.copy(), W.copy(), math.sqrt(ETA_U * ETA_W)

    def modes(u, w):
        plus, minus = ETA_W**0.5 * u + ETA_U**0.5 * w, ETA_W**0.5 * u - ETA_U**0.5 * w
        return plus @ plus / 4, minus @ minus / 4, (ETA_W * u @ u - ETA_U * w @ w) / 4

    for _ in range(5):
        rho = AA * G * u @ w - AY
        h = 2 * G * x * rho
        p, q, r = modes(u, w)
        f, theta = G * u @ w, G**2 * (ETA_W * u @ u + ETA_U * w @ w)
        u, w = u - 2 * G * rho * ETA_U * w, w - 2 * G * rho * ETA_W * u
        expected = (1 - h) ** 2 * p, (1 + h) ** 2 * q, (1 - h * h) * r
        np.testing.assert_allclose(modes(u, w), expected, rtol=1e-13)
        kappa = AA * theta
        assert G * u @ w == pytest.approx(f * (1 + h * h) - 2 * kappa * (f - AY / AA), rel=1e-12)
        after = G**2 * (ETA_W * u @ u + ETA_U * w @ w)
        assert after == pytest.approx(theta * (1 + h * h) - 4 * G * x * h * f, rel=1e-12)
    zero = descent(STATE, NETWORK, LineData(mean_aa=AA, mean_ay=0.0, mean_yy=0.0), steps=3)
    kappa, f = AA * zero.ntk_trace.values, zero.end_to_end_map.values
    h = 2 * G * x * AA * f
    np.testing.assert_allclose(f[1:], (f * (1 - 2 * kappa + h**2))[:-1], rtol=1e-12)
    np.testing.assert_allclose(kappa[1:], (kappa + h**2 * (kappa - 2))[:-1], rtol=1e-12)


@page("mechanisms.md")
def test_mechanisms_of_the_weights(text, integrated):
    """ln|f_T/f_0| = Δ ln‖u‖‖w‖ + Δ ln|ζ|, of explicit weights and of the library."""

    def parts(t):
        u, w = (
            np.array([float(x) for x in part]) for part in (integrated[t][:3], integrated[t][3:])
        )
        norms = math.sqrt((u @ u) * (w @ w))
        return math.log(norms), math.log(abs(u @ w) / norms), math.log(abs(G * u @ w))

    start, end = parts(TIMES[0]), parts(TIMES[-1])
    norms, zeta, output = (last - first for first, last in zip(start, end, strict=True))
    assert norms + zeta == pytest.approx(output, rel=1e-12)
    found = mechanisms(flow(STATE, NETWORK, DATA, TIMES)).isel(time=-1)
    assert found.log_rescaling.item() == pytest.approx(norms, rel=1e-10)
    assert found.log_alignment.item() == pytest.approx(zeta, rel=1e-10)
    assert found.log_output.item() == pytest.approx(output, rel=1e-10)


@page("state.md")
def test_state_of_explicit_weights(text):
    """Loss, gradients, N, Ġ, the step M and momentum's block matrix, of a network of weights."""
    rng = np.random.default_rng(0)
    k, m, d, mu = 2, 3, 4, 0.6
    u, w = rng.normal(size=(k, d)), rng.normal(size=(d, m))
    x, y = rng.normal(size=(9, m)), rng.normal(size=(9, k))
    xx, yx, yy = x.T @ x / 9, y.T @ x / 9, np.mean(np.sum(y**2, 1))
    net = Network(u, w, scale=G, lr_u=ETA_U, lr_w=ETA_W)
    loss = G**2 * np.trace(u @ w @ xx @ w.T @ u.T) - 2 * G * np.trace(u @ w @ yx.T) + yy
    assert loss == pytest.approx(net.loss(x, y), rel=1e-13)
    residual = G * u @ w @ xx - yx
    of_u, of_w = net.gradients(x, y)
    np.testing.assert_allclose(of_u, 2 * G * residual @ w.T, rtol=1e-12)
    np.testing.assert_allclose(of_w.T, 2 * G * residual.T @ u, rtol=1e-12)
    generator = np.block(
        [[np.zeros((k, k)), ETA_U * residual], [ETA_W * residual.T, np.zeros((m, m))]]
    ) * (-2 * G)
    theta = np.concatenate([u, w.T])
    velocity = np.concatenate([-ETA_U * of_u, -ETA_W * of_w.T])
    np.testing.assert_allclose(generator @ theta, velocity, rtol=1e-12)
    gram = theta @ theta.T
    np.testing.assert_allclose(
        generator @ gram + gram @ generator.T, velocity @ theta.T + theta @ velocity.T, rtol=1e-12
    )
    decays = np.repeat([0.1, 0.2], [k, m])
    net = Network(u, w, scale=G, lr_u=ETA_U, lr_w=ETA_W, momentum=mu, decay_u=0.1, decay_w=0.2)
    net.velocity = [rng.normal(size=u.shape), rng.normal(size=w.shape)]
    rates = np.diag(np.repeat([ETA_U, ETA_W], [k, m]))
    force = -np.linalg.inv(rates) @ generator + np.diag(decays)
    block = np.block([[np.eye(k + m) - rates @ force, -mu * rates], [force, mu * np.eye(k + m)]])
    stacked = block @ np.concatenate([theta, net.velocity[0], net.velocity[1].T])
    net.step(x, y)
    np.testing.assert_allclose(stacked[:k], net.u, rtol=1e-12)
    np.testing.assert_allclose(stacked[k : k + m], net.w.T, rtol=1e-12)
    np.testing.assert_allclose(stacked[k + m : 2 * k + m], net.velocity[0], rtol=1e-12)


@page("state.md")
def test_state_table_and_propagator(text):
    """The table of blocks against Jacobians; G = Φ G₀ Φᵀ; Bartlett's mean and spread."""
    rng = np.random.default_rng(1)
    u, w, x = rng.normal(size=(2, 4)), rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    net = Network(u, w, scale=G, lr_u=ETA_U, lr_w=ETA_W)
    kernel = net.kernel(x)
    a, b = x[1], x[3]
    expected = G**2 * (ETA_W * a @ b * u @ u.T + ETA_U * (a @ w.T @ w @ b) * np.eye(2))
    np.testing.assert_allclose(kernel[1, :, 3], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.agop(x), G**2 * (u @ w).T @ u @ w, rtol=1e-10)
    state = GramState.from_weights(u, w)
    data = MomentData.from_samples(x, rng.normal(size=(5, 2)))
    found = flow(state, NETWORK, data, 2.0, propagator=True)
    phi = found.propagator.values
    moved = phi @ state.matrix.values @ phi.T
    np.testing.assert_allclose(moved[:2, 2:], found.uw, atol=1e-10)
    drawn = GramState.sample(
        7, outputs=1, inputs=1, init_std_u=2.0, init_std_w=0.5, draws=40_000, seed=0
    ).matrix
    np.testing.assert_allclose(drawn.mean("draw"), np.diag([28.0, 1.75]), atol=0.1)
    np.testing.assert_allclose(drawn.isel(row=0, col=0).var("draw"), 2 * 7 * 2.0**4, rtol=0.03)
    np.testing.assert_allclose(drawn.isel(row=0, col=1).var("draw"), 7 * 2.0**2 * 0.5**2, rtol=0.03)


@page("conventions.md")
def test_conventions_by_brute_force(text):
    """ḟ = −2E[a²]Θ(f − f*), and ntk_change over independent pairs of inputs."""
    u, w, step = U, W, 1e-6
    rho = AA * G * u @ w - AY
    moved_u, moved_w = u - 2 * G * rho * step * ETA_U * w, w - 2 * G * rho * step * ETA_W * u
    theta = G**2 * (ETA_W * u @ u + ETA_U * w @ w)
    speed = (G * moved_u @ moved_w - G * u @ w) / step
    assert speed == pytest.approx(-2 * AA * theta * (G * u @ w - AY / AA), rel=1e-5)
    rng = np.random.default_rng(2)
    u, w = rng.normal(size=(2, 4)), rng.normal(size=(4, 3))
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    before, after = (Network(u, w, scale=G, lr_u=0.02, lr_w=0.05) for _ in range(2))
    for _ in range(7):
        after.step(x, y)
    change = np.linalg.norm(after.kernel(x) - before.kernel(x)) / np.linalg.norm(before.kernel(x))
    network = LinearNetwork(output_scale=G, lr_u=0.02, lr_w=0.05)
    state, data = GramState.from_weights(u, w), MomentData.from_samples(x, y)
    found = descent(state, network, data, steps=7, every=7).isel(step=-1)
    assert found.ntk_change.item() == pytest.approx(change, rel=1e-10)


@page("phases.md")
def test_phases_table_of_exponents(text):
    """b, k, r, o, the freezing of the kernel and the end of the alignment, from drawn weights."""
    rng = np.random.default_rng(3)
    widths = np.array([1e8, 1e12])
    for _ in range(12):
        powers = rng.integers(-4, 5, 5) / 4
        a, e_u, e_w, s_u, s_w = powers
        b, k, r, o = exponents(*powers)
        uu, ww = widths ** (1 + s_u), widths ** (1 + s_w)
        uw = widths ** ((1 + s_u + s_w) / 2)  # a typical draw
        gamma, eta_u, eta_w = (widths**power for power in (a, e_u, e_w))
        x = np.sqrt(eta_u * eta_w)
        signal, kernel = 4 * gamma * x, gamma**2 * (eta_w * uu + eta_u * ww)

        def slope(values):
            return float(np.diff(np.log(values))[0] / np.diff(np.log(widths))[0])

        assert slope(signal) == pytest.approx(b, abs=1e-9)
        assert slope(kernel) == pytest.approx(k, abs=0.1)
        p, q = (kernel / gamma**2 + 2 * x * uw) / 4, (kernel / gamma**2 - 2 * x * uw) / 4
        rate = np.hypot(signal, 2 * 4 * gamma**2 * np.sqrt(p * q))
        assert slope(rate) == pytest.approx(r, abs=0.1)
        assert slope(gamma * uw) == pytest.approx(o, abs=1e-9)
        assert -(o + 0.5) == pytest.approx(b - k + abs(e_w + s_u - e_u - s_w) / 2)
        cotangent = 1 / (gamma * np.sqrt(uu * ww - uw**2))
        assert slope(cotangent) == pytest.approx(-(o + 0.5), abs=1e-6)
        law = ScalingLaw.from_exponents(*map(str, powers))
        assert [float(v) for v in law.exponents] == [b, k, r, o]


@page("phases.md")
def test_phases_small_changes_and_plateaus(text):
    """ΔΘ/Θ ≈ F²/8 (1 − f₀²/f*²), √(1 + F²/4), and t = τ ln(1 + F n) from a vanishing start."""
    kernel_phase = LineState(uu=1e6, uw=3e3, ww=1e6)
    network = LinearNetwork(output_scale=1e-4, lr_u=1.0, lr_w=1.0)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    found = order_parameters(kernel_phase, network, data)
    f0, size = 1e-4 * 3e3, found.order_parameter.item()
    assert found.ntk_change.item() == pytest.approx(size**2 / 8 * (1 - f0**2), rel=1e-3)
    plain = order_parameters(LineState(uu=2.0, uw=0.0, ww=2.0), network, data)
    size = plain.order_parameter.item()
    assert plain.ntk_change.item() == pytest.approx(math.sqrt(1 + size**2 / 4) - 1, rel=1e-12)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    small = LineState(uu=1e-10, uw=0.0, ww=1e-10)
    order = order_parameters(small, network, data)
    tau, size = order.time_constant.item(), order.order_parameter.item()
    for left in (0.9, 0.5, 0.1):
        t = time_to_residual(small, network, data, left).item()
        assert t == pytest.approx(tau * math.log(1 + size * (1 / left - 1)), rel=1e-4)
    at = tau * math.log(size)
    logistic = 1 / (1 + size * math.exp(-at / tau))
    assert flow(small, network, data, at).end_to_end_map.item() == pytest.approx(logistic, rel=1e-4)
    way = order.learning_time.item() - order.plateau_time.item()
    assert way == pytest.approx(tau * math.log(81), rel=1e-4)


@page("early-ansatz.md")
def test_early_ansatz_of_drawn_weights(text):
    """ẆᵀẆ = 4 S_y M S_y, ẆᵀKẆ = 16 S_y M S M S_y, and the three traces of free probability."""
    rng = np.random.default_rng(4)
    n, d, width = 30, 5, 6
    x, r = rng.normal(size=(n, d)), rng.normal(size=n)
    w, a = rng.normal(size=(width, d)), rng.normal(size=width)
    tangent = 2 * a * (x @ w.T)
    step = (r[:, None] * tangent).T @ x / n
    s, s_y = x.T @ x / n, (x * r[:, None]).T @ x / n
    m = (w.T * a**2) @ w
    np.testing.assert_allclose(step.T @ step, 4 * s_y @ m @ s_y, rtol=1e-10, atol=1e-12)
    kernel = tangent.T @ tangent / n
    np.testing.assert_allclose(
        step.T @ kernel @ step, 16 * s_y @ m @ s @ m @ s_y, rtol=1e-10, atol=1e-12
    )
    d = width = 400
    s = np.diag(1 / np.sqrt(1 + np.arange(d)))
    s_y = np.diag(np.cos(np.arange(d)) / np.sqrt(1 + np.arange(d)))
    found = []
    for _ in range(4):
        w = rng.normal(size=(width, d)) / np.sqrt(d)
        m = w.T @ w
        f, g = s_y @ m @ s_y, s_y @ m @ s @ m @ s_y
        found.append((f * g).sum() / np.linalg.norm(f) / np.linalg.norm(g))
    predicted = float(quadratic_network_prediction(s, s_y, width=width))
    assert np.mean(found) == pytest.approx(predicted, abs=0.01)


def one_step(scales, stds, rates, x=0.7, y=0.4):
    """Output of `f = s₂ Σ w₂ tanh(s₁ w₁ x)` after a step, from the same draws of five neurons."""
    z = np.random.default_rng(5).normal(size=(2, 5))
    (s1, s2), (w1, w2) = scales, z * np.array(stds)[:, None]
    hidden = np.tanh(s1 * w1 * x)
    error = s2 * w2 @ hidden - y
    moved = w1 - rates[0] * error * s2 * w2 * (1 - hidden**2) * s1 * x
    return s2 * (w2 - rates[1] * error * s2 * hidden) @ np.tanh(s1 * moved * x)


@page("abc.md")
def test_abc_parametrisations_are_networks(text):
    """The shift by θ, and the scaling law of one, give the same network after a step."""
    n, one = 5.0, AbcParametrisation.from_exponents(("-1/3", "1/2"), ("1/4", "1/5"), "2/7")

    def power(*exponents):
        return [n ** float(e) for e in exponents]

    def network(p):
        return one_step(
            power(*(-a for a in p.a)), power(*(-b for b in p.b)), power(-p.c, -p.c)
        )  # both layers have one rate

    assert network(one.shifted("3/8")) == pytest.approx(network(one), rel=1e-12)
    law = abc_scaling_law(one)
    as_law = one_step(
        [1.0, law.output_scale.at(n)],
        [law.init_var_w.at(n) ** 0.5, law.init_var_u.at(n) ** 0.5],
        [law.lr_w.at(n), law.lr_u.at(n)],
    )
    assert as_law == pytest.approx(network(one), rel=1e-12)


@page("two-layer-relu.md")
@pytest.mark.parametrize("g", [0.25, 0.5, 1, 1.25, 1.75])
@pytest.mark.parametrize("p", [-1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5])
def test_the_movement_of_one_typical_neuron(text, g, p):
    """a′ = w/κ′, w′ = κ′a from a = w = 1 until κ m (a w − 1) = 1, at widths of many digits."""
    with mp.workdps(700):
        moved = []
        for m in (mp.mpf(10) ** 90, mp.mpf(10) ** 100):
            kappa, ratio = m ** -mp.mpf(g), m ** -mp.mpf(p)

            def at(log_t, ratio=ratio):
                sinh, cosh = mp.sinh(mp.exp(log_t)), mp.cosh(mp.exp(log_t))
                return cosh + sinh / ratio, cosh + sinh * ratio

            def missing(log_t, at=at, kappa=kappa, m=m):
                a, w = at(log_t)
                return mp.log(a * w - 1) + mp.log(kappa * m)

            end = mp.findroot(missing, (-1200, 6), solver="bisect", tol=1e-6, maxsteps=99)
            moved.append(mp.log(at(end)[1] - 1))
        slope = float((moved[1] - moved[0]) / (10 * mp.log(10)))
    predicted = relu_phases(g, p, zero_output=True).weight_movement_exponent.item()
    assert slope == pytest.approx(predicted, abs=0.02)


@page("power-neurons.md")
def test_power_neurons_formulas(text):
    """s, what is conserved, the angle and the curve of power 2, along explicit weights."""
    power, u, w = 1.7, U.copy(), np.abs(W)
    gamma, dt = G, 1e-4
    rho = (ETA_W / ETA_U) ** 0.25
    s = theta = 0.0
    invariant = power * u**2 / ETA_U - w**2 / ETA_W
    x, v = power**0.5 * rho * u, w / rho
    for _ in range(2000):
        gap = AA * gamma * (u @ w**power) - AY
        ds = -2 * gamma * (ETA_U * ETA_W) ** 0.5 * gap * dt
        theta = theta + ds * power**0.5 * rho ** (power - 1) * (w / rho) ** (power - 1)
        u, w = (
            u - dt * ETA_U * 2 * gap * gamma * w**power,
            w - dt * ETA_W * 2 * gap * gamma * power * u * w ** (power - 1),
        )
        s += ds
    near = {"rtol": 0, "atol": 2e-4}  # of Euler's steps
    np.testing.assert_allclose(power * u**2 / ETA_U - w**2 / ETA_W, invariant, **near)
    np.testing.assert_allclose(w / rho, v * np.cosh(theta) + x * np.sinh(theta), **near)
    np.testing.assert_allclose(
        power**0.5 * rho * u, x * np.cosh(theta) + v * np.sinh(theta), **near
    )
    found = power_flow(U, np.abs(W), NETWORK, DATA, 0.2, power=power)
    np.testing.assert_allclose(found.w, w, **near)
    assert found.amplitude.item() == pytest.approx(gamma * (u @ w**power), abs=2e-4)
    assert found.loss.item() == pytest.approx(
        AA * found.amplitude.item() ** 2 - 2 * AY * found.amplitude.item() + YY
    )
    assert s > 0
    slope = 2 * 0.7 * 0.4  # of w = 0.4 with u = 0.7, at rates of 1
    assert slope == pytest.approx(0.4 * np.sqrt(2 * ((2 * 0.7**2 - 0.4**2) + 0.4**2)))


@page("single-neuron.md")
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("start", [0.5, 2.0])
def test_single_neuron_closed_form(text, sign, start):
    """The units, N and the weights as the page has them, in many digits."""
    gamma, lr_u, lr_w, c, t = sign * 0.7, 0.3, 0.2, 1.4, 1.1
    w, best = np.array([0.3, -0.8]), np.array([0.9, 0.4])
    data = MomentData(sigma_xx=c * np.eye(2), sigma_yx=c * best[None], mean_yy=3.0)
    network = LinearNetwork(output_scale=gamma, lr_u=lr_u, lr_w=lr_w)
    found = neuron_flow(start, w, network, data, t)
    unit_u = abs(gamma) ** 0.5 * (lr_w / lr_u) ** 0.25
    unit_w = sign * abs(gamma) ** 0.5 * (lr_u / lr_w) ** 0.25
    tau = 2 * c * abs(gamma) * (lr_u * lr_w) ** 0.5 * t
    a, first = unit_u * start, unit_w * w
    s = np.linalg.norm(best)
    along, lam = first @ best / s, a**2 - first @ first
    across = first - along * best / s
    omega, theta = np.hypot(s, lam / 2), np.arctan2(s, -lam / 2) / 2
    p = along * np.cos(theta) + a * np.sin(theta)
    q = a * np.cos(theta) - along * np.sin(theta)
    grow, fall = np.exp(omega * tau), np.exp(-omega * tau)
    n = 1 + p**2 * (grow**2 - 1) / (2 * omega) + q**2 * (1 - fall**2) / (2 * omega)
    n += across @ across * (1 - np.exp(-lam * tau)) / lam
    end = (p * grow * np.sin(theta) + q * fall * np.cos(theta)) / n**0.5
    moved = (p * grow * np.cos(theta) - q * fall * np.sin(theta)) / n**0.5 * best / s
    moved = moved + np.exp(-lam * tau / 2) * across / n**0.5
    assert found.u.item() == pytest.approx(end / unit_u, rel=1e-12)
    np.testing.assert_allclose(found.w, moved / unit_w, rtol=1e-12)
    wide = GramState.from_weights([[start]], w[None])
    integrated = flow(wide, network, data, t).end_to_end_map
    np.testing.assert_allclose(found.end_to_end_map, integrated, rtol=1e-8)


@page("aligned-modes.md")
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_aligned_modes_have_a_clock(text, layers):
    """H as an integral, on both sides of the target, the decay without one, and the plateaus."""
    lr, c, s, t = 0.2, 1.3, 0.8, 0.9
    q = 1 - 2 / layers
    for u0, side in ((0.05, 1), (2.0, -1)):
        u = mode_flow([s], [u0], t, depth=layers - 1, lr=lr, mean_aa=c).mode_size.item()
        ends = [-mp.log(side * (s / x - 1)) for x in (u0, u)]
        grown = mp.quad(lambda y, side=side: (1 + side * mp.exp(-y)) ** q, ends)
        assert float(grown) == pytest.approx(2 * lr * c * layers * s ** (1 + q) * t, rel=1e-10)
    decayed = mode_flow([0.0], [u0], t, depth=layers - 1, lr=lr, mean_aa=c).mode_size.item()
    power = u0 ** -(1 + q) + 2 * lr * c * layers * (1 + q) * t
    assert decayed == pytest.approx(power ** (-1 / (1 + q)), rel=1e-12)
    waited = mode_times([s], [1e-9], depth=layers - 1, lr=lr, mean_aa=c).item()
    if layers == 2:
        assert waited == pytest.approx(math.log(s / 1e-9) / (4 * lr * c * s), rel=1e-6)
    else:
        limit = 1e-9**-q / (2 * lr * c * (layers - 2) * s)
        assert waited == pytest.approx(limit, rel=0.01)


@page("balanced-linear.md")
def test_balanced_layers_in_their_own_units(text):
    """W₂, W₁ and τ; F conserves λ; the closed form with its inverse; one mode's change."""
    from lazyrich.theory.balanced_linear import balanced_flow, balanced_regime

    gamma, eta_u, eta_w, c, lam, t = -0.7, 0.3, 0.1, 1.7, 0.8, 1.3
    rng = np.random.default_rng(0)
    best = rng.normal(size=(2, 3))
    small = rng.normal(size=(2, 3))
    p, sizes, r = np.linalg.svd(small, full_matrices=False)
    w1, w2 = p @ np.diag(sizes) @ r, np.diag(np.sqrt(sizes**2 + lam)) @ p.T
    np.testing.assert_allclose(w2.T @ w2 - w1 @ w1.T, lam * np.eye(2), atol=1e-13)
    tilt = (eta_w / eta_u) ** 0.25
    u, w = w2 / abs(gamma) ** 0.5 / tilt, w1 / abs(gamma) ** 0.5 * tilt
    tau = 2 * c * abs(gamma) * math.sqrt(eta_u * eta_w) * t
    network = LinearNetwork(output_scale=gamma, lr_u=eta_u, lr_w=eta_w)
    data = MomentData(sigma_xx=c * np.eye(3), sigma_yx=c * best, mean_yy=c * float(np.sum(best**2)))
    found = balanced_flow(GramState.from_weights(u, w), network, data, t)
    b, q0 = mp.matrix(-best), mp.matrix(np.concatenate([w2, w1.T]))
    f = mp.zeros(5)
    for i in range(5):
        f[i, i] = mp.mpf(lam) / 2 * (1 if i < 2 else -1)
    f[:2, 2:], f[2:, :2] = b, b.T
    rates, o = mp.eigsy(f)
    pairs = np.sqrt(np.linalg.svd(best, compute_uv=False) ** 2 + lam**2 / 4)
    np.testing.assert_allclose(
        sorted(map(float, rates)), sorted([*pairs, *-pairs, -lam / 2]), rtol=1e-12
    )
    grown = o * mp.diag([mp.exp(x * tau) for x in rates]) * o.T
    integral = o * mp.diag([mp.expm1(2 * x * tau) / (2 * x) for x in rates]) * o.T
    gram = grown * q0 * mp.inverse(mp.eye(2) + q0.T * integral * q0) * q0.T * grown
    exact = np.array(gram.tolist(), dtype=float)
    np.testing.assert_allclose(found.end_to_end_map, -exact[:2, 2:], rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        found.readout_gram * abs(gamma) * tilt**2, exact[:2, :2], rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(found.nfm * abs(gamma) / tilt**2, exact[2:, 2:], rtol=0, atol=1e-12)
    edges = balanced_regime([2 * 2.18, 2 * 0.58], 1.0, width=1, outputs=1, inputs=1)
    np.testing.assert_allclose(edges.aligned_ntk_change, [0.1, 1.0], rtol=0.01)


@page("balanced-linear.md")
def test_the_riccati_equation(text):
    """`Q̇ = FQ − ½QQᵀQ` is the flow of ½‖W₂W₁ − B‖² exactly where the layers are λ-balanced."""
    rng, lam = np.random.default_rng(1), -0.6
    best, small = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    o, sizes, p = np.linalg.svd(small, full_matrices=False)
    w2, w1 = o @ np.diag(sizes) @ p, p.T @ np.diag(np.sqrt(sizes**2 - lam))
    q = np.concatenate([w2, w1.T])
    f = np.block([[lam / 2 * np.eye(3), best], [best.T, -lam / 2 * np.eye(2)]])
    residual = w2 @ w1 - best
    velocity = np.concatenate([-residual @ w1.T, -residual.T @ w2])
    np.testing.assert_allclose(f @ q - q @ q.T @ q / 2, velocity, rtol=0, atol=1e-13)


@page("diagonal-linear.md")
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_diagonal_networks(text, depth):
    """β(z), Q = Σ∫z dβ, q(s) and Θ, of explicit weights that flow."""
    from scipy.integrate import quad, solve_ivp

    from lazyrich.theory.diagonal_linear import diagonal_limit

    x, y, alpha = np.array([[1.0, 2.0, -0.5]]), np.array([1.0]), 0.4
    p = depth / (depth - 2) if depth > 2 else None

    def beta(z):
        if depth == 2:
            return 2 * alpha**2 * np.sinh(z)
        return alpha**depth * ((1 - z) ** -p - (1 + z) ** -p)

    def velocity(_, w):
        u, v = w[:3], w[3:]
        pull = 2 * depth * x.T @ (x @ (u**depth - v**depth) - y)
        return np.concatenate([-pull * u ** (depth - 1), pull * v ** (depth - 1)])

    end = solve_ivp(
        velocity, (0, 60), np.full(6, alpha), method="DOP853", rtol=1e-12, atol=1e-14
    ).y[:, -1]
    u, v = end[:3], end[3:]
    if depth == 2:
        z = np.log(u / v)
    else:
        z = 1 - (u / alpha) ** -(depth - 2)
        np.testing.assert_allclose(z, (v / alpha) ** -(depth - 2) - 1, rtol=1e-9)
    np.testing.assert_allclose(beta(z), u**depth - v**depth, rtol=1e-9)
    np.testing.assert_allclose(z / x[0], (z / x[0])[0], rtol=1e-8)  # z = Xᵀν
    found = diagonal_limit(x, y, factors=depth, init_scale=alpha)
    np.testing.assert_allclose(found.end_to_end_map, beta(z), rtol=1e-8)
    total = sum(one * beta(one) - quad(beta, 0, one, epsabs=1e-13)[0] for one in z)
    assert found.bias_potential.item() == pytest.approx(total, rel=1e-8)
    if depth == 2:
        s = beta(z) / alpha**2
        q = 2 - np.sqrt(4 + s**2) + s * np.arcsinh(s / 2)
        assert np.sum(alpha**2 * q) == pytest.approx(total, rel=1e-8)
    power = 2 * depth - 2
    change = np.sum(x**2 * (u**power + v**power - 2 * alpha**power))
    change /= np.sum(x**2) * 2 * alpha**power
    assert found.ntk_change.item() == pytest.approx(change, rel=1e-7)


@page("lazy-where.md")
@pytest.mark.parametrize("chi", [0.1, 0.58, 2.18, 20.0])
def test_one_curve_of_two_factors(text, chi):
    """The hyperbola and the change of the kernel, of explicit weights that flow from no output."""
    from scipy.integrate import solve_ivp

    s, gamma = 1.7, -0.6
    u, w = np.array([3.0, 0.0, 1.0]), np.array([-0.1, 2.0, 0.3])
    size = np.sqrt(2 * chi * s / abs(gamma) / (u @ u + w @ w))
    assert u @ w == pytest.approx(0.0, abs=1e-15)

    def velocity(_, x):
        off = gamma * x[:3] @ x[3:] - s
        return -2 * off * gamma * np.concatenate([x[3:], x[:3]])

    start = size * np.concatenate([u, w])
    path = solve_ivp(velocity, (0, 200), start, "DOP853", rtol=1e-12, atol=1e-14).y
    kernel, output = gamma**2 * (path**2).sum(0), gamma * (path[:3] * path[3:]).sum(0)
    least = 2 * abs(gamma) * s  # |u|² + |w|² ≥ 2|u·w|
    assert kernel[0] / least == pytest.approx(chi, rel=1e-12)
    np.testing.assert_allclose(kernel**2 - (least * output / s) ** 2, kernel[0] ** 2, rtol=1e-8)
    assert output[-1] == pytest.approx(s, rel=1e-9)
    change = kernel[-1] / kernel[0] - 1
    assert change == pytest.approx(np.sqrt(1 + 1 / chi**2) - 1, rel=1e-7)


@page("catapult.md")
def test_the_map_of_the_catapult(text):
    """z and G of explicit weights, step by step, their set, the angle at 4, and the peak."""
    u, w, x = U.copy(), W.copy(), math.sqrt(ETA_U * ETA_W)

    def numbers(u, w):
        kernel = G**2 * (ETA_W * u @ u + ETA_U * w @ w)
        return 2 * AA * kernel, 2 * G * x * AA * G * (u @ w)

    y = 2 * G * x * AY
    for _ in range(6):
        z, f = numbers(u, w)
        assert abs(f) <= z / 2
        rho = AA * G * u @ w - AY
        u, w = u - 2 * G * rho * ETA_U * w, w - 2 * G * rho * ETA_W * u
        off = f - y
        after, moved = numbers(u, w)
        assert after == pytest.approx(z + off * (off * z - 4 * f), rel=1e-12)
        assert moved - y == pytest.approx(off * (1 - z + off * f), rel=1e-11)
    angle = np.linspace(0, 1.5, 7)
    w4 = 4 * np.sin(angle) ** 2
    np.testing.assert_allclose(w4 * (3 - w4) ** 2, 4 * np.sin(3 * angle) ** 2, atol=1e-14)
    path = catapult_descent([1.9, 3.9], 0.5, steps=40)
    total = (path.loss * (4 - path.sharpness)).sum("step")
    assert (total <= path.init_sharpness).all()
    for z, size in ((2.5, 1e-6), (3.5, 1e-4), (3.0, 1e-8)):
        peak = catapult_phases(z, size).peak_step.item()
        assert abs(peak - math.log(1 / size**2) / (2 * math.log(z - 1))) < 2


@page("barlow-twins.md")
def test_modes_of_barlow_twins(text):
    """The gradient, the equation of s, its solution, τ, and what two modes do to each other."""
    from scipy.integrate import solve_ivp

    rng = np.random.default_rng(0)
    x, other, w = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    gamma_matrix = (x.T @ other + other.T @ x) / 10

    def loss(w):
        return np.sum((w @ gamma_matrix @ w.T - np.eye(2)) ** 2)

    gradient = 4 * (w @ gamma_matrix @ w.T - np.eye(2)) @ w @ gamma_matrix
    push = rng.normal(size=(2, 3)) * 1e-5
    assert loss(w + push) - loss(w - push) == pytest.approx(2 * np.sum(gradient * push), rel=1e-7)
    for gamma, s0, t in ((1.3, 0.2, 0.4), (-0.8, 1.5, 0.3)):

        def closed(t, gamma=gamma, s0=s0):
            e = mp.exp(-8 * gamma * t)
            return s0 / mp.sqrt(e + gamma * mp.mpf(s0) ** 2 * (1 - e))

        s = closed(t)
        assert mp.almosteq(mp.diff(closed, t), 4 * gamma * s * (1 - gamma * s**2), rel_eps=1e-13)
    tau = barlow_times([1.3], 0.2).item()
    assert tau == pytest.approx(math.log(1 / (1.3 * 0.04) - 1) / 8 / 1.3, rel=1e-13)
    for size in (1e-2, 1e-3):  # the error falls with the power that is said
        start = size * np.array([[0.7, 0.5], [-0.4, 0.9]])
        found = barlow_start(start, np.diag([1.0, 0.6]), tolerance=1.0)
        size_of_start = np.linalg.norm(start * np.sqrt([1.0, 0.6]), 2)
        assert found.start_error.item() == pytest.approx(size_of_start**0.8, rel=1e-12)
    path = solve_ivp(
        lambda _, f: -(4 * (f.reshape(2, 2) * [1, 0.6] @ f.reshape(2, 2).T - np.eye(2))
                       @ f.reshape(2, 2) * [1, 0.6]).ravel(),
        (0, 9), start.ravel(), "DOP853", rtol=1e-9, atol=1e-15,
    )  # fmt: skip
    first, second = np.array([(w.reshape(2, 2) ** 2).sum(0) for w in path.y.T]).T
    at_step = np.argmax(first > 0.5)
    assert 0.2 < math.log(second[at_step]) / math.log(size_of_start**0.8) < 1.5


@page("weight-decay-chain.md")
@pytest.mark.parametrize("layers", [2, 3, 6])
def test_a_chain_with_weight_decay(text, layers):
    """The equations of b and of v, both limits of κ, and the jump, with 50 digits."""
    a, s, decay = mp.mpf("1.3"), mp.mpf("0.8"), mp.mpf("0.11")
    p = 1 - mp.mpf(2) / layers
    kappa = decay / (2 * s) * (a / s) ** p

    def objective(b):
        return a * b ** (2 * layers) - 2 * s * b**layers + decay / 2 * layers * b**2

    b = mp.findroot(
        lambda b: mp.diff(objective, b), mp.mpf("0.9") * (s / a) ** (mp.mpf(1) / layers)
    )
    assert abs(a * b ** (2 * layers - 2) - s * b ** (layers - 2) + decay / 2) < 1e-25
    v = a * b**layers / s
    assert abs(v + kappa * v**-p - 1) < 1e-25
    found = chain_minima(1.3, 0.8, factors=layers, weight_decay=0.11)
    assert found.chain_weight.item() == pytest.approx(float(b), rel=1e-12)
    assert found.learned_gain.item() == pytest.approx(float(-objective(b)), rel=1e-12)
    unit = 2 * s * (s / a) ** p
    v_last, v_critical = p / (1 + p), 2 * p / (1 + p)
    last = v_last**p / (1 + p) * unit
    critical = v_critical**p * (1 - p) / (1 + p) * unit
    assert found.spinodal_decay.item() == pytest.approx(float(last), rel=1e-13)
    assert found.critical_decay.item() == pytest.approx(float(critical), rel=1e-13)
    assert v_critical == pytest.approx((layers - 2) / (layers - 1), abs=1e-15)


@page("contrastive-energy.md")
def test_contrastive_energy(text):
    """E by pairs and by A, its gradient, and what holds a sample at its bend."""
    rng = np.random.default_rng(0)
    x, alpha, w = rng.normal(size=(6, 3)), rng.uniform(-0.2, 1, (6, 6)), rng.normal(size=3)
    alpha = alpha + alpha.T
    laplacian = np.diag(alpha.sum(1)) - alpha

    def energy(w):
        h = np.maximum(x @ w, 0)
        return np.sum(alpha * (h[:, None] - h) ** 2) / 4

    def form(w):
        slopes = np.diag((x @ w > 0).astype(float))
        return x.T @ slopes @ laplacian @ slopes @ x

    assert energy(w) == pytest.approx(w @ form(w) @ w / 2, rel=1e-12)
    push = 1e-6 * rng.normal(size=3)
    assert energy(w + push) - energy(w - push) == pytest.approx(2 * push @ form(w) @ w, rel=1e-6)
    x, alpha = rng.normal(size=(30, 5)), np.full((30, 30), 1 / 900)
    laplacian = np.diag(alpha.sum(1)) - alpha
    found = contrastive_maxima(x, starts=100)
    seen = 0
    for w, top in zip(found.unit_weight.values, found.contrastive_energy.values, strict=True):
        z = x @ w
        bent = np.abs(z) < 1e-9
        turn = laplacian @ np.maximum(z, 0)
        slopes = np.diag(((z > 0) & ~bent).astype(float))
        pull = x.T @ slopes @ laplacian @ slopes @ x @ w - 2 * top * w
        mu, *_ = np.linalg.lstsq(x[bent].T, pull, rcond=None)
        np.testing.assert_allclose(x[bent].T @ mu, pull, atol=1e-9)
        assert (mu + turn[bent] < 0).all()
        assert (mu > 0).all()
        seen += int(bent.sum())
    assert seen > 0
