"""Small networks that are awkward to measure, and the brute-force kernel of any of them."""

import copy

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


def with_batch_statistics(model, x):
    """A copy in evaluation mode whose running statistics are the batch's, by PyTorch's own update.

    With momentum 1 one training pass leaves the last batch's mean and unbiased variance.
    """
    model = copy.deepcopy(model).eval()
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    counts = {}
    for norm in norms:
        norm.train().momentum = 1.0
        norm.register_forward_pre_hook(
            lambda m, args: counts.update({m: args[0].numel() / args[0].shape[1]})
        )
    with torch.no_grad():
        model(**x) if isinstance(x, dict) else model(*x) if isinstance(x, tuple) else model(x)
    for norm in norms:
        norm._forward_pre_hooks.clear()
        norm.eval().running_var.mul_((counts[norm] - 1) / counts[norm])
    return model


def brute_jacobians(model, x):
    """torch.func's Jacobian by trainable parameter, batch statistics held constant."""
    model = with_batch_statistics(model, x)
    fixed = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    fixed.update(model.named_buffers())
    learning = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

    def outputs(parameters):
        kwargs = x if isinstance(x, dict) else {}
        args = () if isinstance(x, dict) else x if isinstance(x, tuple) else (x,)
        f = torch.func.functional_call(model, {**fixed, **parameters}, args, kwargs)
        f = f["logits"] if isinstance(f, dict) else f[0] if isinstance(f, tuple) else f
        return f.reshape(len(f), -1)

    found = torch.func.jacrev(outputs, chunk_size=1)(learning)
    return {name: j.flatten(2) for name, j in found.items()}


def brute_kernel(model, x, rates=None, other=None):
    """Θ of a batch, or between it and another one, from explicit Jacobians."""
    first = brute_jacobians(model, x)
    second = first if other is None else brute_jacobians(model, other)
    total = 0
    for name, j in first.items():
        rate = 1.0 if rates is None else rates(name)
        total = total + rate * torch.einsum("icp,jep->icje", j, second[name])
    return total


class Residual(nn.Module):
    """Convolutions with norms, an in-place activation and a skip connection."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=2)
        self.norm = nn.GroupNorm(2, 4)
        self.head = nn.Linear(4, 3)
        for norm in (self.bn, self.norm):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        self.bn.running_mean.normal_()

    def forward(self, x):
        h = self.act(self.bn(self.stem(x)))
        return self.head((h + self.norm(self.body(h))).mean((2, 3)))


class Attention(nn.Module):
    """Attention written by hand out of linear layers."""

    def __init__(self, width=6, heads=2):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return self.mix(self.qkv(x))

    def mix(self, z):
        """Everything after queries, keys and values."""
        n, t, d = *z.shape[:2], z.shape[2] // 3
        q, k, v = z.view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / (d / self.heads) ** 0.5, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, t, d))


class Transformer(nn.Module):
    """Embeddings, positions, attention of either kind, tied token matrix if wanted."""

    def __init__(self, attention, tied=False):
        super().__init__()
        self.embed = nn.Embedding(7, 6, padding_idx=0)
        self.position = nn.Parameter(torch.randn(5, 6))
        self.norm = nn.LayerNorm(6)
        self.attention = attention
        self.mlp = nn.Sequential(nn.RMSNorm(6), nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
        self.head = nn.Linear(6, 7, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens):
        h = self.embed(tokens) + self.position
        if isinstance(self.attention, nn.MultiheadAttention):
            a = self.norm(h)
            h = h + self.attention(a, a, a, need_weights=False)[0]
        else:
            h = h + self.attention(self.norm(h))
        return {"hidden": h, "logits": self.head((h + self.mlp(h)).mean(1))}


class Twice(nn.Module):
    """One layer used at two depths, and two layers that share a weight but not a bias."""

    def __init__(self):
        super().__init__()
        self.again = nn.Linear(5, 5)
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(5)
        nn.init.normal_(self.norm.weight)

    def forward(self, x):
        h = self.norm(torch.tanh(self.again(torch.tanh(self.again(x)))))
        return self.norm(self.second(torch.tanh(self.first(h)))).sum(-1, keepdim=True)


class Sneaky(nn.Module):
    """A weight that is also used behind the module's back."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 2)

    def forward(self, x):
        return self.b(torch.tanh(functional.linear(self.a(x), self.a.weight)))


