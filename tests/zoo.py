"""Networks as people have them, small, from configurations alone: name → (model, batch).

All are float64, where their operations are, and in eval mode; each call makes them anew.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

TOKENS, N = 7, 3


def _tokens(length=4):
    return torch.randint(1, TOKENS, (N, length))


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=TOKENS, **sizes, **ends, use_cache=False)
    return GPT2LMHeadModel(config), _tokens()


_LLAMA = {
    "vocab_size": TOKENS,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 16,
    "use_cache": False,
}


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_LLAMA)), _tokens()


def mixtral(experts="eager"):
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(**_LLAMA, num_local_experts=3, num_experts_per_tok=2)
    config._experts_implementation = experts
    return MixtralForCausalLM(config), _tokens()


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 12, "max_position_embeddings": 8}
    return BertForSequenceClassification(BertConfig(vocab_size=TOKENS, **sizes, **more)), _tokens()


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(**sizes, intermediate_size=12, image_size=8, patch_size=4, num_labels=3)
    return ViTForImageClassification(config), randn(N, 3, 8, 8)


def t5():
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=TOKENS, **sizes, use_cache=False, decoder_start_token_id=0)
    batch = {"input_ids": _tokens(), "decoder_input_ids": _tokens(3)}
    return T5ForConditionalGeneration(config), batch


def mamba():
    from transformers import MambaConfig, MambaForCausalLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "state_size": 3, "time_step_rank": 2}
    return MambaForCausalLM(MambaConfig(vocab_size=TOKENS, **sizes, use_cache=False)), _tokens()


def _conv(inputs, outputs, size=3, **options):
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.SiLU())


class UNet(nn.Module):
    """Down, up by a transposed convolution, and across."""

    def __init__(self):
        super().__init__()
        self.down, self.low = _conv(2, 4), _conv(4, 6)
        self.up, self.out = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        across = self.down(x)
        up = self.up(self.low(functional.max_pool2d(across, 2)))
        return self.out(torch.cat([across, up], 1))


class SqueezeExcite(nn.Module):
    """A depthwise convolution whose channels are gated by what they hold."""

    def __init__(self):
        super().__init__()
        self.expand, self.depthwise = _conv(3, 6, 1), _conv(6, 6, groups=6)
        self.squeeze, self.excite = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h = self.depthwise(self.expand(x))
        gate = self.excite(torch.relu(self.squeeze(h.mean((2, 3), keepdim=True)))).sigmoid()
        return self.head((gate * h).mean((2, 3)))


class ResNet(nn.Module):
    """Two residual blocks."""

    def __init__(self):
        super().__init__()
        self.stem = _conv(3, 4, bias=False)
        self.blocks = nn.ModuleList(nn.Sequential(_conv(4, 4), _conv(4, 4)) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = self.stem(x)
        for block in self.blocks:
            h = torch.relu(h + block(h))
        return self.head(h.mean((2, 3)))


class Recurrent(nn.Module):
    """Tokens, a recurrent layer, its last step."""

    def __init__(self, kind, **options):
        super().__init__()
        self.embed, self.body = nn.Embedding(TOKENS, 5), kind(5, 4, batch_first=True, **options)
        self.head = nn.LazyLinear(2)

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens))[0][:, -1])


class GCN(nn.Module):
    """Two graph convolutions by parameters of its own; a sample is a graph."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(5, 6) / 5**0.5)
        self.second = nn.Parameter(torch.randn(6, 2) / 6**0.5)
        self.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x, adjacency):
        h = torch.relu(adjacency @ (x @ self.first) + self.bias)
        return torch.einsum("nvd,dk->nvk", adjacency @ h, self.second).mean(1)


class DeepONet(nn.Module):
    """A branch for the function and a trunk for the places."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))
        self.trunk = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 6))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, function, places):
        return torch.einsum("nk,npk->np", self.branch(function), self.trunk(places)) + self.bias


class PINN(nn.Module):
    """The residual of a heat equation at each place."""

    def __init__(self):
        super().__init__()
        self.u = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            u = self.out(self.u(x))
            slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
            bend = torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)[0]
        return slope[:, 1:] - bend[:, :1]


class MixtureDensity(nn.Module):
    """Weights, means and widths of three Gaussians."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 8), nn.Linear(8, 9)

    def forward(self, x):
        weight, mean, width = self.head(torch.tanh(self.body(x))).chunk(3, -1)
        return torch.cat([weight.log_softmax(-1), mean, functional.softplus(width)], -1)


