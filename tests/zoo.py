"""Networks as people have them, small, from configurations alone: name → (model, batch).

All are float64, where their operations are, and in eval mode; each call makes them anew.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

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


SINGLE = {"Mixtral, grouped"}
"""Those of float32: products of experts have no other precision."""


def made(name):
    """The model of that name, with its batch."""
    torch.manual_seed(0)
    model, batch = ZOO[name]()
    model = (model if name in SINGLE else model.double()).eval()
    with torch.no_grad():  # lazy parameters are made, spectral norms settle
        args = batch if isinstance(batch, tuple) else (batch,)
        model(**batch) if isinstance(batch, dict) else model(*args)
    return model, batch