class SequenceFirst(nn.Module):
    """A layer sees (positions, samples, features), with as many positions as samples."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.b = nn.Linear(4, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x.transpose(0, 1))).transpose(0, 1).mean(1))


class Named(nn.Module):
    """Keyword inputs, a mask, a tuple as output, a frozen layer and one under no_grad."""

    def __init__(self):
        super().__init__()
        self.cut = nn.Linear(3, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.free = nn.Linear(4, 2)

    def forward(self, *, values, scale):
        with torch.no_grad():
            h = self.cut(values)
        return self.free(torch.tanh(self.frozen(h)) * scale), h


def cases():
    """Name → (model, batch), float64, seeded."""
    torch.manual_seed(0)
    tokens = torch.randint(0, 7, (4, 5))
    mha = nn.MultiheadAttention(6, 2, batch_first=True, dropout=0.3)
    found = {
        "mlp": (nn.Sequential(nn.Linear(5, 7), nn.ReLU(True), nn.Linear(7, 3)), randn(4, 5)),
        "no bias, one output": (nn.Sequential(nn.Linear(5, 7, bias=False), Sum()), randn(4, 5)),
        "residual": (Residual(), randn(3, 2, 5, 5)),
        "conv1d": (
            nn.Sequential(nn.Conv1d(2, 3, 3, 2, padding=2, dilation=2), Sum()),
            randn(3, 2, 9),
        ),
        "conv2d": (
            nn.Sequential(
                nn.Conv2d(2, 4, (3, 2), (2, 1), (1, 0), groups=2, padding_mode="reflect"),
                nn.Tanh(),
                nn.Conv2d(4, 3, 2, padding=1, padding_mode="circular"),
                nn.Flatten(),
                nn.Linear(60, 2),
            ),
            randn(3, 2, 6, 5),
        ),
        "conv3d": (
            nn.Sequential(nn.Conv3d(2, 3, (3, 1, 3), padding="same"), nn.Tanh(), Sum()),
            randn(2, 2, 3, 3, 2),
        ),
        "transformer": (Transformer(mha), tokens),
        "hand-written attention": (Transformer(Attention()), tokens),
        "tied tokens": (Transformer(Attention(), tied=True), tokens),
        "used twice": (Twice(), randn(4, 3, 5)),
        "sequence": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), randn(3, 6, 3)),
        "weight norm": (nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.Tanh()), randn(3, 4)),
        "sneaky": (Sneaky(), randn(4, 4)),
        "sequence first": (SequenceFirst(), randn(4, 4, 3)),
        "named": (Named(), {"values": randn(4, 3), "scale": randn(4, 1)}),
        "dropout": (nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 1)), randn(4, 4)),
        "instance norm": (
            nn.Sequential(nn.Conv1d(2, 3, 2), nn.InstanceNorm1d(3, affine=True), nn.Tanh(), Sum()),
            randn(3, 2, 5),
        ),
        "transposed": (
            nn.Sequential(nn.ConvTranspose1d(2, 3, 2), nn.Tanh(), Sum()),
            randn(3, 2, 4),
        ),
        "more keys": (
            Transformer(nn.MultiheadAttention(6, 2, batch_first=True, add_bias_kv=True)),
            tokens,
        ),
    }
    return {name: (model.double(), x) for name, (model, x) in found.items()}


class Sum(nn.Module):
    """Adds all features of a sample up."""

    def forward(self, x):
        return x.flatten(1).square().sum(1)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)
