"""Transfer: factors against known parametrisations, and what it leaves behind."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Muon
from torch.optim.lr_scheduler import LambdaLR

from lazyrich import InputError, transfer

G = torch.Generator().manual_seed(0)
X = torch.randn(32, 6, generator=G)
BATCH = (X, X[:, :2] * X[:, 1:3])
SIZES = {"small": 16, "large": 64}
WIDTHS = {"small": 64, "large": 512, "seeds": 2}


def mlp(width):
    return nn.Sequential(
        nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2)
    )


def adam(model, size):
    return Adam(model.parameters(), lr=0.01)


def factors(found, name="lr_factor"):
    return found.data[name].isel({found.axis: -1}).to_series()


class Residual(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return x + self.out(nn.functional.relu(self.up(self.norm(x))))


def deep(depth):
    blocks = [Residual() for _ in range(depth)]
    return nn.Sequential(nn.Linear(6, 16), *blocks, nn.LayerNorm(16), nn.Linear(16, 2))


@pytest.fixture(scope="module")
def found():
    return transfer(mlp, BATCH, optimizer=adam, **WIDTHS)


def test_the_first_steps_of_both_are_the_same_then(found):
    small, large = (found.data.isel(width=i) for i in (0, -1))
    for name in ("own_update", "flow_update"):
        sizes = [(one[name] ** 2).mean("seed") ** 0.5 for one in (small, large)]
        assert np.allclose(*sizes, rtol=0.02)
    before = large.own_update_before.mean("seed") / small.own_update.mean("seed")
    assert before.sel(parameter="2.weight") > 6  # n times as many signs add up
    assert "agree within" in found.notes[0]


def test_adam_needs_the_rates_of_mup(found):
    """Hidden matrices and readout fall with the width, the rest stays: to finite-width effects."""
    lr, table = factors(found), factors(found, "mup_lr_factor")
    assert table.to_dict() == {
        "0.weight": 1, "0.bias": 1, "2.weight": 1 / 8, "2.bias": 1, "4.weight": 1 / 8, "4.bias": 1,
    }  # fmt: skip
    assert lr["2.weight"] == pytest.approx(1 / 8, rel=0.25)
    assert all(lr[name] == pytest.approx(1, rel=0.2) for name in ("0.weight", "0.bias", "2.bias"))
    assert lr["4.weight"] < 0.5
    init = factors(found, "init_factor")
    assert init["4.weight"] == init["4.bias"] < 0.8
    assert set(init.drop(["4.weight", "4.bias"])) == {1}


class Attention(nn.Module):
    """One head, with biases; softmax does not see what a key's bias adds to all scores of a row."""

    def __init__(self, width):
        super().__init__()
        self.first, self.last = nn.Linear(6, width), nn.Linear(width, 2)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        h = self.first(x)
        scores = self.query(h) @ self.key(h).transpose(-1, -2) / h.shape[-1]
        return self.last(scores.softmax(-1) @ h)


def before_a_batch_norm(width):
    return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))


@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize(
    ("family", "silent"), [(Attention, "key.bias"), (before_a_batch_norm, "0.bias")]
)
def test_what_the_loss_does_not_depend_on_has_no_factor_and_no_part_in_the_match(
    kind, family, silent
):
    """Its gradient is rounding, which Adam makes full steps of and SGD leaves to chance."""
    batch = (X[:, None].expand(-1, 4, -1) + torch.arange(4)[:, None] / 4, BATCH[1][:, None])
    given = BATCH if family is before_a_batch_norm else batch
    made = {"optimizer": lambda model, _: kind(model.parameters(), lr=0.01)}
    found = transfer(
        family, given, lambda y, t: (y - t).square().mean(), small=16, large=64, seeds=2, **made
    )
    assert "agree within" in found.notes[0]
    assert factors(found)[silent] == 1
    assert (found.data.own_update.sel(parameter=silent) == 0).all()
    (told,) = (note for note in found.notes if silent in note)
    assert "the loss does not depend on" in told


