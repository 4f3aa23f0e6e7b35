"""Networks whose forward pass does more than compute: batch statistics, noise, state, own weights.

Each is small, float32, and in train mode; `ARCHITECTURES` maps a name to `(model, inputs)`, made
anew by each call. Targets are whatever `targets` makes of the outputs' shape.
"""

from __future__ import annotations

import random
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from lazyrich.probe.steer.centred import CentredOutput
from tests.models import Attention, Residual, Transformer

N = 12


class Between(nn.Module):
    """Linear, something, tanh, linear."""

    def __init__(self, middle=None, width=16):
        super().__init__()
        self.first, self.last = nn.Linear(5, width), nn.Linear(width, 2)
        self.middle = middle if middle is not None else nn.Identity()

    def forward(self, x):
        return self.last(torch.tanh(self.middle(self.first(x))))


class Fn(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class HandwrittenNorm(nn.Module):
    """A batch norm of somebody's own, with an unbiased running variance."""

    def __init__(self, width=16, momentum=0.1):
        super().__init__()
        self.weight, self.momentum = nn.Parameter(torch.ones(width)), momentum
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0), x.var(0)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var = torch.lerp(self.running_var, var.detach(), self.momentum)
                self.num_batches_tracked += 1
        return self.weight * (x - mean) / (var + 1e-5).sqrt()


class FunctionalNorm(nn.Module):
    """A batch norm by the function, with its statistics in buffers of any names, or in none."""

    def __init__(self, width=16, names=("mu", "sigma")):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.names = names
        for name, value in zip(names, (torch.zeros(width), torch.ones(width)), strict=False):
            self.register_buffer(name, value)

    def forward(self, x):
        mean, var = (getattr(self, name) for name in self.names) if self.names else (None, None)
        training = self.training or mean is None
        return functional.batch_norm(x, mean, var, self.weight, self.bias, training)


class NormOfTorch(FunctionalNorm):
    """The same, one floor below."""

    def forward(self, x):
        mean, var = (getattr(self, name) for name in self.names)
        w, b = self.weight, self.bias
        return torch.batch_norm(x, w, b, mean, var, self.training, 0.1, 1e-5, False)


class NormInTrainMode(FunctionalNorm):
    """Keeps its statistics by hand, and calls the function in another way in each mode."""

    def forward(self, x):
        if not self.training:
            return functional.batch_norm(x, self.mu, self.sigma, self.weight, self.bias)
        with torch.no_grad():
            rest = [d for d in range(x.ndim) if d != 1]
            self.mu.lerp_(x.mean(rest), 0.1)
            self.sigma = 0.9 * self.sigma + 0.1 * x.var(rest)
        return functional.batch_norm(x, None, None, self.weight, self.bias, True)