class VAE(nn.Module):
    """Its reconstruction, with noise of its own."""

    def __init__(self):
        super().__init__()
        self.encode, self.code = nn.Linear(5, 8), nn.Linear(8, 4)
        self.decode = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x):
        mean, log_width = self.code(torch.relu(self.encode(x))).chunk(2, -1)
        return self.decode(mean + torch.randn_like(mean) * (log_width / 2).exp())


class LoRA(nn.Module):
    """A frozen linear layer and a low rank beside it, by hand."""

    def __init__(self, inputs, outputs, rank=2):
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.b = nn.Parameter(torch.randn(outputs, rank) / rank**0.5)

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


class GatedNorm(nn.Module):
    """Norms of one's own with their own scale and shift."""

    def __init__(self, width):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return self.scale * x / x.square().mean(-1, keepdim=True).sqrt() + self.shift


def lora():
    return nn.Sequential(LoRA(5, 8), nn.Tanh(), LoRA(8, 3)), randn(N, 5)


def normed_weights():
    first = parametrizations.weight_norm(nn.Linear(5, 8))
    second = parametrizations.spectral_norm(nn.Linear(8, 8))
    return nn.Sequential(first, nn.Tanh(), second, GatedNorm(8), nn.Linear(8, 2)), randn(N, 5)


def gcn():
    links = (randn(N, 4, 4) > 0).double()
    return GCN(), (randn(N, 4, 5), (links + links.mT).clamp(max=1) / 3)


ZOO = {
    "GPT-2": gpt2,
    "Llama": llama,
    "Mixtral": mixtral,
    "Mixtral, grouped": lambda: mixtral("grouped_mm"),
    "BERT": bert,
    "ViT": vit,
    "T5": t5,
    "Mamba": mamba,
    "U-Net": lambda: (UNet(), randn(N, 2, 4, 4)),
    "squeeze and excite": lambda: (SqueezeExcite(), randn(N, 3, 4, 4)),
    "ResNet": lambda: (ResNet(), randn(N, 3, 4, 4)),
    "LSTM": lambda: (Recurrent(nn.LSTM, bidirectional=True), _tokens()),
    "GRU": lambda: (Recurrent(nn.GRU, num_layers=2), _tokens()),
    "GCN": gcn,
    "DeepONet": lambda: (DeepONet(), (randn(N, 5), randn(N, 3, 1))),
    "PINN": lambda: (PINN(), randn(N, 2)),
    "mixture density": lambda: (MixtureDensity(), randn(N, 3)),
    "VAE": lambda: (VAE(), randn(N, 5)),
    "LoRA": lora,
    "weight and spectral norm": normed_weights,
}


class NeuralODE(nn.Module):
    """Four steps of Runge and Kutta along one field: a layer that is used sixteen times."""

    def __init__(self):
        super().__init__()
        self.lift, self.head = nn.Linear(5, 4), nn.Linear(4, 2)
        self.field = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))

    def slope(self, h, t):
        return self.field(torch.cat([h, torch.full_like(h[:, :1], t)], 1))

    def forward(self, x, dt=0.25):
        h = self.lift(x)
        for i in range(4):
            t = i * dt
            a = self.slope(h, t)
            b = self.slope(h + dt / 2 * a, t + dt / 2)
            c = self.slope(h + dt / 2 * b, t + dt / 2)
            h = h + dt / 6 * (a + 2 * b + 2 * c + self.slope(h + dt * c, t + dt))
        return self.head(h)


class ComplexValued(nn.Module):
    """A complex layer by its real and imaginary part, and a filter of frequencies."""

    def __init__(self):
        super().__init__()
        self.real, self.imaginary = (nn.Parameter(torch.randn(4, 6) / 2) for _ in range(2))
        self.filter = nn.Parameter(torch.randn(4, 2) / 2)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        kept = torch.fft.rfft(x, dim=1) * torch.view_as_complex(self.filter)
        return self.head((kept @ torch.complex(self.real, self.imaginary)).abs())


class SimCLR(nn.Module):
    """Two views of every sample through one encoder, on the sphere."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.projector = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, first, second):
        z = self.projector(self.encoder(torch.cat([first, second])))
        return torch.stack(functional.normalize(z, dim=1).chunk(2), 1)


class Checkpointed(nn.Module):
    """Computes again what it dropped out, with the same draws."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(5, 8), nn.Tanh()), nn.Linear(8, 2)

    def forward(self, x):
        def dropped(h):
            return functional.dropout(self.body(h), 0.3, training=True)

        return self.head(checkpoint(dropped, x, use_reentrant=False))


