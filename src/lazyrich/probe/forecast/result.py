"""What a forecast says: its numbers, their words, and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lazyrich._errors import InputError
from lazyrich.vocabulary.losses import meaning_of
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.regimes import Regime

LAZY_BELOW = 0.1  # and at it, which is where a dial is set
RICH_FROM = 1.0
TRACE = "trace of the kernel"  # over the column of its shares
MEANINGS = {
    Regime.LAZY: "the network will stay close to its linearisation",
    Regime.INTERMEDIATE: "the features will move somewhat",
    Regime.RICH: "the features will be learned",
}

QUANTITIES = (
    Quantity(
        name="richness",
        symbol="ρ",
        meaning="relative displacement of the tangent features that fitting will ask for",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="time_to_fit",
        symbol="τ",
        meaning="time to fit along the first step, by a quadratic model of the loss",
        units="steps",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="predicted_ntk_change",
        symbol="‖Θ(θ₀ + τv) − Θ₀‖/‖Θ₀‖",
        meaning="relative change of the kernel after one virtual step to the fitted point",
        low=0.0,
        source=DERIVED,
    ),
)


@dataclass(frozen=True, kw_only=True)
class LayerShare:
    """One layer's part in the forecast.

    Attributes:
        motion: its share of ‖dJ̃/dt‖², hence of ρ²; the shares of all layers add up to 1.
        kernel: its share of the trace of the kernel, ‖J̃‖²; these add up to 1, too.
    """

    motion: float
    kernel: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What training will do to the features, known before the first step. `print` it.

    Attributes:
        richness: ρ ≥ 0; ≪ 1 is lazy, ≳ 1 is rich.
        richness_stderr: its standard error over the random output directions; 0 if the norms are
            exact.
        time_to_fit: τ, in steps of the optimiser (without one: steps of gradient descent with
            learning rate 1).
        layers: the share of every layer, by its path in `named_modules()`.
        predicted_ntk_change: ‖Θ(θ₀ + τv) − Θ₀‖/‖Θ₀‖ after one virtual step to the fitted point.
            It follows the directions that are learned first; where it is below 1, training was
            measured to change the NTK at least twice as much, in the median 19 times. Far above 1
            it can be too large.
        predicted_ntk_change_stderr: its standard error; 0 if exact.
        initial_loss: the loss before training.
        loss: its name, or what the user's own function is called.
        notes: what else one has to know, in sentences.
    """

    richness: float
    richness_stderr: float
    time_to_fit: float
    layers: Mapping[str, LayerShare]
    predicted_ntk_change: float
    predicted_ntk_change_stderr: float
    initial_loss: float
    loss: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        later = "; directions that are learned later add to that"
        change = with_error(self.predicted_ntk_change, self.predicted_ntk_change_stderr)
        width = len(TRACE)
        lines = [
            f"Richness ρ = {with_error(self.richness, self.richness_stderr)}, {self.regime}: "
            f"{MEANINGS[self.regime]}.",
            f"The NTK changes by {change} of its size in one virtual step to the fitted point"
            f"{later if self.predicted_ntk_change < 1 else ''}.",
            f"Time to fit: {in_words(self.time_to_fit, 3)} steps. Initial loss: "
            f"{in_words(self.initial_loss, 4)} "
            f"({meaning_of(self.loss)}).",
            f"{'share of':>{self._margin}}   motion   {TRACE}",
        ]
        lines += [
            f"{name or '(the model itself)':>{self._margin}}   {s.motion:6.1%}   "
            f"{s.kernel:{width}.1%}"
            for name, s in self.layers.items()
        ]
        return "\n".join([*lines, *self.notes])

    def to_json(self) -> str:
        """As text, for the attributes of a saved history."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Forecast:
        """From the text that `to_json` made.

        Raises:
            InputError: other text.
        """
        try:
            fields = json.loads(text)
            layers = {name: LayerShare(**share) for name, share in fields.pop("layers").items()}
            return cls(**{**fields, "layers": layers, "notes": tuple(fields["notes"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"a forecast must be what `to_json` made, got {text[:80]!r}."
            ) from error

    @property
    def regime(self) -> Regime:
        """Lazy up to ρ = 0.1, rich from ρ = 1, intermediate in between."""
        if float(f"{self.richness:.3g}") <= LAZY_BELOW:  # as it is printed
            return Regime.LAZY
        return Regime.INTERMEDIATE if self.richness < RICH_FROM else Regime.RICH

    @property
    def _margin(self) -> int:
        return max(8, *(len(name or "(the model itself)") for name in self.layers))


def with_error(value: float, error: float) -> str:
    """A number ± its standard error; the number alone where it is exact."""
    return f"{in_words(value, 3)} ± {in_words(error, 1)}" if error else in_words(value, 3)
