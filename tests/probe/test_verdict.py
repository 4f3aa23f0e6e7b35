"""From a history to words."""

import dataclasses
import re

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
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
        (change(0.5, 0.4, 0.6) | {"loss": 72.4}, "unstable", "grew to 72.4 times its first"),
        (change(0.5, 0.4, 0.6) | {"loss": 4.93e13}, "unstable", "grew to 49.3 trillion times"),
        (change(0.5, 0.4, 0.6) | {"loss": np.nan}, "unstable", "From step 10 on the loss"),
        (change(0.5, 0.4, 0.6) | {"loss": np.inf}, "unstable", "diverged"),
        (change(np.nan, np.nan, np.nan), "cannot tell", "could not be measured at the last step"),
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
    assert "below the threshold 0.3" in judge(seen, Thresholds(turned_from=0.3)).sentence
    with pytest.raises(InputError, match=r"`rich_from` must be a positive number, got -1\.0"):
        Thresholds(rich_from=-1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Thresholds().rich_from = 2


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_one_measurement_cannot_tell_of_the_network_nor_of_a_layer(step, moved):
    once = history(change(0.5, 0.4, 0.6) | {"weight_movement": moved}).isel(step=[step])
    for seen in (once, once.fillna({"weight_movement": moved})):
        verdict = judge(seen)
        assert "Only one measurement" in verdict.sentence
        assert [verdict.regime, *(layer.regime for layer in verdict.layers)] == ["cannot tell"] * 2
        assert "frozen" not in str(verdict)
        assert "no mechanism" not in str(verdict)
    none = judge(once.isel(step=[]))
    assert (none.regime, none.layers[0].regime) == ("cannot tell", "cannot tell")
    assert "Nothing was measured" in none.sentence


def test_a_probe_that_measured_once_claims_nothing():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    probe = Probe(model, (randn(9, 3), randn(9, 1)))
    probe.measure(0)
    verdict = probe.verdict()
    assert [verdict.regime, *(layer.regime for layer in verdict.layers)] == ["cannot tell"] * 3


def test_no_kernel_cannot_tell():
    seen = history(change(0.5, 0.4, 0.6))
    bare = seen.drop_vars([name for name in seen if str(name).startswith("ntk_change")])
    assert judge(bare).regime == "cannot tell"
    assert "was not measured" in judge(bare).sentence


SMALLEST = {"loss": 1.0, "output_change": 0.0, "weight_movement": 0.0, **change(0.0, 0.0, 0.0)}


@pytest.mark.parametrize("measured", [{*SMALLEST}, {"loss"}, {"ntk_change"}, {"weight_movement"}])
@pytest.mark.parametrize("by", [0.0, 1e-9])
def test_what_did_not_move_is_frozen_whatever_was_measured(measured, by):
    last = {name: value + by for name, value in SMALLEST.items()}
    seen = history(dict(last))
    seen = seen.drop_vars([name for name in seen if not str(name).startswith(tuple(measured))])
    verdict = judge(seen)
    assert verdict.regime == "frozen"
    assert "Nothing that was measured moved" in verdict.sentence
    for name in set(measured) - {"ntk_change_low"}:  # and what moved is not said to stand still
        moved = judge(history(last | {name: SMALLEST[name] + 1e-3}))
        assert "Nothing that was measured" not in moved.sentence


def test_a_loss_that_was_not_measured_did_not_diverge():
    """Only the row of a network that is not finite has the loss alone, and no number."""
    rows = [change(0.0, 0.0, 0.0), change(0.5, 0.4, 0.6) | {"kernel_distance": 0.2}]
    unmeasured = as_dataset([0, 10], rows, ["0"], "mse", {"samples": 32})
    assert judge(unmeasured).regime == "rich"
    lost = as_dataset([0, 10, 20], [*rows, {"loss": np.nan}], ["0"], "mse", {"samples": 32})
    verdict = judge(lost)
    assert verdict.regime == "unstable"
    assert "From step 20 on" in verdict.sentence
    torch.manual_seed(0)
    x, model = randn(9, 3), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    probe = Probe(model, (x, x[:, :1]), observables=["ntk_change"])
    probe.measure(0)
    with torch.no_grad():
        model[0].weight.mul_(2)
    probe.measure(1)
    assert probe.verdict().regime == "rich"


def test_a_loss_that_was_lost_and_came_back_is_not_lost_for_good():
    rows = [{"loss": value, **change(0.5, 0.4, 0.6)} for value in (1.0, np.inf, 0.5)]
    seen = as_dataset([0, 10, 20], rows, ["0"], "mse", {"samples": 32})
    assert judge(seen).sentence == "At step 10 the loss or a gradient was not a finite number."
    once = judge(seen.isel(step=[1]))
    assert once.regime == "unstable"
    assert "diverged" not in once.sentence


@pytest.mark.parametrize(("first", "last"), [(-1.0, -3.0), (-1.0, 5.0), (0.0, 5.0)])
def test_a_loss_without_a_positive_start_has_no_multiples(first, last):
    seen = history(change(0.5, 0.4, 0.6))
    seen["loss"] = "step", [first, last]
    verdict = judge(seen)
    assert np.isnan(verdict.evidence["loss_ratio"])
    assert verdict.regime == "rich"
    assert "times its first value" not in verdict.sentence


def test_a_change_without_an_interval_is_on_no_side():
    verdict = judge(history(change(0.5, np.nan, np.nan)))
    assert verdict.regime == "cannot tell"
    assert "changed by 0.5 of its size, with an uncertainty that was not measured" in str(verdict)
    assert "nan" not in str(verdict)
    assert "holds the threshold" not in str(verdict)


@pytest.mark.parametrize("seed", range(200))
def test_how_a_kernel_turned_against_the_kernels_themselves(seed):
    """Where the words name the larger part of its change, or leave it open, they are right."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((2, 5, 5))
    start = factors[0] @ factors[0].T
    later = rng.uniform(0.5, 2.5) * start + rng.uniform(0, 0.6) * factors[1] @ factors[1].T
    cosine = (start * later).sum() / np.linalg.norm(start) / np.linalg.norm(later)
    moved = (later - start) / np.linalg.norm(start)
    along = (moved * start).sum() / np.linalg.norm(start)
    across = np.sqrt(max(0, (moved**2).sum() - along**2))
    last = change(np.linalg.norm(moved), 0.2, 9.0) | {"kernel_distance": 1 - cosine}
    sentence = judge(history(last)).sentence
    assert ("and turned: features were learned" in sentence) == (1 - cosine >= 0.05)
    if "mostly in size, not direction" in sentence:
        assert abs(along) >= across * (1 - 1e-9)
    elif 1 - cosine < 0.05:
        assert "below the threshold 0.05" in sentence


def test_what_was_not_measured_is_not_said():
    seen = history(change(0.5, 0.4, 0.6) | {"kernel_distance": np.nan})
    assert "whether it turned was not measured" in judge(seen).sentence
    assert "mechanism" not in str(judge(seen))
    worse = judge(history(change(0.5, 0.4, 0.6) | {"loss": 1.3})).sentence
    assert "features changed, but the loss did not fall" in worse
    assert "learned" not in worse
    off = judge(history(change(0.03, 0.02, 0.04) | {"linearisation_error": 0.95}))
    assert off.regime == "lazy"
    assert "its linearisation misses 0.95 of the change of the output" in off.sentence
    assert "acts like" not in off.sentence
    near = judge(history(change(0.03, 0.02, 0.04) | {"linearisation_error": 0.05}))
    assert "acts like its linearisation" in near.sentence


@given(st.floats(0.11, 1e30), st.floats(1e-300, 1e-2), st.floats(2.1, 1e300))
def test_sentences_hold_no_number_of_a_computer(large, small, ratio):
    rows = [
        change(large, 0.1, large),
        change(small, 0.0, small) | {"output_change": small},
        change(small, 0.0, large),
        {"loss": ratio},
    ]
    for last in rows:
        seen = history(dict(change(0.5, 0.4, 0.6) | last), samples=32)
        assert not re.search(r"\de[+-]?\d|nan|inf\b", str(judge(seen)))


def test_few_samples_and_the_probes_notes_are_said():
    verdict = judge(history(change(0.5, 0.4, 0.6), notes="Measured in eval mode: dropout is off."))
    assert verdict.notes == ("Measured in eval mode: dropout is off.",)
    few = judge(history(change(0.5, 0.4, 0.6)).assign_attrs(samples=3))
    assert "Measured on 3 samples" in str(few)
    one = judge(history(change(0.5, 0.4, 0.6)).assign_attrs(samples=1))
    assert "Measured on 1 sample:" in str(one)


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
    assert "with an uncertainty that was not measured. Measure on more" in verdict.sentence


def test_a_loaded_history_gives_the_same_verdict(tmp_path):
    probe = trained(0.05)
    probe.save(tmp_path / "h.nc")
    assert str(judge(xr.load_dataset(tmp_path / "h.nc"))) == str(probe.verdict())