@pytest.mark.parametrize("bias", [True, False])
def test_biases_of_pytorch_are_why_the_rate_of_a_readout_falls_less_than_the_table(bias):
    """They start as 1/√fan-in: features of the narrow network are larger, and so are its steps."""

    def relu(width):
        sizes = [(64, width), (width, width), (width, width)]
        hidden = [part for a, b in sizes for part in (nn.Linear(a, b, bias=bias), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(width, 10, bias=bias))

    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    given = (x, torch.arange(64) % 10)
    found = transfer(relu, given, "cross_entropy", small=32, large=256, optimizer=adam, seeds=3)
    against_table = factors(found)["6.weight"] / factors(found, "mup_lr_factor")["6.weight"]
    assert against_table > 1.25 if bias else against_table == pytest.approx(1, abs=0.2)


def test_what_transfers_already_gets_factors_of_one():
    """A family in maximal update parametrisation, by its definition: nothing is left to do."""

    def mean_field(width):
        model = mlp(width)
        with torch.no_grad():
            model[4].weight.normal_().div_(width)
            model[4].bias.zero_()
        return model

    def by_table(model, width):
        hidden = [model[2].weight, model[4].weight]
        rest = [model[0].weight, model[0].bias, model[2].bias, model[4].bias]
        return Adam([{"params": hidden, "lr": 1 / width}, {"params": rest, "lr": 0.01}])

    there = transfer(mean_field, BATCH, small=256, large=1024, optimizer=by_table, seeds=2)
    assert np.abs(np.log(factors(there))).max() < 0.25
    assert np.abs(np.log(factors(there, "init_factor"))).max() < 0.25


def test_a_ladder_spares_the_large_network_and_tells_exponents():
    def small_only(width):
        assert width <= 128, "the large network must not be built"
        return mlp(width)

    found = transfer(
        small_only, BATCH, small=32, large=2048, ladder=(64, 128), optimizer=adam, seeds=1
    )
    row = found.data.sel(parameter="2.weight")
    assert row.lr_factor_exponent_low < -1 < row.lr_factor_exponent_high
    got = found.factors(mlp(8)).lr["2.weight"]
    last = row.lr_factor.sel(width=128).item()
    assert got == pytest.approx(last * 16 ** row.lr_factor_exponent.item())
    assert found.factors(mlp(64), 64).lr["2.weight"] == pytest.approx(
        row.lr_factor.sel(width=64).item()
    )
    assert "Measured up to width 128" in str(found)
    (printed,) = (line for line in str(found).splitlines() if "2.weight" in line)
    assert printed.split()[2] == "0.0156"  # muP's at width 2048, beside ours there: 32/2048


def test_apply_leaves_ordinary_groups(found):
    torch.manual_seed(0)
    model = torch.compile(mlp(512))
    weights = [p.clone() for p in model.parameters()]
    optimizer = AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    found.apply(model, optimizer=optimizer)
    lr, init = factors(found), factors(found, "init_factor")
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for (name, p), old in zip(model._orig_mod.named_parameters(), weights, strict=True):
        group = groups.pop(id(p))
        assert group["lr"] == pytest.approx(0.01 * lr[name])
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.01 * 0.1)
        assert torch.allclose(p, old * init[name])
        assert "lr_factor" not in vars(p)
    assert not groups
    scheduler = LambdaLR(optimizer, lambda step: 0.5)
    twin = Adam(mlp(512).parameters())
    found.apply(mlp(512), optimizer=AdamW(mlp(512).parameters()))
    state = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(state)
    assert scheduler.get_last_lr()[0] == pytest.approx(0.5 * state["param_groups"][0]["initial_lr"])
    assert len(twin.param_groups) == 1


def test_a_second_transfer_is_refused_and_changes_nothing(found):
    model = mlp(512)
    optimizer = adam(model, 512)
    found.apply(model, optimizer=optimizer)
    weights = [p.clone() for p in model.parameters()]
    with pytest.raises(InputError, match="must not have been transferred over width yet"):
        found.apply(model, optimizer=optimizer)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), weights, strict=True))


def test_an_optimiser_that_has_begun_is_refused(found):
    model = mlp(512)
    optimizer = adam(model, 512)
    LambdaLR(optimizer, lambda step: 1.0)
    with pytest.raises(InputError, match="must come before the learning-rate scheduler"):
        found.apply(model, optimizer=optimizer)
    optimizer = adam(model, 512)
    model(X).sum().backward()
    optimizer.step()
    with pytest.raises(InputError, match="must come before the first step"):
        found.apply(model, optimizer=optimizer)
    with pytest.raises(InputError, match="of the family that was measured"):
        found.apply(nn.Linear(2, 2), optimizer=SGD(nn.Linear(2, 2).parameters(), lr=0.1))