class UnusualNorm(nn.Module):
    """A batch norm by hand, whose buffers are called as nobody would think."""

    def __init__(self, width=16):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("where", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def forward(self, x):
        mean, var = self.where, self.spread
        if self.training:
            rest = [d for d in range(x.ndim) if d != 1]
            var, mean = torch.var_mean(x, rest, correction=0)
            with torch.no_grad():
                self.where.lerp_(mean, 0.1)
                self.spread = 0.9 * self.spread + 0.1 * var
        shape = (-1, *(1 for _ in x.shape[2:]))
        x_hat = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return self.weight.view(shape) * x_hat + self.bias.view(shape)


class SharedNorm(nn.Module):
    """One batch norm at two depths: other statistics in each call."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        h = torch.tanh(self.norm(self.first(x)))
        return self.last(torch.tanh(self.norm(3 * self.second(h) + 1)))


class Variational(nn.Module):
    """The sampling of a VAE, also in eval mode."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(5, 8), nn.Linear(4, 5)

    def forward(self, x):
        mean, log_var = self.encode(x).chunk(2, -1)
        return self.decode(mean + torch.randn_like(mean) * (log_var / 2).exp())


class StochasticDepth(nn.Module):
    """Blocks that are skipped at random, one draw of Python for each."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(6))
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        for block in self.blocks:
            if torch.rand(()) < 0.5:
                x = x + torch.tanh(block(x))
        return self.head(x)


class Clamped(nn.Module):
    """Rewrites its own weight before it is used."""

    def __init__(self, data):
        super().__init__()
        self.first, self.last, self.data = nn.Linear(5, 16), nn.Linear(16, 2), data

    def forward(self, x):
        if self.data:
            self.first.weight.data.clamp_(-0.2, 0.2)
        else:
            with torch.no_grad():
                self.first.weight.clamp_(-0.2, 0.2)
        return self.last(torch.tanh(self.first(x)))


class Quantised(nn.Module):
    """A codebook that follows the batches by itself, straight-through gradients."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(5, 4), nn.Linear(4, 2)
        self.register_buffer("codes", torch.randn(6, 4))

    def forward(self, x):
        z = self.encode(x)
        nearest = torch.cdist(z, self.codes).argmin(1)
        if self.training:
            chosen = functional.one_hot(nearest, 6).to(z)
            means = chosen.T @ z.detach() / chosen.sum(0).clamp(min=1)[:, None]
            self.codes.lerp_(means, 0.3)
        return self.decode(z + (self.codes[nearest] - z).detach() + 0.1 * z)


class Moving(nn.Module):
    """Divides by a moving average of the size of what comes in."""

    def __init__(self):
        super().__init__()
        self.register_buffer("size", torch.ones(()))

    def forward(self, x):
        if self.training:
            self.size = 0.9 * self.size + 0.1 * x.detach().abs().mean()
        return x / self.size


class Annealed(nn.Module):
    """Counts its calls, in a buffer or in an attribute, and becomes steeper with them."""

    def __init__(self, buffer):
        super().__init__()
        self.calls = 0
        if buffer:
            del self.calls
            self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * (1 + 0.1 * self.calls)


class Storing(nn.Module):
    """Keeps what it computed: in an attribute, in a list, in a dict, in an object."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 16), nn.Linear(16, 2)
        self.history, self.cache, self.log = [], {"nested": {}}, Log()

    def forward(self, x):
        self.features = torch.tanh(self.first(x))
        self.history.append(self.features)
        self.cache["nested"][len(self.history)] = [self.features]
        self.log.last = self.features
        self.log.all.append(self.features)
        return self.last(self.features)


class Log:
    """Somebody's record."""

    def __init__(self):
        self.last, self.all = None, []


class Remembering(nn.Module):
    """A recurrent state that lives on from batch to batch."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.Linear(5 + 4, 4), nn.Linear(4, 2)
        self.state = None

    def forward(self, x):
        state = x.new_zeros(4) if self.state is None else self.state
        h = torch.tanh(self.cell(torch.cat([x, state.expand(len(x), 4)], 1)))
        self.state = h.detach().mean(0)
        return self.head(h)


class PlainTensor(nn.Module):
    """Writes on a tensor that is no buffer."""

    def __init__(self):
        super().__init__()
        self.scale, self.more = torch.ones(()), [torch.ones(())]

    def forward(self, x):
        self.scale.mul_(1.05)
        self.more[0].add_(0.05)
        return x * self.scale * self.more[0]


class Hiding(nn.Module):
    """Holds a network that is not registered, and lets its statistics run."""

    def __init__(self):
        super().__init__()
        self.net = Between(nn.LayerNorm(16))
        self.teachers = [Between(nn.BatchNorm1d(16)).requires_grad_(False)]

    def forward(self, x):
        return self.net(x) + 0.1 * self.teachers[0](x)


class OwnGenerators(nn.Module):
    """Draws from generators of its own."""

    def __init__(self):
        super().__init__()
        self.torch = torch.Generator().manual_seed(3)
        self.numpy = {"rng": np.random.default_rng(3)}

    def forward(self, x):
        noise = torch.randn(x.shape, generator=self.torch)
        return x + noise * float(self.numpy["rng"].uniform(0.5, 1))


GLOBAL = np.random.default_rng(5)


def drawn_elsewhere(x):
    return float(GLOBAL.uniform(0.5, 2)) * x


class Named(nn.Module):
    """Draws from a generator of the file, by a helper, and from Python's."""

    def forward(self, x):
        return drawn_elsewhere(x) + random.random()


class Helper:
    """Counts, and keeps an average, in an object of its own."""

    def __init__(self):
        self.calls, self.mean, self.array = 0, torch.zeros(16), np.zeros(16)

    def update(self, x):
        self.calls += 1
        self.mean.lerp_(x.detach().mean(0), 0.1)
        self.array += 0.1
        return self.calls * 0.1 + self.mean + torch.as_tensor(self.array).to(x)


class Helped(nn.Module):
    """Leaves its state to a helper that is no module."""

    def __init__(self):
        super().__init__()
        self.helper = Helper()

    def forward(self, x):
        return x + self.helper.update(x)


class Recurrent(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(5, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Tokens(nn.Module):
    """Embeddings, flattened."""

    def __init__(self, embedding):
        super().__init__()
        self.embed, self.first = embedding, nn.Linear(5 * 6, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, tokens):
        return self.last(torch.tanh(self.first(self.embed(tokens).flatten(1))))


def _frozen_norm():
    model = Between(nn.BatchNorm1d(16))
    model(torch.randn(N, 5))
    model.middle.eval()
    return model


def _with_hook(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old spelling is deprecated, and still in use
        return make()


def _pruned():
    model = Between()
    prune.random_unstructured(model.first, "weight", amount=0.3)
    return model


def _in_float32(model):
    return model.float()


def _convolutional(norm):
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), norm, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(54, 2)
    )


def _table(*shape):
    return lambda: torch.randn(N, *shape)


def _tokens():
    return torch.randint(0, 7, (N, 5))


_KINDS = {
    "mlp": (Between, _table(5)),
    "layer norm": (lambda: Between(nn.LayerNorm(16)), _table(5)),
    "rms norm": (lambda: Between(nn.RMSNorm(16)), _table(5)),
    "group norm": (lambda: _convolutional(nn.GroupNorm(2, 6)), _table(2, 5, 5)),
    "batch norm": (lambda: Between(nn.BatchNorm1d(16)), _table(5)),
    "batch norm, cumulative": (lambda: Between(nn.BatchNorm1d(16, momentum=None)), _table(5)),
    "batch norm, not tracked": (
        lambda: Between(nn.BatchNorm1d(16, track_running_stats=False)),
        _table(5),
    ),
    "batch norm, plain": (lambda: Between(nn.BatchNorm1d(16, affine=False)), _table(5)),
    "batch norm, synchronised": (lambda: Between(nn.SyncBatchNorm(16)), _table(5)),
    "batch norm, frozen": (_frozen_norm, _table(5)),
    "batch norm, shared": (SharedNorm, _table(5)),
    "batch norm, handwritten": (lambda: Between(HandwrittenNorm()), _table(5)),
    "batch norm, by function": (lambda: Between(FunctionalNorm()), _table(5)),
    "batch norm, by function of torch": (lambda: Between(NormOfTorch()), _table(5)),
    "batch norm, by function without buffers": (
        lambda: Between(FunctionalNorm(names=())),
        _table(5),
    ),
    "batch norm, unusual": (lambda: Between(UnusualNorm()), _table(5)),
    "batch norm, by function, centred": (
        lambda: CentredOutput(Between(FunctionalNorm()), 2.0),
        _table(5),
    ),
    "instance norm, by function": (
        lambda: _convolutional(Fn(functional.instance_norm)),
        _table(2, 5, 5),
    ),
    "batch norm, centred": (lambda: CentredOutput(Between(nn.BatchNorm1d(16)), 2.0), _table(5)),
    "batch norm, images": (lambda: _convolutional(nn.BatchNorm2d(6)), _table(2, 5, 5)),
    "residual": (lambda: _in_float32(Residual()), _table(2, 5, 5)),
    "instance norm": (
        lambda: _convolutional(nn.InstanceNorm2d(6, affine=True, track_running_stats=True)),
        _table(2, 5, 5),
    ),
    "transformer": (
        lambda: Transformer(nn.MultiheadAttention(6, 2, batch_first=True, dropout=0.2)),
        _tokens,
    ),
    "hand-written attention": (lambda: Transformer(Attention(), tied=True), _tokens),
    "encoder layer": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(5, 1, 8, batch_first=True), nn.Flatten(), nn.Linear(15, 2)
        ),
        _table(3, 5),
    ),
    "rnn": (lambda: Recurrent(nn.RNN), _table(4, 5)),
    "lstm": (lambda: Recurrent(nn.LSTM), _table(4, 5)),
    "gru": (lambda: Recurrent(nn.GRU), _table(4, 5)),
    "embedding": (lambda: Tokens(nn.Embedding(7, 6)), _tokens),
    "embedding, max norm": (lambda: Tokens(nn.Embedding(7, 6, max_norm=1.0)), _tokens),
    "dropout": (lambda: Between(nn.Dropout(0.5)), _table(5)),
    "functional dropout": (lambda: Between(Fn(functional.dropout)), _table(5)),
    "noise": (lambda: Between(Fn(lambda x: x + torch.randn_like(x))), _table(5)),
    "noise of numpy": (
        lambda: Between(Fn(lambda x: x * np.random.uniform(0.5, 2))),  # noqa: NPY002
        _table(5),
    ),
    "noise of its own": (lambda: Between(OwnGenerators()), _table(5)),
    "noise of the file": (lambda: Between(Named()), _table(5)),
    "helper": (lambda: Between(Helped()), _table(5)),
    "gumbel": (lambda: Between(Fn(functional.gumbel_softmax)), _table(5)),
    "vae": (Variational, _table(5)),
    "stochastic depth": (StochasticDepth, _table(5)),
    "clamp": (lambda: Clamped(data=False), _table(5)),
    "clamp of data": (lambda: Clamped(data=True), _table(5)),
    "spectral norm": (
        lambda: Between(parametrizations.spectral_norm(nn.Linear(16, 16))),
        _table(5),
    ),
    "spectral norm, hook": (
        lambda: _with_hook(lambda: Between(nn.utils.spectral_norm(nn.Linear(16, 16)))),
        _table(5),
    ),
    "weight norm": (lambda: Between(parametrizations.weight_norm(nn.Linear(16, 16))), _table(5)),
    "weight norm, hook": (
        lambda: _with_hook(lambda: Between(nn.utils.weight_norm(nn.Linear(16, 16)))),
        _table(5),
    ),
    "pruned": (_pruned, _table(5)),
    "codebook": (Quantised, _table(5)),
    "moving average": (lambda: Between(Moving()), _table(5)),
    "counter, buffer": (lambda: Between(Annealed(buffer=True)), _table(5)),
    "counter, attribute": (lambda: Between(Annealed(buffer=False)), _table(5)),
    "storing": (Storing, _table(5)),
    "remembering": (Remembering, _table(5)),
    "plain tensors": (lambda: Between(PlainTensor()), _table(5)),
    "hidden teacher": (Hiding, _table(5)),
}


def _maker(build, inputs):
    def make(seed=0):
        torch.manual_seed(seed)
        model = build()
        return model.train() if not isinstance(model, Between) else model, inputs()

    return make


ARCHITECTURES = {name: _maker(*parts) for name, parts in _KINDS.items()}


def output_of(result):
    """The tensor in what these networks return."""
    return result["logits"] if isinstance(result, dict) else result


def targets(model, x):
    """Something to fit, of the outputs' shape; the model runs once, as in training."""
    return torch.randn_like(output_of(model(x)).detach())
