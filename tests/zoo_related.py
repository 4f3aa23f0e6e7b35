"""Architectures of related papers, small, with data of their kind: name → (model, batch).

All are float64 and in eval mode; no sample sees another one. Each call makes them anew.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

N = 3


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


class LinearAttention(nn.Module):
    """Keys expand, nothing oscillates, queries shrink, over the sum of the keys."""

    def __init__(self, size=4, heads=2):
        super().__init__()
        self.heads, self.mixed = heads, nn.Linear(size, 3 * size, bias=False)
        self.out = nn.Linear(size, 2)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.mixed(x).chunk(3, -1))
        q, k = (functional.elu(part) + 1 for part in (q, k))
        state = torch.einsum("nthk,nthv->nthkv", k, v).cumsum(1)
        over = torch.einsum("nthk,nthk->nth", q, k.cumsum(1))
        return self.out((torch.einsum("nthk,nthkv->nthv", q, state) / over[..., None]).flatten(-2))


class Oscillating(nn.Module):
    """Expand, oscillate, shrink by a recurrence: the state turns and decays, as inputs say."""

    def __init__(self, size=3, states=4):
        super().__init__()
        self.expand, self.shrink = nn.Linear(size, states), nn.Linear(size, states)
        self.step, self.out = nn.Linear(size, 1), nn.Linear(size, 2)
        self.decay = nn.Parameter(torch.randn(states, size))
        self.angle = nn.Parameter(torch.randn(states, size))

    def forward(self, x):
        rate = torch.complex(-functional.softplus(self.decay), self.angle)
        step = functional.softplus(self.step(x))[..., None]
        turn = (step * rate).exp()
        new = self.expand(x)[..., None] * x[..., None, :] * step
        state, seen = torch.zeros_like(turn[:, 0]), []
        for t in range(x.shape[1]):
            state = turn[:, t] * state + new[:, t]
            seen.append(torch.einsum("ns,nsd->nd", self.shrink(x[:, t]), state.real))
        return self.out(torch.stack(seen, 1))


class StateSpace(nn.Module):
    """The same with fixed stages: a long convolution, by Fourier transforms."""

    def __init__(self, size=3, states=4):
        super().__init__()
        self.decay = nn.Parameter(torch.randn(size, states))
        self.angle = nn.Parameter(torch.randn(size, states))
        self.shrink = nn.Parameter(torch.randn(2, size, states))  # real and imaginary
        self.skip, self.out = nn.Parameter(torch.ones(size)), nn.Linear(size, 2)

    def forward(self, x):
        length = x.shape[1]
        rate = torch.complex(-self.decay.exp(), self.angle)
        times = torch.arange(length, device=x.device)
        shrink = torch.complex(*self.shrink)
        kernel = torch.einsum("ds,dst->td", shrink, (rate[..., None] * times).exp()).real
        both = (torch.fft.rfft(part, n=2 * length, dim=-2) for part in (x, kernel))
        mixed = torch.fft.irfft(next(both) * next(both), n=2 * length, dim=-2)[:, :length]
        return self.out(functional.gelu(mixed + self.skip * x)).mean(1)


class Mechanistic(nn.Module):
    """A network writes a linear ODE for each sample; its solution on a grid is the output.

    u″ + c₁(t)u′ + c₀(t)u = b(t) with u(0) and u′(0), by finite differences and least squares.
    """

    def __init__(self, inputs=5, times=6):
        super().__init__()
        self.body, self.terms = nn.Linear(inputs, 8), nn.Linear(8, 3 * times)
        self.start, self.step = nn.Linear(8, 2), nn.Linear(8, 1)
        unit = torch.eye(times, dtype=torch.float64)
        self.register_buffer("unit", unit)
        self.register_buffer("slope", unit[1:] - unit[:-1])
        self.register_buffer("bend", unit[2:] - 2 * unit[1:-1] + unit[:-2])

    def forward(self, x):
        h = torch.tanh(self.body(x))
        c, b, drive = self.terms(h).unflatten(-1, (3, -1)).unbind(-2)
        step = functional.softplus(self.step(h))[..., None]
        slope, bend = self.slope / step, self.bend / step**2
        inside = bend + c[:, 1:-1, None] * slope[:, 1:] + b[:, 1:-1, None] * self.unit[1:-1]
        ends = torch.cat([self.unit[:1].expand(len(x), -1, -1), slope[:, :1]], 1)
        rows = torch.cat([inside, ends], 1)
        right = torch.cat([drive[:, 1:-1], self.start(h)], 1)
        normal = rows.mT @ rows + 1e-3 * self.unit
        return torch.linalg.solve(normal, rows.mT @ right[..., None])[..., 0]


class TwoDepths(nn.Module):
    """A deep teacher and a shallow student of a system, and what lies between their latents."""

    def __init__(self, past=5, latent=3):
        super().__init__()
        self.teacher = nn.Sequential(
            nn.Linear(past, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, latent)
        )
        self.student = nn.Sequential(nn.Linear(past, 6), nn.Tanh(), nn.Linear(6, latent))
        self.heads = nn.ModuleList(nn.Linear(latent, 1) for _ in range(2))

    def forward(self, x):
        latents = self.teacher(x), self.student(x)
        guesses = [head(z) for head, z in zip(self.heads, latents, strict=True)]
        return torch.cat([*guesses, latents[0] - latents[1]], -1)


class LatentODE(nn.Module):
    """Nodes seen a few times are encoded, follow an ODE along their links, and are decoded."""

    def __init__(self, seen=3, latent=3, steps=4):
        super().__init__()
        self.encode, self.decode = nn.Linear(seen, latent), nn.Linear(latent, 1)
        self.own = nn.Sequential(nn.Linear(latent, 6), nn.Tanh(), nn.Linear(6, latent))
        self.pair = nn.Linear(2 * latent, latent)
        self.steps = steps

    def slope(self, z, links):
        size = z.shape[1]
        here, there = z[:, :, None].expand(-1, -1, size, -1), z[:, None].expand(-1, size, -1, -1)
        pulls = torch.tanh(self.pair(torch.cat([here, there], -1)))
        return self.own(z) + (links[..., None] * pulls).sum(2)

    def forward(self, seen, links):
        z, h, path = self.encode(seen), 0.2, []
        for _ in range(self.steps):  # Runge and Kutta's midpoint
            z = z + h * self.slope(z + h / 2 * self.slope(z, links), links)
            path.append(self.decode(z)[..., 0])
        return torch.stack(path, 1)


class Contagion(nn.Module):
    """Attention along the edges of one network: how likely is each node ill at the next step?"""

    def __init__(self, edges, size=4):
        super().__init__()
        self.register_buffer("edges", edges)
        self.embed, self.values = nn.Linear(2, size), nn.Linear(size, size)
        self.source, self.target = nn.Linear(size, 1), nn.Linear(size, 1, bias=False)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(size, 1), nn.Sigmoid())

    def forward(self, states):
        h, (source, target) = torch.relu(self.embed(states)), self.edges
        weight = (self.source(h)[:, source] + self.target(h)[:, target]).sigmoid()
        messages = weight * self.values(h)[:, source]
        return self.head(h.index_add(1, target, messages))[..., 0]


class Skeleton(nn.Module):
    """Joints over time: graph convolutions with learned edges, at two temporal resolutions."""

    def __init__(self, adjacency, channels=4):
        super().__init__()
        self.register_buffer("adjacency", adjacency)  # partition, joint, joint
        self.importance = nn.Parameter(torch.rand_like(adjacency))
        self.joints = nn.Conv2d(2, len(adjacency) * channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.fine = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.coarse = nn.Conv2d(channels, channels, (3, 1), stride=(2, 1), padding=(1, 0))
        self.heads = nn.ModuleList(nn.Linear(channels, 2) for _ in range(2))

    def forward(self, x):
        parts = self.joints(x).unflatten(1, (len(self.adjacency), -1))
        h = torch.einsum("nkctv,kvw->nctw", parts, self.adjacency * self.importance)
        h = torch.relu(self.norm(h))
        branches = (torch.relu(h + self.fine(h)), torch.relu(self.coarse(h)))
        both = [head(z.mean((2, 3))) for head, z in zip(self.heads, branches, strict=True)]
        return torch.stack(both).mean(0)


def system(times=5):
    """Outputs of a nonlinear system that noise drives, its last few values a sample."""
    y = [torch.zeros(N, dtype=torch.float64)]
    for _ in range(times):
        y.append(0.8 * y[-1] - 0.3 * y[-1] ** 3 + randn(N))
    return torch.stack(y[1:], 1)


def dynamics(nodes=4):
    """Heat that spreads along random links, seen three times."""
    links = (randn(N, nodes, nodes) > 0).double().triu(1)
    links = links + links.mT
    states = [randn(N, nodes)]
    for _ in range(2):
        flow = links @ states[-1][..., None] - links.sum(-1, keepdim=True) * states[-1][..., None]
        states.append(states[-1] + 0.1 * flow[..., 0])
    return torch.stack(states, -1), links


def contagion(nodes=5):
    """Who is ill on a ring with a chord: sound and ill, one hot."""
    around = torch.arange(nodes)
    pairs = torch.cat([torch.stack([around, (around + 1) % nodes]), torch.tensor([[0], [2]])], 1)
    ill = (torch.rand(N, nodes) < 0.4).long()
    return Contagion(torch.cat([pairs, pairs.flip(0)], 1)), functional.one_hot(ill, 2).double()


def skeleton(joints=4, times=5):
    """A limb whose joints swing at their own rates; edges to itself, inward and outward."""
    chain = torch.diag(torch.ones(joints - 1, dtype=torch.float64), 1)
    edges = torch.stack([torch.eye(joints, dtype=torch.float64), chain, chain.mT])
    time = torch.arange(times, dtype=torch.float64)[:, None]
    angle = (torch.rand(N, 1, joints) * time + randn(N, 1, 1)).double().cumsum(-1)
    return Skeleton(edges), torch.stack([angle.cos(), angle.sin()], 1).cumsum(-1)


RELATED = {
    "linear attention": lambda: (LinearAttention(), randn(N, 5, 4)),
    "expand, oscillate, shrink": lambda: (Oscillating(), randn(N, 5, 3)),
    "state space by Fourier transforms": lambda: (StateSpace(), randn(N, 5, 3)),
    "mechanistic": lambda: (Mechanistic(), randn(N, 5)),
    "student and teacher": lambda: (TwoDepths(), system()),
    "latent ODE on a network": lambda: (LatentODE(), dynamics()),
    "contagion on a graph": contagion,
    "skeleton over time": skeleton,
}


def made(name):
    """The model of that name, with its batch."""
    torch.manual_seed(0)
    model, batch = RELATED[name]()
    return model.double().eval(), batch
