from dataclasses import replace

import pytest
import torch
from torch import nn

from lazyrich import CentredOutput, InputError, Probe, every
from lazyrich.study.data.datasets import digits, load
from lazyrich.study.training import together
from lazyrich.study.training.together import Member, train_together
from lazyrich.study.training.train import Recipe, train


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return digits().take(60, 30, seed=0)


def network(seed, *, output_scale=1.0, init_scale=1.0, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(init_scale)
    return CentredOutput(model.to(dtype), output_scale)


FACTORS = {"network.1.weight": 0.5, "network.3.bias": 0.0}
KINDS = (  # seed of weights, scales, and what a member has of its own
    (0, {}, {"seed": 0}),
    (1, {"output_scale": 0.5}, {"seed": 1, "lr": 0.05}),
    (2, {"init_scale": 2.0}, {"seed": 0, "lr": 0.01, "lr_factors": FACTORS}),
    (3, {"output_scale": 30.0}, {"seed": 2, "lr": 5.0}),  # diverges
    (4, {"output_scale": 2.0, "init_scale": 0.5}, {"seed": 3, "lr": 0.02}),
)


def members(dtype=torch.float64, kinds=KINDS, **own):
    return [
        Member(model=network(seed, dtype=dtype, **scales), **(extra | own))
        for seed, scales, extra in kinds
    ]


def one_by_one(members, data, recipe, when=None):
    return [
        train(
            m.model,
            data,
            recipe if m.lr is None else replace(recipe, lr=m.lr),
            seed=m.seed,
            lr_factors=m.lr_factors,
            observe=m.observe,
            when=when,
        )
        for m in members
    ]


def distance(one, other):
    """Of two networks, relative to their size; 0 for the same NaN."""
    a, b = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (one, other))
    return ((a - b).norm() / a.norm()).nan_to_num(0.0).item()


def compare(data, recipe, tolerance, dtype=torch.float64, **options):
    ours, theirs = members(dtype, **options), members(dtype, **options)
    found, expected = train_together(ours, data, recipe), one_by_one(theirs, data, recipe)
    for a, b in zip(found, expected, strict=True):
        assert (a.status, a.steps, a.lr) == (b.status, b.steps, b.lr)
        if b.status != "diverged":
            assert a.loss == pytest.approx(b.loss, rel=tolerance)
            assert a.sentence == b.sentence
    pairs = [
        pair
        for pair, o in zip(zip(ours, theirs, strict=True), expected, strict=True)
        if o.status != "diverged"
    ]
    assert max(distance(a.model, b.model) for a, b in pairs) < tolerance
    return found


SETTINGS = {
    "full batch": {},
    "minibatch": {"batch_size": 16},
    "momentum": {"batch_size": 16, "momentum": 0.9, "weight_decay": 1e-2, "schedule": "cosine"},
    "entropy": {"batch_size": 25, "loss": "cross_entropy"},
    "images": {"batch_size": 16, "augment": True, "momentum": 0.5},
    "all images": {"augment": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_together_is_one_by_one(data, name):
    settings = {"loss": "squared_error", **SETTINGS[name]}
    found = compare(data, Recipe(lr=0.03, steps=40, **settings), 1e-10)
    assert [o.status == "diverged" for o in found].count(True) == 1


def test_adam_together_is_adam_of_pytorch(data):
    recipe = Recipe(
        loss="squared_error",
        lr=0.003,
        steps=60,
        optimizer="adam",
        weight_decay=1e-2,
        schedule="cosine",
    )
    compare(data, replace(recipe, batch_size=16), 1e-10)
    compare(data, recipe, 1e-10)


def test_in_single_precision_up_to_rounding(data):
    compare(
        data,
        Recipe(loss="squared_error", lr=0.03, steps=20, batch_size=16, momentum=0.9),
        1e-3,
        torch.float32,
    )


@pytest.mark.parametrize("batch_size", [None, 16])
def test_members_leave_at_their_own_step(data, batch_size):
    recipe = Recipe(loss="squared_error", lr=0.03, steps=400, batch_size=batch_size, stop_loss=0.25)
    found = compare(data, recipe, 1e-9)
    fitted = {o.steps for o in found if o.status == "fitted"}
    assert len(fitted) >= 3
    assert "diverged" in {o.status for o in found}
    assert max(fitted) < 400


def test_each_member_has_its_own_limit_of_divergence(data):
    def linear(scale):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False)).double()
        nn.init.constant_(model[1].weight, scale)
        return model

    def made():
        pairs = [(9.0, 1.0), (0.1, 0.01), (0.1, 0.2), (3.0, 0.1)]
        return [Member(model=linear(scale), seed=0, lr=lr) for scale, lr in pairs]

    recipe = Recipe(loss="squared_error", lr=1.0, steps=60)
    found, expected = train_together(made(), data, recipe), one_by_one(made(), data, recipe)
    assert [o.sentence for o in found] == [o.sentence for o in expected]
    diverged = [o for o in found if o.status == "diverged"]
    assert len({o.steps for o in diverged}) == 3
    assert len({o.sentence.partition("above ")[2] for o in diverged}) == 3


