"""What the width exponents of a family of networks say, in a sentence with its reasons."""

from __future__ import annotations

import xarray as xr

from lazyrich.numerics.ladder import covers_both, exponent_of, fitted_phase
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedPhase, Phase

STILL = 1e-6  # of the distance to the fit: what rounding does to a network in float32


def conclude(data: xr.Dataset, tolerance: float) -> tuple[JudgedPhase, str]:
    """The phase and its sentence.

    Args:
        data: `progress`, `hidden_update` and `output_size` with their exponents, and `loss_ratio`;
            where there are `ntk_change` and `richness`, these decide in place of `hidden_update`.
        tolerance: exponents nearer to zero than this count as zero.
    """
    rising = (~(data.loss_ratio <= 1)).mean("seed")  # NaN counts
    most = data.progress.max().item()
    if most < STILL and not data.progress.isnull().any():
        return Phase.FROZEN, (
            f"Frozen at every width: the output moved at most {most:.2g} of the distance to the "
            "fit, nothing was learned. Raise the learning rate or train for more steps."
        )
    progress = exponent_of(data, "progress")
    of_kernel = "ntk_change" in data
    word = fitted_phase(
        exponent_of(data, "ntk_change" if of_kernel else "hidden_update"),
        rate=progress,
        richness=exponent_of(data, "richness") if of_kernel else None,
        diverged=rising,
        tolerance=tolerance,
    ).item()
    if word != CANNOT_TELL:
        return Phase(word), _sentence(Phase(word), data, rising, tolerance)
    if rising[0] > 0.5:
        return CANNOT_TELL, (
            f"Cannot tell: training raises the loss at the smallest width {data.width[0].item()} "
            "already. Lower the learning rate."
        )
    if covers_both(progress, tolerance):
        return CANNOT_TELL, (
            f"Cannot tell: {_moved(data, tolerance)}. Use more seeds or a wider range of widths."
        )
    return CANNOT_TELL, (
        f"Cannot tell kernel phase from feature learning: {_evidence(data, tolerance)}. "
        "Use more seeds, more steps or a wider range of widths."
    )


def _sentence(phase: Phase, data: xr.Dataset, rising: xr.DataArray, tolerance: float) -> str:
    """A phase in words, with its reasons."""
    if phase is Phase.UNSTABLE and rising[-1] > 0.5:
        first = data.width[(rising > 0.5).values][0].item()
        return (
            f"Unstable with growing width: training raises the loss from width {first} on, but not "
            "below."
        )
    return {
        Phase.UNSTABLE: f"Unstable with growing width: {_moved(data, tolerance)}.",
        Phase.FROZEN: f"Frozen with growing width: {_moved(data, tolerance)}, nothing is learned "
        "in the limit.",
        Phase.KERNEL: f"Kernel (lazy) phase: {_evidence(data, tolerance)}.",
        Phase.FEATURE: f"Feature learning at any width: {_evidence(data, tolerance)}.",
    }[phase]


def _moved(data: xr.Dataset, tolerance: float) -> str:
    words = f"the progress of the output scales as width^{exponent_words(data, 'progress')}"
    if exponent_of(data, "output_size").exponent_low > tolerance:
        words += f" (the initial output itself as width^{exponent_words(data, 'output_size')})"
    return words


def _evidence(data: xr.Dataset, tolerance: float) -> str:
    if "ntk_change" not in data:
        return (
            f"{_moved(data, tolerance)}, the relative change of hidden layers as "
            f"width^{exponent_words(data, 'hidden_update')}"
        )
    return (
        f"{_moved(data, tolerance)}, the forecast ρ as width^{exponent_words(data, 'richness')}, "
        f"the measured relative change of the NTK as width^{exponent_words(data, 'ntk_change')}"
    )


def exponent_words(data: xr.Dataset, name: str) -> str:
    """A fitted exponent with the ends of its interval.

    Args:
        data: Dataset with the columns of the fit.
        name: name of the quantity.
    """
    fit = exponent_of(data, name)
    low, high = fit.exponent_low.item(), fit.exponent_high.item()
    return f"{fit.exponent.item():.2f} ({low:.2f} to {high:.2f})"