def test_the_factors_of_one_size_are_not_for_another(found):
    for size, asked in ((64, None), (512, 64), (128, 64)):
        model = mlp(size)
        optimizer = adam(model, size)
        with pytest.raises(InputError, match="`model` must be of the size that the factors are"):
            found.apply(model, optimizer=optimizer, size=asked)
        assert len(optimizer.param_groups) == 1
    found.apply(model, optimizer=optimizer, size=128)  # one that was not measured


def test_a_warm_up_that_begins_at_0_counts_by_what_it_leads_to():
    def warming(model, size):
        optimizer = adam(model, size)
        LambdaLR(optimizer, lambda step: min(step / 10, 1.0))
        return optimizer

    given = {**SIZES, "seeds": 1}
    late, plain = (transfer(mlp, BATCH, optimizer=one, **given) for one in (warming, adam))
    assert factors(late).to_dict() == pytest.approx(factors(plain).to_dict())


def test_a_group_without_a_rate_is_frozen():
    def groups(m, _):
        return SGD(
            [{"params": m[0].parameters(), "lr": 0.0}, {"params": m[2:].parameters()}], lr=0.1
        )

    found = transfer(mlp, BATCH, optimizer=groups, **SIZES, seeds=1)
    assert any("0.weight, 0.bias, or only at a learning rate of 0" in n for n in found.notes)
    assert not any("alone in the small network" in note for note in found.notes)


def test_seeds_that_make_one_network_are_told():
    def fixed(width):
        torch.manual_seed(0)
        return mlp(width)

    for made in (fixed, {16: mlp(16), 64: mlp(64)}):
        found = transfer(made, BATCH, optimizer=adam, **SIZES, seeds=2)
        assert any("All seeds gave the same small network" in note for note in found.notes)
    found = transfer(mlp, BATCH, optimizer=adam, **SIZES, seeds=2)
    assert not any("All seeds" in note for note in found.notes)