class Routed(nn.Module):
    """Each sample takes the branch that its data say, in place, and skips another one."""

    def __init__(self):
        super().__init__()
        self.body, self.left, self.right = nn.Linear(5, 6), nn.Linear(6, 2), nn.Linear(6, 2)
        self.first = nn.Linear(5, 5)

    def forward(self, x):
        with torch.no_grad():
            x = x + 0.1 * self.first(x)
        h = torch.sin(self.body(x).mul_(2))
        h[:, 0] += 1
        goes_left = x.sum(1) > 0
        y = x.new_zeros(len(x), 2)
        y[goes_left], y[~goes_left] = self.left(h[goes_left]), self.right(h[~goes_left])
        return y


class SparseGraph(nn.Module):
    """Links as a sparse matrix, held by the module; a sample is a signal on the nodes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("links", (torch.rand(6, 6) < 0.4).double().to_sparse())
        self.first, self.head = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(torch.tanh(torch.sparse.mm(self.links, self.first(x).T).T))


class Weighted(nn.Module):
    """A bag of vectors with learned weights, and the weights of a module borrowed, scaled."""

    def __init__(self):
        super().__init__()
        self.bag, self.importance = nn.EmbeddingBag(TOKENS, 5, mode="sum"), nn.Embedding(TOKENS, 1)
        self.body, self.head = nn.Linear(5, 6), nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 7])

    def forward(self, tokens):
        h = self.bag(tokens, per_sample_weights=self.importance(tokens)[..., 0])
        scaled = {name: 0.9 * p for name, p in self.body.named_parameters()}
        h = torch.func.functional_call(self.body, scaled, (h,))
        return self.head.log_prob(torch.tanh(h))


class Twice(nn.Module):
    """One block at two places, and a table that is the readout, too, scaled."""

    def __init__(self):
        super().__init__()
        block = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Tanh())
        self.embed, self.blocks = nn.Embedding(TOKENS, 6), nn.ModuleList([block, block])
        self.again = block

    def forward(self, tokens):
        h = self.embed(tokens)
        for block in self.blocks:
            h = h + block(h)
        return self.again(h).mean(1) @ self.embed.weight.T * 6**-0.5


class InnerStep(nn.Module):
    """Takes a step of gradient descent of its own before it answers, as in meta-learning."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x):
        w = self.body.weight
        with torch.enable_grad():
            inner = (x @ w.T).square().mean(1).sum()
            (slope,) = torch.autograd.grad(inner, w, create_graph=True)
        return self.head(torch.tanh(x @ (w - 0.1 * slope).T + self.body.bias))


class Ragged(nn.Module):
    """Sequences of different lengths in one nested tensor."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x):
        sequences = [one[: 1 + i % 3] for i, one in enumerate(x)]
        h = torch.relu(self.body(torch.nested.as_nested_tensor(sequences)))
        return self.head(h.to_padded_tensor(0.0, (len(x), 3, 6)).sum(1))


def odd_convolutions():
    first = nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding="same", padding_mode="circular")
    back = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
    return nn.Sequential(first, nn.Tanh(), back, nn.Flatten(), nn.LazyLinear(2)), randn(N, 4, 4, 4)


def peft_lora():
    peft = pytest.importorskip("peft", reason="needs peft")
    model, tokens = gpt2()
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["c_attn"])), tokens


ODD = {
    "neural ODE": lambda: (NeuralODE(), randn(N, 5)),
    "complex-valued": lambda: (ComplexValued(), randn(N, 6)),
    "SimCLR": lambda: (SimCLR(), (randn(N, 5), randn(N, 5))),
    "checkpoint with dropout": lambda: (Checkpointed(), randn(N, 5)),
    "routed by data": lambda: (Routed(), randn(N, 5)),
    "sparse graph": lambda: (SparseGraph(), randn(N, 6)),
    "bag, borrowed and adaptive": lambda: (Weighted(), _tokens()),
    "shared and tied": lambda: (Twice(), _tokens()),
    "inner gradient step": lambda: (InnerStep(), randn(N, 5)),
    "ragged sequences": lambda: (Ragged(), randn(N, 3, 5)),
    "odd convolutions": odd_convolutions,
    "LSTM, projected": lambda: (Recurrent(nn.LSTM, proj_size=3, num_layers=2), _tokens()),
    "LoRA by peft": peft_lora,
}


SINGLE = {"Mixtral, grouped"}
"""Those of float32: products of experts have no other precision."""


def made(name):
    """The model of that name, with its batch."""
    torch.manual_seed(0)
    model, batch = (ZOO | ODD)[name]()
    model = (model if name in SINGLE else model.double()).eval()
    with torch.no_grad():  # lazy parameters are made, spectral norms settle
        args = batch if isinstance(batch, tuple) else (batch,)
        model(**batch) if isinstance(batch, dict) else model(*args)
    return model, batch
