"""From a history to words."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich
from lazyrich import InputError, Probe, Thresholds
from lazyrich.numerics.windows import windows
from lazyrich.probe.history import as_dataset
from lazyrich.probe.verdict import judge
from lazyrich.theory import two_layer_linear as linear
from tests.models import randn


def history(last, **attrs):
    """Two measurements of a network with one layer, the second one given."""
    first = {"loss": 1.0, "ntk_change": 0.0, "ntk_change_low": 0.0, "ntk_change_high": 0.0}
    by_layer = {
        "layer_ntk_change": 0.3,
        "layer_ntk_change_low": 0.2,
        "layer_ntk_change_high": 0.4,
        "weight_movement": 0.1,
    }
    layers = {name: {"0": last.pop(name, value)} for name, value in by_layer.items()}
    second = {"loss": 0.1, "kernel_distance": 0.2, "output_change": 0.9, **layers, **last}
    return as_dataset([0, 10], [first, second], ["0"], "mse", {"samples": 32, **attrs})


def change(value, low, high):
    return {"ntk_change": value, "ntk_change_low": low, "ntk_change_high": high}


@pytest.mark.parametrize(
    ("last", "regime", "words"),
    [
        (change(0.5, 0.4, 0.6), "rich", "turned: features were learned"),
        (change(0.5, 0.4, 0.6) | {"kernel_distance": 0.01}, "rich", "size, not direction"),
        (change(645.2, 99.4, 712.0), "rich", "changed by 645 of its size (99 to 712)"),
        (change(0.03, 0.02, 0.04), "lazy", "acts like its linearisation"),
        (change(0.11, 0.08, 0.13), "cannot tell", "holds the threshold 0.1"),
        (change(0.03, 0.02, 0.04) | {"output_change": 0.01}, "frozen", "0.01 of the distance"),
        (change(0.5, 0.4, 0.6) | {"output_change": 0.01}, "rich", "features"),
        (change(0.5, 0.4, 0.6) | {"loss": 2.5}, "unstable", "grew to 2.5 times"),
        (change(0.5, 0.4, 0.6) | {"loss": np.nan}, "unstable", "diverged"),
        (change(np.nan, np.nan, np.nan), "lazy", "changed by 0 of"),  # the last number known
    ],
)
def test_regime_of_the_network(last, regime, words):
    verdict = judge(history(dict(last)))
    assert verdict.regime == regime
    assert words in verdict.sentence
    assert str(verdict).startswith(f"{regime.capitalize()}. {verdict.sentence}")


@pytest.mark.parametrize(
    ("last", "regime"),
    [
        ({}, "rich"),
        ({"layer_ntk_change_low": 0.05}, "cannot tell"),
        ({"layer_ntk_change_low": 0.01, "layer_ntk_change_high": 0.05}, "lazy"),
        ({"weight_movement": 0.0}, "frozen"),
    ],
)
def test_regime_of_a_layer(last, regime):
    (layer,) = judge(history(change(0.5, 0.4, 0.6) | last)).layers
    assert layer.name == "0"
    assert layer.regime == regime
    assert (
        "of the kernel's norm" not in layer.sentence
    )  # a share that was not measured is not named
    assert layer.sentence.startswith(regime)


@pytest.mark.parametrize(
    ("network", "share", "regime"),
    [
        (change(0.03, 0.02, 0.04), 0.05, "lazy"),  # it changed, but carries little
        (change(0.03, 0.02, 0.04), 0.9, "rich"),  # others cancel it
        (change(0.03, 0.02, 0.04), 0.4, "cannot tell"),
        (change(0.5, 0.4, 0.6), 0.2, "lazy"),
        (change(0.5, 0.4, 0.6), 0.9, "rich"),
    ],
)
def test_a_layer_is_weighed_by_its_share_of_the_kernel(network, share, regime):
    seen = history(network | {"layer_ntk_share": {"0": share}})
    (layer,) = judge(seen).layers
    assert layer.regime == regime
    assert f"{share:.0%} of the kernel's norm" in layer.sentence


def test_a_rich_networks_layers_share_the_threshold():
    seen = history(change(0.5, 0.4, 0.6) | {"layer_ntk_share": {"0": 0.3}})
    three = seen.isel(layer=[0, 0, 0])
    assert [layer.regime for layer in judge(seen).layers] == ["cannot tell"]
    assert [layer.regime for layer in judge(three).layers] == ["rich"] * 3


def test_thresholds_decide():
    seen = history(change(0.5, 0.4, 0.6))
    assert judge(seen, Thresholds(rich_from=0.7)).regime == "lazy"
    assert judge(seen, Thresholds(rich_from=0.45)).regime == "cannot tell"
    assert judge(seen, Thresholds(turned_from=0.3)).sentence.endswith("not direction.")
    with pytest.raises(InputError, match=r"`rich_from` must be a positive number, got -1\.0"):
        Thresholds(rich_from=-1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Thresholds().rich_from = 2


def test_one_measurement_or_no_kernel_cannot_tell():
    seen = history(change(0.5, 0.4, 0.6))
    assert "Only one measurement" in judge(seen.isel(step=[1])).sentence
    bare = seen.drop_vars([name for name in seen if str(name).startswith("ntk_change")])
    assert judge(bare).regime == "cannot tell"
    assert "was not measured" in judge(bare).sentence


def test_few_samples_and_the_probes_notes_are_said():
    verdict = judge(history(change(0.5, 0.4, 0.6), notes="Measured in eval mode: dropout is off."))
    assert verdict.notes == ("Measured in eval mode: dropout is off.",)
    few = judge(history(change(0.5, 0.4, 0.6)).assign_attrs(samples=3))
    assert "Measured on 3 samples" in str(few)


@pytest.mark.parametrize(
    ("norms", "mean_ay", "acting"),
    [((1e-3, 2e-4, 1e-3), 1.0, "alignment"), ((4.0, 4.4, 5.0), 0.5, "disalignment")],
)
def test_windows_agree_with_those_of_the_theory(norms, mean_ay, acting):
    """One definition, while ζ keeps its sign: norms of activations have none."""
    uu, uw, ww = norms
    state = linear.LineState(uu=uu, uw=uw, ww=ww)
    network = linear.LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.04)
    data = linear.LineData(mean_aa=1.0, mean_ay=mean_ay, mean_yy=1.0)
    trajectory = linear.flow(state, network, data, np.linspace(0, 60, 121))
    exact = lazyrich.mechanisms(trajectory)
    log_norms = 0.5 * np.log((trajectory.uu * trajectory.ww).values)
    found = windows(
        trajectory.time.values,
        np.abs(trajectory.alignment.values),
        log_norms,
        alignment_threshold=0.1,
        rescaling_threshold=0.1,
    )
    assert [w.mechanism for w in found] == list(exact.mechanism[exact.mechanism_acts].values)
    assert [w.mechanism for w in found] == [acting, "rescaling"]
    for window in found:
        one = exact.sel(mechanism=window.mechanism)
        assert window.start == pytest.approx(float(one.window_start), rel=1e-12)
        assert window.stop == pytest.approx(float(one.window_stop), rel=1e-12)
        assert window.change == pytest.approx(float(one.mechanism_change), rel=1e-12)


def test_windows_of_still_and_broken_curves():
    steps, still = np.arange(4.0), np.full(4, 0.5)
    limits = {"alignment_threshold": 0.1, "rescaling_threshold": 0.1}
    assert windows(steps, still, still, **limits) == ()
    broken = np.array([0.1, np.nan, 0.9, 0.9])
    (found,) = windows(steps, broken, still, **limits)
    assert (found.start, found.stop) == pytest.approx((0.2, 1.8))
    assert windows(steps[:1], still[:1], still[:1], **limits) == ()


def trained(scale, steps=60, lr=0.01, width=64):
    """`f = α/√d Σ u tanh(w·x)`, centred; the learning rate follows α."""
    torch.manual_seed(0)
    hidden = nn.Linear(3, width, bias=False), nn.Tanh(), nn.Linear(width, 1, bias=False)
    model = nn.Sequential(*hidden).double()
    nn.init.normal_(model[0].weight)
    nn.init.normal_(model[2].weight, std=width**-0.5)
    centred = lazyrich.CentredOutput(model, scale)
    x = randn(24, 3)
    y = torch.sin(2 * x[:, :1])
    optimizer = torch.optim.SGD(model.parameters(), lr=lr / scale**2)
    probe = Probe(centred, (x, y))
    with probe.watch(optimizer, when=lazyrich.every(10)):
        for _ in range(steps):
            optimizer.zero_grad()
            (centred(x) - y).square().mean().backward()
            optimizer.step()
    return probe


@pytest.mark.parametrize(
    ("options", "regime"),
    [
        ({"scale": 0.05}, "rich"),
        ({"scale": 30.0}, "lazy"),
        ({"scale": 30.0, "lr": 1e-6}, "frozen"),
        ({"scale": 3.0, "lr": 1.0}, "unstable"),
    ],
)
def test_real_runs(options, regime):
    verdict = trained(**options).verdict()
    assert verdict.regime == regime
    assert verdict.interval == (
        verdict.evidence["ntk_change_low"],
        verdict.evidence["ntk_change_high"],
    )
    assert [layer.name for layer in verdict.layers] == ["network.0", "network.2"]
    table = verdict.table()
    assert list(table.layer) == ["network.0", "network.2"]
    assert list(table.regime) == [layer.regime for layer in verdict.layers]


def test_one_sample_has_no_interval_and_no_verdict():
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    probe = lazyrich.Probe(model, (randn(1, 3), randn(1, 1)))
    probe.measure(0)
    probe.measure(1)
    assert probe.verdict().regime == "frozen"  # nothing moved, whatever the sample
    with torch.no_grad():
        model[0].weight += 0.02
    probe.measure(2)
    verdict = probe.verdict()
    assert verdict.regime == "cannot tell"
    assert "without an interval: one sample gives none. Measure on more" in verdict.sentence


def test_a_loaded_history_gives_the_same_verdict(tmp_path):
    probe = trained(0.05)
    probe.save(tmp_path / "h.nc")
    assert str(judge(xr.load_dataset(tmp_path / "h.nc"))) == str(probe.verdict())