def test_blocks_that_share_their_weights_are_no_width():
    class Shared(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.up, self.block, self.depth = nn.Linear(6, 8), nn.Linear(8, 8), depth

        def forward(self, x):
            h = self.up(x)
            for _ in range(self.depth):
                h = h + self.block(h).tanh()
            return h[:, :2]

    with pytest.raises(InputError, match="blocks that share their weights are one"):
        transfer(Shared, BATCH, optimizer=adam, small=2, large=8, seeds=1)


def test_blocks_are_scaled_as_one_over_the_depth():
    """What CompleteP derives: branches as 1/L, and no rate inside a block moves with the depth."""
    found = transfer(deep, BATCH, small=2, large=8, optimizer=adam, branches=("*.out",), seeds=4)
    assert found.axis == "depth"
    init, lr = factors(found, "init_factor"), factors(found)
    assert init["*.out.weight"] == pytest.approx(1 / 4, rel=0.3)
    assert lr["*.out.weight"] == pytest.approx(1 / 4, rel=0.3)
    assert lr["*.up.weight"] == pytest.approx(1, rel=0.2)
    model = deep(8)
    optimizer = adam(model, 8)
    found.apply(model, optimizer=optimizer)
    assert {len(group["params"]) for group in optimizer.param_groups} >= {8}


def test_depth_first_and_then_width():
    """The optimiser of the second transfer applies the first one, at every width."""

    def net(width, depth):
        blocks = [Residual(width) for _ in range(depth)]
        readout = nn.LayerNorm(width), nn.Linear(width, 2)
        return nn.Sequential(nn.Linear(6, width), nn.Sequential(*blocks), *readout)

    given = {"seeds": 1, "branches": ("1.*.out",)}
    deeper = transfer(lambda L: net(16, L), BATCH, small=1, large=3, optimizer=adam, **given)

    def deep_adam(model, width):
        optimizer = adam(model, width)
        deeper.apply(model, optimizer=optimizer)
        return optimizer

    wider = transfer(lambda n: net(n, 3), BATCH, small=16, large=64, optimizer=deep_adam, seeds=1)
    model = net(64, 3)
    before = model[1][2].out.weight.clone()
    optimizer = deep_adam(model, 64)
    wider.apply(model, optimizer=optimizer)
    name = "1.2.out.weight"
    deep, wide = deeper.factors(model), wider.factors(model)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    got = rates[id(model[1][2].out.weight)]
    assert got == pytest.approx(0.01 * deep.lr[name] * wide.lr[name])
    assert torch.allclose(model[1][2].out.weight, before * deep.init[name])
    with pytest.raises(InputError, match="transferred over depth yet"):
        deeper.apply(model, optimizer=optimizer)


def test_depth_without_branches_says_what_is_missing():
    found = transfer(deep, BATCH, small=1, large=2, optimizer=adam, seeds=1)
    assert any("No `branches` were named" in note for note in found.notes)


def test_muon_and_adam_together():
    def both(model, width):
        rest = [p for name, p in model.named_parameters() if name != "2.weight"]
        return Muon([model[2].weight], lr=0.02), Adam(rest, lr=0.01)

    found = transfer(mlp, BATCH, optimizer=both, seeds=2, small=64, large=256)
    assert factors(found)["2.weight"] == pytest.approx(1, rel=0.2)  # its step has a fixed norm
    assert np.isnan(factors(found, "mup_lr_factor")["2.weight"])
    model = mlp(256)
    found.apply(model, optimizer=both(model, 256))


def test_two_given_models_are_left_alone():
    models = {16: mlp(16), 64: mlp(64)}
    before = copy.deepcopy({size: model.state_dict() for size, model in models.items()})
    found = transfer(models, BATCH, small=16, large=64, optimizer=adam, seeds=1)
    assert 0.1 < factors(found)["2.weight"] < 0.5
    for size, model in models.items():
        assert all(
            torch.equal(value, before[size][key]) for key, value in model.state_dict().items()
        )
    with pytest.raises(InputError, match="must hold a model of every size"):
        transfer(models, BATCH, small=16, large=128, optimizer=adam)


class Tied(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, width), nn.Linear(width, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.hidden = nn.Linear(width, width)

    def forward(self, ids):
        return self.head(self.embedding(ids) + self.hidden(self.embedding(ids)).tanh())


def test_a_tied_readout_is_named_with_the_factor_that_it_lacks():
    ids = torch.randint(0, 11, (8, 4), generator=G)
    cross_entropy = lambda f, y: nn.functional.cross_entropy(f.flatten(0, 1), y.flatten())  # noqa: E731
    found = transfer(
        Tied, (ids, ids.roll(1, 1)), cross_entropy, small=16, large=128, optimizer=adam, seeds=2
    )
    assert any("`head` is a readout without a weight of its own" in note for note in found.notes)
    assert set(factors(found, "init_factor")) == {1}


def test_a_readout_that_starts_at_zero_needs_more_steps():
    def zero(width):
        model = mlp(width)
        nn.init.zeros_(model[4].weight)
        return model

    once = transfer(zero, BATCH, small=16, large=64, optimizer=adam, seeds=1)
    assert any("0.weight, 0.bias, 2.weight, 2.bias alone" in note for note in once.notes)
    more = transfer(zero, BATCH, small=16, large=64, optimizer=adam, seeds=1, steps=3)
    assert factors(more)["2.weight"] < 0.6
    assert not any("alone" in note for note in more.notes)


def test_frozen_parameters_are_named():
    readout = lambda model, width: Adam(model[4].parameters(), lr=0.01)  # noqa: E731
    found = transfer(mlp, BATCH, small=16, large=64, optimizer=readout, seeds=1)
    assert any("No optimiser owns 0.weight" in note for note in found.notes)
    assert factors(found)["2.weight"] == 1


def test_the_check_finds_features_at_every_width_only_with_the_factors(found):
    check = found.check(steps=3, seeds=1)
    exponent = check.data.feature_update_exponent.sel(layer="2").item()
    assert abs(exponent) < 0.15
    ladder = transfer(mlp, BATCH, small=8, large=2**30, ladder=(16, 24), optimizer=adam, seeds=1)
    assert ladder.check(steps=1, seeds=1).data.width.values.tolist() == [8, 16, 24]
    pair = transfer(mlp, BATCH, small=16, large=32, optimizer=adam, seeds=1)
    assert pair.check(steps=1, seeds=1).data.width.values.tolist() == [16, 24, 32]
    with pytest.raises(InputError, match="a family over widths"):
        transfer(deep, BATCH, small=1, large=2, optimizer=adam, seeds=1).check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"small": 64, "large": 64}, "1 ≤ small < large"),
        ({"small": 0, "large": 64}, "1 ≤ small < large"),
        ({"small": 16, "large": 64, "ladder": (32,)}, "at least 2 sizes above `small`"),
        ({"small": 16, "large": 64, "ladder": (32, 128)}, "up to `large` = 64"),
        ({"small": 16, "large": 64, "steps": 0}, "`steps` must be ≥ 1"),
        ({"small": 16, "large": 64, "rounds": 0}, "`rounds` must be ≥ 1"),
        ({"small": 1, "large": 2, "branches": "*.out"}, "`branches` must be a list or a tuple"),
        ({**SIZES, "optimizer": lambda model: adam(model, 1)}, "a function \\(model, size\\)"),
        ({**SIZES, "optimizer": lambda m, _: SGD(m.parameters(), lr=0)}, "a learning rate > 0"),
        ({**SIZES, "factory": lambda _: None}, "must make a torch.nn.Module of every size"),
        ({**SIZES, "factory": {16: mlp(16), 64: 3}}, "must make a torch.nn.Module of every size"),
    ],
)
def test_sizes_and_counts_are_checked(given, message):
    with pytest.raises(InputError, match=message):
        transfer(**{"factory": mlp, "batch": BATCH, "optimizer": adam, **given})


