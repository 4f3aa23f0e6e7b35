"""The look's own pass finds out the last of its conditions, and nothing slips through with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lazyrich import InputError
from lazyrich.capture import isolation
from lazyrich.capture.capture import capture
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.weights import read_weights

X = torch.linspace(-1, 1, 12).view(4, 3)


class Counted(nn.Module):
    """A linear layer whose forward passes are counted outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("scale", torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        passes.append(self.training)
        return self.act(self.linear(x) * self.scale)

    def act(self, z: Tensor) -> Tensor:
        return z


class EvalWrites(Counted):
    """Writes on a buffer in evaluation mode alone, past PyTorch's count of versions."""

    def act(self, z: Tensor) -> Tensor:
        if not self.training:
            self.scale.data.mul_(2)
        return z


class EvalStores(Counted):
    """Sets an attribute in evaluation mode alone."""

    def act(self, z: Tensor) -> Tensor:
        if not self.training:
            self.seen = getattr(self, "seen", 0) + 1
        return z


class EvalDraws(Counted):
    """Draws in evaluation mode alone."""

    def act(self, z: Tensor) -> Tensor:
        return z if self.training else z + torch.randn(z.shape)


class EvalNormalises(Counted):
    """Normalises by the batch in evaluation mode alone."""

    def act(self, z: Tensor) -> Tensor:
        return z if self.training else nn.functional.batch_norm(z, None, None, training=True)


class EvalDoubles(Counted):
    """Another function in evaluation mode."""

    def act(self, z: Tensor) -> Tensor:
        return z if self.training else 2 * z


class EvalDrifts(Counted):
    """Never the same, by what no look knows of, in evaluation mode alone."""

    def act(self, z: Tensor) -> Tensor:
        return z if self.training else z * len(passes)


passes: list[bool] = []


@pytest.fixture(autouse=True)
def _python_generator_is_left_out(monkeypatch):
    """The checks of types in tests draw from it, in every pass."""
    monkeypatch.setattr(isolation, "global_generators", lambda *_: [torch.default_generator])


def test_a_plain_model_runs_twice():
    torch.manual_seed(0)
    passes.clear()
    seen = capture(Counted().train(), X)
    assert passes == [True, False]
    assert not seen.conditions.noisy
    assert not seen.conditions.notes


def test_dropout_and_batch_norm_save_the_repeated_pass():
    torch.manual_seed(0)
    for extra in (nn.Dropout(0.5), nn.BatchNorm1d(2)):
        model = nn.Sequential(Counted(), extra).train()
        passes.clear()
        capture(model, X)
        # as in training, in evaluation mode, for statistics, and the look itself
        assert len(passes) == (4 if isinstance(extra, nn.BatchNorm1d) else 3)


@pytest.mark.parametrize(
    "kind", [EvalWrites, EvalStores, EvalDraws, EvalNormalises, EvalDoubles, Counted]
)
def test_a_first_look_finds_what_passes_of_their_own_find(kind):
    torch.manual_seed(0)
    model = kind().train()
    leaves = read_weights(model).leaves()
    apart = conditions_of(model, leaves, X)
    seen = capture(model, X)
    found = seen.conditions
    assert found.noisy == apart.noisy
    assert found.notes == apart.notes
    assert found.rewritten == apart.rewritten
    assert found.functional == apart.functional
    assert [(name, value) for _, name, value in found.attributes] == [
        (name, value) for _, name, value in apart.attributes
    ]
    again = capture(model, X, apart)
    assert torch.equal(seen.outputs, again.outputs)
    assert all(torch.equal(seen.leaves[name], leaves[name]) for name in leaves)


def test_what_never_repeats_is_refused():
    with pytest.raises(InputError, match="the same for the same weights"):
        capture(EvalDrifts().train(), X)
