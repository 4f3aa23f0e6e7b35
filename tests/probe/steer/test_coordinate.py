"""The coordinate check against the width exponents of the theory, and what it concludes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from docs.vocabulary import vocabulary
from torch import Tensor, nn
from torch.optim import SGD, Adam

from lazyrich import InputError, coordinate_check

G = torch.Generator().manual_seed(0)
X = torch.randn(8, 2, generator=G)
Y = X[:, :1]
WIDTHS = (64, 512, 4096)


class TwoLayers(nn.Module):
    """f(x) = γ u·φ(W x), γ = width^a, variances width^s: the families of the phase diagram."""

    def __init__(self, width: int, a: float, s_u: float, s_w: float, linear: bool = True) -> None:
        super().__init__()
        self.w, self.u = nn.Linear(2, width, bias=False), nn.Linear(width, 1, bias=False)
        self.scale, self.act = width**a, nn.Identity() if linear else nn.Tanh()
        nn.init.normal_(self.w.weight, std=(width**s_w / 2) ** 0.5)
        nn.init.normal_(self.u.weight, std=width ** (s_u / 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.u(self.act(self.w(x)))


def standard(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )


def rate(constant: float, power: float) -> Callable[[nn.Module, int], SGD]:
    return lambda model, width: SGD(model.parameters(), lr=constant * width**power)


# γ = d^a, η = c d^e (both layers), variances d^s: k = 2a + 1 + e + max(s), b = a + e; a growing
# initial output, exponent o = a + ½ + Σs/2, is the way to go itself: ρ ~ b − k + max(o, 0)
FAMILIES = {
    # name: (a, s_u, s_w, c, e, phase)
    "NTK": (-0.5, 0, 0, 0.1, 0, "kernel"),
    "NTK, slow": (-0.5, 0, 0, 1.0, -1, "frozen"),
    "NTK, fast": (-0.5, 0, 0, 0.01, 1, "unstable"),
    "mean-field": (-1, 0, 0, 0.1, 1, "feature"),
    "Kaiming": (0, -1, 0, 0.5, -1, "kernel"),
    "Xavier": (1, -1, -1, 0.1, -2, "kernel"),
    "Xavier+": (0, -1, -1, 0.05, 0, "feature"),
}


@pytest.mark.parametrize(
    ("name", "linear", "kernel"),
    [
        *((name, True, True) for name in FAMILIES),
        ("NTK", False, True),
        ("mean-field", False, True),
        *((name, True, False) for name in ("NTK, slow", "NTK, fast", "Kaiming", "Xavier+")),
        ("NTK", False, False),
        ("mean-field", False, False),
    ],
)
def test_finds_the_phase_and_the_exponents_that_the_theory_says(name, linear, kernel):
    a, s_u, s_w, c, e, phase = FAMILIES[name]
    check = coordinate_check(
        lambda width: TwoLayers(width, a, s_u, s_w, linear),
        (X, Y),
        widths=WIDTHS,
        directions=4,
        kernel=kernel,
        seeds=10 if kernel else 5,
        optimizer=rate(c, e),
    )
    b, k = a + e, 2 * a + 1 + e + max(s_u, s_w)
    o = a + 0.5 + (s_u + s_w) / 2
    truth = {
        "activation_size": s_w / 2,
        "output_size": o,
        "richness": b - k + max(o, 0),
        "progress": max(b, k),
    }
    estimate = check.data.sel(layer="w")
    assert ("richness" in estimate) == ("ntk_change" in estimate) == kernel
    for quantity, exponent in truth.items():
        if quantity not in estimate:
            continue
        if quantity == "progress" and phase == "unstable":
            continue  # it overflows or saturates
        assert estimate[f"{quantity}_exponent"].item() == pytest.approx(exponent, abs=0.2), quantity
    assert check.phase == phase, check.sentence
    assert check.sentence.lower().startswith(phase)
    assert ("initial output itself" in check.sentence) == (o > 0)


@pytest.mark.parametrize(
    ("power", "phase"), [(0, "unstable"), (-1, "kernel"), (-2, "frozen")], ids=str
)
def test_standard_parametrisation_with_a_rate_that_follows_the_width(power, phase):
    constant = {0: 0.1, -1: 1.0, -2: 5.0}[power]
    check = coordinate_check(
        standard,
        (X, Y),
        widths=(32, 128, 512),
        seeds=4,
        directions=2,
        optimizer=rate(constant, power),
    )
    assert check.phase == phase, check.sentence


def test_adam_with_rate_one_over_width_is_lazy_in_standard_parametrisation():
    check = coordinate_check(
        standard,
        (X, Y),
        widths=(32, 128, 512),
        seeds=4,
        directions=2,
        optimizer=lambda model, width: Adam(model.parameters(), lr=0.3 / width),
    )
    assert check.phase == "kernel", check.sentence


def test_says_when_it_cannot_tell():
    everywhere = coordinate_check(standard, (X, Y), widths=(32, 64, 128), optimizer=50.0, seeds=2)
    assert everywhere.phase == "cannot tell"
    assert "raises the loss at the smallest width 32 already" in everywhere.sentence
    few = coordinate_check(
        lambda width: TwoLayers(width, -0.5, 0, 0), (X, Y), widths=(10, 11, 12), optimizer=0.1
    )
    assert few.phase == "cannot tell"
    assert "a wider range of widths" in few.sentence
    # constants so lazy that the change's random part rules at these widths, though ρ stays
    contradiction = coordinate_check(
        lambda width: TwoLayers(width, -1, 0, 0, linear=False).apply(_louder),
        (X, Y),
        widths=(32, 128, 512, 2048),
        directions=4,
        kernel=True,
        optimizer=rate(0.0005, 1),
    )
    assert contradiction.phase == "cannot tell", contradiction.sentence
    assert contradiction.data.richness_exponent_high > -0.1
    assert contradiction.data.ntk_change_exponent_high < -0.1


def _louder(module: nn.Module) -> None:
    if isinstance(module, TwoLayers):
        module.scale *= 10


def test_table_and_words():
    check = coordinate_check(
        standard, (X, Y), widths=(8, 16, 32), optimizer=0.01, seeds=3, steps=2, confidence=0.8,
        kernel=True,
    )  # fmt: skip
    data = check.data
    assert dict(data.activation_size.sizes) == {"width": 3, "seed": 3, "layer": 3}
    assert data.ntk_change_exponent.sizes == {}
    for name in (
        *("activation_size", "feature_update", "output_size", "progress"),
        *("richness", "ntk_change", "hidden_update", "loss_ratio"),
    ):
        assert data[name].attrs == vocabulary()[name].attrs
        assert (data[name] >= 0).all()
    hidden = data.sel(layer="2")
    high = hidden.feature_update_exponent_high
    assert hidden.feature_update_exponent_low < hidden.feature_update_exponent < high
    rms = data.feature_update.attrs["long_name"]
    assert data.feature_update_exponent.attrs["long_name"] == f"width exponent of: {rms}"
    wider = coordinate_check(
        standard, (X, Y), widths=(8, 16, 32), optimizer=0.01, seeds=3, steps=2, confidence=0.99
    )
    assert wider.data.feature_update_exponent_high.sel(layer="2") > high
    assert data.attrs == {"phase": check.phase, "sentence": check.sentence}
    text = str(check)
    assert text.startswith(check.sentence)
    for word in ("whole network", "richness", "activation_size", "feature_update"):
        assert word in text


def test_reported_numbers_are_those_of_a_run_by_hand():
    torch.manual_seed(1)
    model = TwoLayers(16, 0, -1, -1)
    z, f = model.w(X), model(X)
    rms = [t.detach().square().mean().sqrt().item() for t in (z, f)]
    optimizer = SGD(model.parameters(), lr=0.05)
    first = (f - Y).square().mean()
    for _ in range(3):
        optimizer.zero_grad()
        loss = (model(X) - Y).square().mean()
        loss.backward()
        optimizer.step()
    check = coordinate_check(
        lambda width: TwoLayers(width, 0, -1, -1), (X, Y),
        widths=(16, 32, 64), optimizer=0.05, seeds=2, steps=3,
    )  # fmt: skip
    run = check.data.sel(width=16, seed=1)
    assert run.activation_size.sel(layer="w").item() == pytest.approx(rms[0], rel=1e-6)
    assert run.output_size.item() == pytest.approx(rms[1], rel=1e-6)
    moved = (model.w(X) - z).square().mean().sqrt().item()
    assert run.feature_update.sel(layer="w").item() == pytest.approx(moved, rel=1e-4)
    ratio = ((model(X) - Y).square().mean() / first).item()
    assert run.loss_ratio.item() == pytest.approx(ratio, rel=1e-4)
    assert run.hidden_update.item() == pytest.approx(moved / rms[0], rel=1e-4)


def test_the_random_state_stays():
    state = torch.get_rng_state()
    coordinate_check(standard, (X, Y), widths=(4, 8, 16), optimizer=0.01, seeds=2, steps=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_input_is_refused_with_a_sentence():
    def check(factory=standard, **changes):
        options = {"widths": (4, 8, 16), "optimizer": 0.1, "seeds": 1, "steps": 1}
        coordinate_check(factory, (X, Y), **{**options, **changes})

    with pytest.raises(
        InputError, match=r"at least 3 different positive widths .*got \(8, 8, 16\)"
    ):
        check(widths=(8, 8, 16))
    with pytest.raises(InputError, match="`steps` and `seeds` must be ≥ 1, got 0 and 1"):
        check(steps=0)
    with pytest.raises(InputError, match="`confidence` must lie between 0 and 1, got 1"):
        check(confidence=1.0)
    with pytest.raises(InputError, match="the same names at every width"):
        check(
            lambda width: nn.Sequential(*[nn.Linear(2, 2) for _ in range(width)], nn.Linear(2, 1))
        )


class Dropping(nn.Module):
    """Dropout that is on also in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x)


