"""Brute force: what the fast paths of lazyrich must agree with.

`line` is gradient flow on a line by mpmath, in the plain textbook form and with as many digits as
it takes. `Network` is a network of explicit weights: stepped in NumPy, its kernel and its feature
matrices from explicit Jacobians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isinf, log10

import mpmath as mp
import numpy as np

DIGITS = 120
MOST_DIGITS = 16_000
SURE = mp.mpf(10) ** -30
SMALLEST = mp.mpf(10) ** -330  # below it every float64 is zero


def line(problem, t):
    """`uu, uw, ww, zeta, ntk, loss, excess_loss` of gradient flow at time t, as mpmath numbers.

    `problem` holds floats under `uu, uw, ww, g, eu, ew, Eaa, Eay, Eyy`. The digits double until two
    precisions agree to 30 digits.
    """
    spread = sum(abs(log10(abs(value))) for value in problem.values() if value)
    digits, last = DIGITS + 2 * int(spread), None
    while digits <= MOST_DIGITS:
        with mp.workdps(digits):
            try:
                found = _line(problem, mp.mpf(t))
            except ZeroDivisionError:  # what cancels is gone at so few digits
                found = None
            if found and last and all(_agree(found[name], last[name]) for name in found):
                return found
        digits, last = 2 * digits, found
    raise ArithmeticError(f"no agreement at {MOST_DIGITS} digits: {problem}, t = {t}")


def _agree(a, b):
    return abs(a - b) <= SURE * abs(a) or max(abs(a), abs(b)) < SMALLEST


def _line(problem, t):
    exact = {
        name: Fraction(problem[name])
        for name in ["uu", "uw", "ww", "g", "eu", "ew", "Eaa", "Eay", "Eyy"]
    }
    uu, uw, ww, g, eu, ew, aa, ay, yy = (
        mp.mpf(value.numerator) / value.denominator for value in exact.values()
    )
    if g == 0 or aa == 0:
        u2, x, w2 = uu, uw, ww
    elif eu == 0 or ew == 0:
        u2, x, w2 = _one_layer(uu, uw, ww, g, eu, ew, aa, ay, t)
    else:
        u2, x, w2 = _both_layers(exact, uu, uw, ww, g, eu, ew, aa, ay, t)
    f, best = g * x, ay / aa if aa else mp.mpf(0)
    size = mp.sqrt(u2) * mp.sqrt(w2)
    excess = aa * (f - best) ** 2
    return {
        "uu": u2,
        "uw": x,
        "ww": w2,
        "zeta": x / size if size else mp.mpf(0),
        "ntk_trace": g**2 * (ew * u2 + eu * w2),
        "loss": yy - ay * best + excess,
        "excess_loss": excess,
    }


def _one_layer(uu, uw, ww, g, eu, ew, aa, ay, t):
    """A frozen layer: the other moves along it, exponentially."""
    if eu == 0 and ew == 0:
        return uu, uw, ww
    fixed, eta = (uu, ew) if eu == 0 else (ww, eu)
    if fixed == 0:
        return uu, uw, ww
    x = ay / (g * aa) + (uw - ay / (g * aa)) * mp.exp(-2 * g**2 * eta * fixed * aa * t)
    shift = (x - uw) / fixed
    moved = (ww if eu == 0 else uu) + 2 * shift * uw + shift**2 * fixed
    return (uu, x, moved) if eu == 0 else (moved, x, ww)


def _both_layers(exact, uu, uw, ww, g, eu, ew, aa, ay, t):
    """The paper's solution: `Pχ` and `Q/χ`, with the start at the saddle's manifolds apart."""
    root = mp.sqrt(eu * ew)
    p = (uu / eu + ww / ew + 2 * uw / root) / 4
    q = (uu / eu + ww / ew - 2 * uw / root) / 4
    r = (uu / eu - ww / ew) / 4
    a, b = 4 * g**2 * eu * ew * aa, 4 * g * root * ay
    balanced = exact["uu"] * exact["ew"] == exact["ww"] * exact["eu"]
    if balanced and exact["uw"] ** 2 == exact["uu"] * exact["ww"]:
        along = _bernoulli(p, b, a, t) if uw > 0 else mp.mpf(0)
        across = _bernoulli(q, -b, a, t) if uw < 0 else mp.mpf(0)
    else:
        d = mp.sqrt(b**2 + 4 * a**2 * p * q)
        c, s = _cosh_sinh(d, t)
        chi = (c + (b + 2 * a * q) * s) / (c + (2 * a * p - b) * s)
        along, across = p * chi, q / chi
    return eu * (along + across + 2 * r), root * (along - across), ew * (along + across - 2 * r)


def _cosh_sinh(d, t):
    """`cosh(Dt/2)` and `sinh(Dt/2)/D`, both over `cosh(Dt/2)`."""
    if d == 0:
        return mp.mpf(1), t / 2
    return mp.mpf(1), mp.tanh(d * t / 2) / d


def _bernoulli(start, b, a, t):
    """`p' = b p − a p²`."""
    if b == 0:
        return start / (1 + a * start * t)
    decay = mp.exp(-abs(b) * t)
    if b > 0:
        return start / (decay + a * start * (1 - decay) / b)
    return start * decay / (1 + a * start * (1 - decay) / -b)


def relative_error(value, exact):
    """`|value − exact|/|exact|`, infinite if only one of them is zero or not finite."""
    value = float(value)
    if exact == 0:
        return 0.0 if value == 0 else inf
    if isinf(value) or value != value:
        return inf
    return float(abs((mp.mpf(value) - exact) / exact))


@dataclass
class Network:
    """The network `γ U W x` as weights, on samples, trained by gradient descent."""

    u: np.ndarray  # (k, d)
    w: np.ndarray  # (d, m)
    scale: float
    lr_u: float
    lr_w: float
    momentum: float = 0.0
    decay_u: float = 0.0
    decay_w: float = 0.0
    velocity: list = field(default_factory=lambda: [0.0, 0.0])

    def __call__(self, x):
        return self.scale * x @ self.w.T @ self.u.T

    def gradients(self, x, y):
        """Of the mean over samples of `‖f(x) − y‖²`, by the chain rule sample by sample."""
        residual = 2 * self.scale * (self(x) - y) / len(x)
        return residual.T @ (x @ self.w.T), (residual @ self.u).T @ x

    def step(self, x, y):
        """One step of PyTorch's SGD."""
        of_u, of_w = self.gradients(x, y)
        forces = of_u + self.decay_u * self.u, of_w + self.decay_w * self.w
        self.velocity = [self.momentum * v + g for v, g in zip(self.velocity, forces, strict=True)]
        self.u = self.u - self.lr_u * self.velocity[0]
        self.w = self.w - self.lr_w * self.velocity[1]

    def loss(self, x, y):
        return np.mean(np.sum((self(x) - y) ** 2, axis=1))

    def gram(self):
        theta = np.concatenate([self.u, self.w.T])
        return theta @ theta.T

    def parameter_jacobian(self, x):
        """`∂f(x)/∂θ`, shape (n, k, parameters): differences, exact since f is linear in each."""
        columns = []
        for name in ("u", "w"):
            weight = getattr(self, name)
            for index in np.ndindex(weight.shape):
                sides = []
                for sign in (1.0, -1.0):
                    moved = weight.copy()
                    moved[index] += sign
                    parts = {"u": self.u, "w": self.w, name: moved}
                    sides.append(Network(**parts, scale=self.scale, lr_u=0, lr_w=0)(x))
                columns.append((sides[0] - sides[1]) / 2)
        return np.stack(columns, axis=-1)

    def kernel(self, x, rates=None):
        """The NTK over all pairs of samples and outputs, shape (n, k, n, k)."""
        jacobian = self.parameter_jacobian(x)
        lr_u, lr_w = rates or (self.lr_u, self.lr_w)
        weights = np.concatenate([np.full(self.u.size, lr_u), np.full(self.w.size, lr_w)])
        return np.einsum("nap,mbp,p->namb", jacobian, jacobian, weights)

    def input_jacobians(self, x):
        """`∂f/∂x` at every sample, shape (n, k, m)."""
        eye = np.eye(x.shape[1])
        return np.stack([(self(x + e) - self(x - e)) / 2 for e in eye], axis=-1)

    def agop(self, x):
        jacobians = self.input_jacobians(x)
        return np.einsum("nam,nak->mk", jacobians, jacobians) / len(x)

    def nfm(self):
        return self.w.T @ self.w
