"""Outputs, targets and rate scaled together are the same training, in any units of float32."""

import functools

import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich
from lazyrich.observables.catalogue import observables

SCALES = (1e-12, 3e-12, 1e-6, 1e9)
EVERY = [name for observable in observables() for name in observable.names]


class Scaled(nn.Module):
    """c times a network with a norm, and with a parameter that no layer explains."""

    def __init__(self, scale, outputs, width=32):
        super().__init__()
        self.scale = scale
        self.lower = nn.Sequential(nn.Linear(3, width), nn.LayerNorm(width), nn.Tanh())
        self.shift = nn.Parameter(torch.randn(width) / 4)
        self.upper = nn.Linear(width, outputs)

    def forward(self, x):
        return self.scale * self.upper(self.lower(x) + self.shift)


def batch(scale, outputs):
    x = torch.randn(24, 3)
    y = torch.stack([x[:, i % 3] * x[:, (i + 1) % 3] for i in range(outputs)], 1)
    return x, y * scale


def training(scale, outputs):
    torch.manual_seed(0)
    data, net = batch(scale, outputs), Scaled(scale, outputs)
    return net, data, torch.optim.SGD(net.parameters(), lr=0.1 / scale**2)


@functools.cache
def watched(scale, outputs, directions):
    net, (x, y), optimizer = training(scale, outputs)
    probe = lazyrich.Probe(net, (x, y), observables=EVERY, directions=directions)
    with probe.watch(optimizer, when=lazyrich.every(20)):
        for _ in range(40):
            optimizer.zero_grad()
            (net(x) - y).square().mean().backward()
            optimizer.step()
    history = probe.history
    return probe.verdict().regime, history.assign(loss=history.loss / history.loss[0])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("outputs", "directions"), [(1, 2), (9, 2), (3, "all")])
def test_every_quantity_and_the_verdict_stay(scale, outputs, directions):
    regime, found = watched(scale, outputs, directions)
    expected_regime, expected = watched(1.0, outputs, directions)
    assert regime == expected_regime
    assert expected.ntk_change[-1] > 0.05
    with_units = {  # outputs over features; the rates that were given
        "gradient_norm": found.gradient_norm / scale,
        "layer_lr": found.layer_lr * scale**2,
    }
    if "gradient_norm_stderr" in found:
        with_units["gradient_norm_stderr"] = found.gradient_norm_stderr / scale
    xr.testing.assert_allclose(found.assign(with_units), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("outputs", [1, 9])
def test_so_do_forecast_ansatz_and_kernel(scale, outputs):
    def numbers(c):
        net, (x, y), optimizer = training(c, outputs)
        start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        forecast = lazyrich.forecast(net, (x, y), optimizer=optimizer)
        with torch.no_grad():
            net.lower[0].weight.mul_(1.3).add_(0.1)
        rows = [
            lazyrich.nfa(net, x, start, directions=d, correlation=kind)
            for d in (2, "all")
            for kind in ("cosine", "pearson")
        ]
        rows.append(lazyrich.initial_cnfa(net, (x, y)))
        values = [v.item() for row in rows for v in row.to_array().values.ravel()]
        values += [forecast.richness, forecast.time_to_fit, forecast.predicted_ntk_change]
        kernel = lazyrich.ntk(net, x).double() / c**2
        return torch.cat([torch.tensor(values, dtype=torch.float64), kernel.flatten()])

    torch.testing.assert_close(numbers(scale), numbers(1.0), rtol=2e-3, atol=1e-5, equal_nan=True)


@functools.cache
def checked_and_dialled(c):
    """The phase and the numbers of a check and of a dial, in units of the scale."""
    torch.manual_seed(0)
    data = batch(c, 1)
    check = lazyrich.coordinate_check(
        lambda width: Scaled(c, 1, width),
        data,
        widths=(16, 32, 64),
        optimizer=0.05 / c**2,
        seeds=2,
        kernel=True,
    )
    net, data, optimizer = training(c, 1)
    dialled = lazyrich.dial(net, data, optimizer=optimizer, richness=0.5, equal_speed=True)
    rates = [group["lr"] * c**2 for group in optimizer.param_groups]
    found = check.data[["ntk_change", "richness", "progress"]]
    return check.phase, [
        dialled.output_scale,
        *rates,
        *(float(x) for v in found.values() for x in v.values.ravel()),
    ]


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_so_do_the_coordinate_check_and_the_dial(scale):
    (phase, found), (expected_phase, expected) = map(checked_and_dialled, (scale, 1.0))
    assert phase == expected_phase
    assert found == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_a_centred_output_and_a_coupled_batch_are_told_apart_in_any_unit(scale):
    net, (x, _), _ = training(scale, 1)
    lazyrich.ntk(lazyrich.CentredOutput(net, output_scale=100.0), x)  # f = 0 up to rounding

    class Coupled(Scaled):
        def forward(self, x):
            f = super().forward(x)
            return f - f.mean(0)

    def kernel(kind, scale):
        torch.manual_seed(0)
        return lazyrich.ntk(kind(scale, 1), x).squeeze().double() / scale**2

    found, expected = kernel(Coupled, scale), kernel(Coupled, 1.0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    centred = torch.eye(len(x), dtype=torch.float64) - 1 / len(x)
    by_hand = centred @ kernel(Scaled, 1.0) @ centred  # the Jacobian of all samples together
    torch.testing.assert_close(found, by_hand, rtol=1e-3, atol=1e-4 * float(by_hand.max()))


def test_a_run_on_its_way_to_infinity_ends_in_words():
    """Squares of its gradients have no double any more, though its outputs do."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)).double()
    x = torch.randn(8, 3, dtype=torch.float64)
    probe = lazyrich.Probe(model, (x, x[:, :1]))
    probe.measure(0)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e60)
    probe.measure(1)
    assert probe.verdict().regime == "unstable"
    assert "too large for a double" in probe.history.notes
