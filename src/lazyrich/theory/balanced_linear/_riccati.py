"""The closed form in arrays: `Q̇ = FQ − ½QQᵀQ`, up to a rotation of the neurons.

With `F = [[λ/2 I, B], [Bᵀ, −λ/2 I]]` and `Q = [U; Wᵀ]`,

    Q Qᵀ(t) = e^{Ft} Q₀ (I + Q₀ᵀ ∫₀ᵗ e^{2Fs} ds Q₀)⁻¹ Q₀ᵀ e^{Ft}.

The exponentials differ by hundreds of digits, so that the inverse must not be formed. With the
eigenvalues ℓ of F and `g = expm1(2ℓt)/2ℓ`, the orthonormal factor of the rows `√g A` of `A`, the
start in eigenvectors, stacked on `I`, is all that is needed: `Q = diag(e^{ℓt}/√g) q`. QR keeps
each row to its own size where rows are sorted by size and columns are pivoted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from lazyrich.numerics.exact import Array

FURTHEST = 250.0  # ℓt of one step, of which e^{2ℓt} is a float
RESOLVED = 1e-12  # 2ℓt below which the integral is t
UNREACHED = 1e-13  # of a start: the share in a direction that is rounding


@dataclass(frozen=True, kw_only=True)
class Target:
    """The singular value decomposition `B = Y diag(σ) Xᵀ` of the best map, with all directions.

    Attributes:
        outputs: Y, (k, k).
        sizes: σ, (min(k, m),), falling.
        inputs: X, (m, m).
    """

    outputs: Array
    sizes: Array
    inputs: Array

    @classmethod
    def of(cls, best_map: Array) -> Target:
        """Of a map of shape (k, m)."""
        outputs, sizes, inputs = np.linalg.svd(best_map)
        return cls(outputs=outputs, sizes=sizes, inputs=inputs.T)


@dataclass(frozen=True, kw_only=True)
class Eigenmodes:
    """A state in the eigenvectors of F, sorted by falling eigenvalue.

    Attributes:
        rates: ℓ, (k + m,).
        weights: A, (k + m, neurons).
        order: where each eigenvector stood before.
        cosine: cosine of the angle of each pair of eigenvectors, (min(k, m), 1).
        sine: the same.
    """

    rates: Array
    weights: Array
    order: NDArray[np.intp]
    cosine: Array
    sine: Array

    @classmethod
    def of(cls, theta: Array, balance: float, target: Target) -> Eigenmodes:
        """Of the state `Θ = [U; Wᵀ]` with relative scale λ = `balance`.

        F is a 2 × 2 matrix for each singular value σ, `±√(σ² + λ²/4)` at half the angle of
        (λ/2, σ), and λ/2 and −λ/2 in the directions of outputs and inputs that have none.
        """
        k, pairs = len(target.outputs), len(target.sizes)
        u, w = target.outputs.T @ theta[:k], target.inputs.T @ theta[k:]
        angle = np.arctan2(target.sizes, abs(balance) / 2)[:, None] / 2
        cosine, sine = np.cos(angle), np.sin(angle)
        if balance < 0:  # π/2 − angle, of which the cosine keeps its digits so
            cosine, sine = sine, cosine
        rate = np.hypot(target.sizes, balance / 2)
        alone_u, alone_w = (np.full(len(x) - pairs, balance / 2) for x in (u, w))
        rates = np.concatenate([rate, -rate, alone_u, -alone_w])
        along = cosine * u[:pairs] + sine * w[:pairs]
        across = cosine * w[:pairs] - sine * u[:pairs]
        weights = np.concatenate([along, across, u[pairs:], w[pairs:]])
        order = np.argsort(-rates, kind="stable")
        return cls(
            rates=rates[order], weights=weights[order], order=order, cosine=cosine, sine=sine
        )

    def theta(self, target: Target) -> Array:
        """The state again."""
        k, pairs = len(target.outputs), len(target.sizes)
        weights = np.empty_like(self.weights)
        weights[self.order] = self.weights
        along, across = weights[:pairs], weights[pairs : 2 * pairs]
        cosine, sine, alone = self.cosine, self.sine, weights[2 * pairs :]
        u = np.concatenate([cosine * along - sine * across, alone[: k - pairs]])
        w = np.concatenate([sine * along + cosine * across, alone[k - pairs :]])
        return np.concatenate([target.outputs @ u, target.inputs @ w])

    def unreached(self, neurons: int) -> float:
        """The growth rate of a direction that ought to be learned and has no weight; 0 if all have.

        Args:
            neurons: the rank of the state, which can learn as many directions.
        """
        if not neurons:
            return float(self.rates.max())
        wanted = min(neurons, int((self.rates > RESOLVED * self.rates.max(initial=0.0)).sum()))
        top = self.weights[:wanted]
        sizes = np.linalg.norm(top, axis=1)
        missing = sizes <= UNREACHED * np.linalg.norm(self.weights)
        if not missing.any() and wanted:
            values = np.linalg.svd(top / sizes[:, None], compute_uv=False)
            missing = np.arange(wanted) == wanted - 1 if values[-1] <= UNREACHED else missing
        return float(self.rates[:wanted][missing].max(initial=0.0))


def evolve(theta: Array, balance: float, time: float, *, target: Target) -> Array:
    """The state at a time, with neurons that are rotated among each other.

    Args:
        theta: `Θ = [U; Wᵀ]` at the start, (k + m, neurons), with `UᵀU − WWᵀ = λI`.
        balance: λ.
        time: t ≥ 0, under the flow of `½‖UW − B‖²`.
        target: B.
    """
    unit = max(float((theta**2).max(initial=0.0)), float(target.sizes.max()), abs(balance))
    if time == 0 or unit == 0:
        return theta
    scaled = replace(target, sizes=target.sizes / unit)
    modes = Eigenmodes.of(theta / unit**0.5, balance / unit, scaled)
    pieces = int(steps_of(np.abs(modes.rates).max(), time * unit))
    weights = modes.weights
    for _ in range(pieces):
        weights = _step(weights, modes.rates, time * unit / pieces)
    return unit**0.5 * replace(modes, weights=weights).theta(scaled)


def steps_of(rate: Array | float, time: Array | float) -> Array:
    """How many steps a time takes whose exponentials are floats."""
    return np.maximum(np.ceil(rate * time / FURTHEST), 1.0)


def _step(weights: Array, rates: Array, time: float) -> Array:
    """`diag(e^{ℓt}/√g) q`, where q are the upper rows of the orthonormal factor."""
    grown = 2 * rates * time
    short = np.abs(grown) < RESOLVED
    some = np.where(short, 1.0, grown)
    integral = time * np.where(short, 1.0, np.expm1(some) / some)
    back = np.where(short, 1.0, some / -np.expm1(-some)) / time
    neurons = weights.shape[1]
    stack = np.concatenate([np.sqrt(integral)[:, None] * weights, np.eye(neurons)])
    q, _, _ = qr(stack, mode="economic", pivoting=True, check_finite=False)
    moved: Array = np.sqrt(back)[:, None] * q[: len(weights)]
    return moved