def test_members_with_one_order_share_the_batch(data):
    compare(
        data,
        Recipe(loss="squared_error", lr=0.01, steps=20, batch_size=16),
        1e-10,
        kinds=KINDS[:3],
        seed=7,
    )


def test_more_than_one_stack(data, monkeypatch):
    monkeypatch.setattr(together, "BLOCK", 2)
    compare(data, Recipe(loss="squared_error", lr=0.03, steps=15, batch_size=16), 1e-10)


def test_a_convolution_with_frozen_parameters(data):
    def net(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
        ).double()
        model[0].bias.requires_grad_(False)
        return model

    recipe = Recipe(loss="squared_error", lr=0.1, steps=10, batch_size=20)
    ours, theirs = ([Member(model=net(s), seed=s) for s in range(3)] for _ in range(2))
    train_together(ours, data, recipe)
    one_by_one(theirs, data, recipe)
    assert max(distance(a.model, b.model) for a, b in zip(ours, theirs, strict=True)) < 1e-10


def test_observers_see_what_they_see_alone(data):
    batch = data.train.x[:10].double(), torch.zeros(10, 10, dtype=torch.float64)
    recipe = Recipe(loss="squared_error", lr=0.03, steps=30, batch_size=16, stop_loss=0.3)

    def watched():
        probes, made = [], []
        for one in members():
            probe = Probe(one.model, batch, samples=None)
            probes.append(probe)
            made.append(replace(one, observe=probe.measure))
        return made, probes

    (ours, mine), (theirs, others) = watched(), watched()
    train_together(ours, data, recipe, when=every(8))
    outcomes = one_by_one(theirs, data, recipe, when=every(8))
    for a, b, outcome in zip(mine, others, outcomes, strict=True):
        assert a.history.step.values.tolist() == b.history.step.values.tolist()
        if outcome.status != "diverged":
            for name in ("ntk_change", "loss"):
                assert a.history[name].values == pytest.approx(b.history[name].values, rel=1e-6)


def test_the_random_state_stays(data):
    before = torch.get_rng_state()
    train_together(
        members(), data, Recipe(loss="squared_error", lr=0.03, steps=5, batch_size=16, augment=True)
    )
    assert torch.equal(before, torch.get_rng_state())


class Scaled(nn.Linear):
    """Its scale is no buffer."""

    def __init__(self, scale):
        super().__init__(64, 10)
        self.scale = scale

    def forward(self, x):
        return self.scale * super().forward(x.flatten(1))


def test_members_that_do_not_fit_together_are_refused(data):
    recipe = Recipe(loss="squared_error", lr=0.1, steps=1)

    def refused(message, *models, **own):
        with pytest.raises(InputError, match=message):
            train_together([Member(model=m, seed=0, **own) for m in models], data, recipe)

    def linear(outputs=10):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))

    refused("`members` must hold at least one network, got none")
    refused("the same parameters and shapes, got others in member 1", linear(), linear(9))
    frozen = linear()
    frozen[1].bias.requires_grad_(False)
    refused("the same parameters and shapes, got others in member 1", linear(), frozen)
    refused("differ in parameters and buffers only, .* member 1", Scaled(1.0), Scaled(2.0))
    noisy = nn.Sequential(linear(), nn.Dropout(0.1))
    refused("functions of their parameters, .* a Dropout has", noisy)
    refused(
        "functions of their parameters, .* a BatchNorm1d has", linear().append(nn.BatchNorm1d(10))
    )
    refused(r"`lr_factors` .* got 'x': 1.0", linear(), lr_factors={"x": 1.0})
    refused(r"to outputs \(2, 10\), got \(2, 9\)", linear(9))


def test_wide_layers_of_small_inputs_do_not_pay():
    """Few operations, many numbers: width 1024, 353 samples, measured slower together."""
    network = nn.Sequential(nn.Linear(1, 1024), nn.Identity(), nn.Linear(1024, 1))
    found = together.pays(
        network, load("line", samples=353), Recipe(loss="squared_error", lr=0.1, steps=1), 36
    )
    assert found.sentence == "One by one: 361,825 numbers of a batch are more than 100,000."


@pytest.mark.parametrize(
    ("width", "batch_size", "members", "says"),
    [
        (64, 64, 256, "Together: 0.61 million operations a forward pass are less than 5 million."),
        (64, 64, 7, "One by one: 7 networks are less than 8."),
        (
            4096,
            64,
            256,
            "One by one: 39 million operations a forward pass are more than 5 million.",
        ),
    ],
)
def test_it_says_where_it_does_not_pay(data, width, batch_size, members, says):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    data = digits()
    found = together.pays(
        model, data, Recipe(loss="squared_error", lr=0.1, steps=1, batch_size=batch_size), members
    )
    assert found.sentence == says
    assert found.pays == says.startswith("Together")
    model.append(nn.BatchNorm1d(10))
    found = together.pays(model, data, Recipe(loss="squared_error", lr=0.1, steps=1), members)
    assert found.sentence == "One by one: a BatchNorm1d has random or running state."