@pytest.mark.parametrize(
    "middle", [nn.Identity, nn.BatchNorm1d, lambda width: nn.Dropout(0.5), lambda width: Dropping()]
)
@pytest.mark.parametrize("make", [SGD, Adam])
def test_networks_that_do_not_train_are_frozen_at_every_width(middle, make):
    def network(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(2, width), middle(width), nn.ReLU(inplace=True), nn.Linear(width, 1)
        )

    def tiny(model: nn.Module, width: int) -> torch.optim.Optimizer:
        return make(model.parameters(), lr=1e-12)

    check = coordinate_check(
        network, (X, Y), widths=(8, 32, 128), optimizer=tiny, steps=20, seeds=2, kernel=True
    )
    assert check.phase == "frozen"
    assert "Frozen at every width: the output moved at most" in check.sentence
    assert check.data.feature_update.max() < 1e-6
    assert check.data.ntk_change.max() < 1e-5


def test_an_optimiser_that_evaluates_the_loss_itself() -> None:
    """L-BFGS: as in a loop by hand."""

    def lbfgs(model: nn.Module, _: int) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3)

    found = coordinate_check(standard, (X, Y), widths=(4, 8, 16), seeds=1, steps=2, optimizer=lbfgs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = standard(8)
    optimizer, first = lbfgs(model, 8), (model(X) - Y).square().mean().item()

    def again() -> Tensor:
        optimizer.zero_grad()
        loss = (model(X) - Y).square().mean()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(again)
    ratio = (model(X) - Y).square().mean().item() / first
    assert found.data.loss_ratio.sel(width=8).item() == pytest.approx(ratio, rel=1e-4)
    assert ratio < 0.9


def test_a_model_is_no_factory() -> None:
    with pytest.raises(InputError, match="`factory` must be a function that makes the model"):
        coordinate_check(nn.Linear(3, 1), (X, Y), widths=(4, 8, 16), optimizer=0.1)


class Routed(nn.Module):
    """Two experts; what the first layer says decides which samples go to which."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.first = nn.Linear(2, 1), nn.Linear(2, width)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.readout = nn.Linear(width, 1)
        nn.init.constant_(self.gate.bias, 0.02)
        nn.init.zeros_(self.gate.weight)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = torch.tanh(self.first(x)), self.gate(x)
        out = torch.zeros_like(h)
        for asked, expert in zip((gate, x), self.experts, strict=True):
            rows = (asked[:, 0] > 0).nonzero()[:, 0]
            if len(rows):
                out = out.index_add(0, rows, expert(h[rows]))
        return self.readout(out) + gate


@pytest.mark.parametrize("refined", [False, True])
def test_an_expert_that_is_asked_for_other_samples_has_no_update(refined: bool) -> None:
    found = coordinate_check(
        Routed, (X, Y), widths=(4, 8, 16), seeds=2, steps=3, refined=refined, optimizer=0.2
    ).data
    updates = found.feature_update.sel(layer="experts.0")
    assert updates.isnull().all()
    assert found.feature_update.sel(layer="experts.1").notnull().all()
    assert found.hidden_update.notnull().all()
    if refined:
        assert found.effective_update.sel(layer="experts.0").isnull().all()


def test_an_expert_that_nobody_asks_for_at_some_width_is_no_other_network() -> None:
    def idle(width: int) -> nn.Module:
        model = Routed(width)
        if width == 4:
            nn.init.constant_(model.gate.bias, -1.0)
        return model

    found = coordinate_check(idle, (X, Y), widths=(4, 8, 16), seeds=1, steps=1, optimizer=0.01).data
    sizes = found.activation_size.sel(layer="experts.0", seed=0)
    assert sizes.isnull().values.tolist() == [True, False, False]
    assert found.activation_size.drop_sel(layer="experts.0").notnull().all()