def test_width_and_depth_at_once_are_refused():
    def both(size):
        blocks = [Residual(8 * size) for _ in range(size)]
        return nn.Sequential(nn.Linear(6, 8 * size), *blocks, nn.Linear(8 * size, 2))

    with pytest.raises(InputError, match="transfer over depth first"):
        transfer(both, BATCH, small=1, large=2, optimizer=adam, seeds=1)
    with pytest.raises(InputError, match="`branches` must match layers"):
        transfer(deep, BATCH, small=1, large=2, optimizer=adam, seeds=1, branches=("*.nothing",))


def test_a_size_that_changes_nothing_is_refused():
    with pytest.raises(InputError, match="the same shapes at size 1 and 2"):
        transfer(lambda _: mlp(8), BATCH, small=1, large=2, optimizer=adam, seeds=1)


def test_a_model_is_no_factory():
    with pytest.raises(InputError, match="`factory` must be a function that makes the model"):
        transfer(mlp(16), BATCH, small=16, large=64, optimizer=adam)


def _one_group_only(model, size):
    return LBFGS(model.parameters())


def _overlapping(model, size):
    return SGD(model[0].parameters(), lr=0.1), SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_one_group_only, "a learning rate for every parameter, got LBFGS"),
        (_overlapping, "must share the parameters out, got some that more than one owns"),
    ],
)
def test_what_is_no_optimiser_with_rates_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        transfer(mlp, BATCH, small=16, large=64, optimizer=given, seeds=1)


def test_a_frozen_readout_is_told():
    def frozen(width):
        model = mlp(width)
        model[4].requires_grad_(False)
        return model

    hidden = lambda model, width: Adam(model[:4].parameters(), lr=0.01)  # noqa: E731
    found = transfer(frozen, BATCH, small=16, large=64, optimizer=hidden, seeds=1)
    assert any("No layer that is trained has inputs that grow" in note for note in found.notes)


class Bare(nn.Module):
    """Parameters of the model itself: nobody says which of them are inputs and which readouts."""

    def __init__(self, width):
        super().__init__()
        self.w = nn.Parameter(torch.randn(width, 6))
        self.u = nn.Parameter(torch.randn(2, width) / width**0.5)

    def forward(self, x):
        return torch.tanh(x @ self.w.T) @ self.u.T


def test_the_table_of_mup_is_silent_where_roles_are_unknown():
    found = transfer(Bare, BATCH, small=16, large=64, optimizer=adam, seeds=1)
    assert np.isnan(factors(found, "mup_lr_factor")).all()


def test_what_stands_still_in_one_network_alone_is_no_agreement():
    """All hidden neurons of the large network are dead; its first layers have nothing to match."""

    def dying(width):
        model = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))
        if width > 16:
            nn.init.constant_(model[0].bias, -100.0)
        return model

    found = transfer(dying, BATCH, small=16, large=64, optimizer=adam, seeds=1)
    assert not any("agree within" in note for note in found.notes)
    assert "0.weight, 0.bias, 2.weight move in the small network or in that of" in found.notes[0]
