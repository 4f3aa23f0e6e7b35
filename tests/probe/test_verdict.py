"""From a history to words."""

import dataclasses
import json
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
from lazyrich.vocabulary.numerals import in_words
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
    turned = dict.fromkeys(("kernel_distance", "centred_kernel_distance"), 0.2)
    second = {"loss": 0.1, **turned, "output_change": 0.9, **layers, **last}
    return as_dataset([0, 10], [first, second], ["0"], "mse", {"samples": 32, **attrs})


def change(value, low, high):
    return {"ntk_change": value, "ntk_change_low": low, "ntk_change_high": high}


RICH, MIDDLE, LAZY = change(2.0, 1.5, 2.5), change(0.5, 0.4, 0.6), change(0.03, 0.02, 0.04)
STRAIGHT = {"kernel_distance": 0.01, "centred_kernel_distance": 0.01}


@pytest.mark.parametrize(
    ("last", "regime", "words"),
    [
        (RICH, "rich", "(1.5 to 2.5), and turned: features were learned"),
        (RICH | STRAIGHT, "rich", "(1.5 to 2.5), mostly in size, not direction"),
        (change(645.2, 99.4, 712.0), "rich", "changed by 645 of its size (99 to 712)"),
        (MIDDLE, "intermediate", "(0.4 to 0.6), and turned: features changed."),
        (MIDDLE | STRAIGHT, "intermediate", "(0.4 to 0.6), mostly in size, not direction."),
        (LAZY, "lazy", "(0.02 to 0.04): by the kernel, features stayed."),
        (change(0.11, 0.08, 0.13), "cannot tell", "the threshold 0.1 between lazy and interm"),
        (change(0.95, 0.8, 1.0), "cannot tell", "threshold 1 between intermediate and rich"),
        (change(0.5, 0.05, 1.3), "cannot tell", "both thresholds, 0.1 and 1: it may be lazy, "),
        (LAZY | {"output_change": 0.01}, "frozen", "0.01 of the distance"),
        (MIDDLE | {"output_change": 0.01}, "intermediate", "features"),
        (RICH | {"loss": 2.5}, "unstable", "grew to 2.5 times"),
        (RICH | {"loss": 72.4}, "unstable", "grew to 72.4 times its first"),
        (RICH | {"loss": 4.93e13}, "unstable", "grew to 49.3 trillion times"),
        (RICH | {"loss": np.nan}, "unstable", "From step 10 on the loss"),
        (RICH | {"loss": np.inf}, "unstable", "diverged"),
        (change(np.nan, np.nan, np.nan), "cannot tell", "could not be measured at the last step"),
    ],
)
def test_regime_of_the_network(last, regime, words):
    verdict = judge(history(dict(last)))
    assert verdict.regime == regime
    assert words in verdict.sentence
    assert str(verdict).startswith(f"{regime.capitalize()}. {verdict.sentence}")


def test_the_ends_of_the_scale():
    """Lazy < 0.1 ≤ intermediate < 1 ≤ rich, as the forecast has it."""
    for value, word in (
        *((0.0999, "lazy"), (0.1, "intermediate"), (0.999, "intermediate"), (1.0, "rich")),
    ):
        seen = judge(history(change(value, value, value)))
        assert seen.regime == word
        assert f"{word.capitalize()}. " in str(seen)


@pytest.mark.parametrize("near", [0.0996, 0.09999, 0.1004, 0.996, 1.004, 0.1, 1.0])
def test_a_number_beside_a_threshold_does_not_read_as_it(near):
    exact = near in (0.1, 1.0)
    verdict = judge(history(change(near, near, near) | by_layer(near)))
    said = re.findall(r"changed by ([\d.]+)", str(verdict))
    assert len(said) == 2
    for text in said:
        assert (text in ("0.1", "1")) == exact
        word = judge(history(change(*[float(text)] * 3))).regime
        assert word == verdict.regime  # as it reads


def by_layer(own, low=None, high=None, **more):
    ends = {"": own, "_low": own if low is None else low, "_high": own if high is None else high}
    return {f"layer_ntk_change{end}": value for end, value in ends.items()} | more


@pytest.mark.parametrize(
    ("last", "regime", "start"),
    [
        (by_layer(0.3, 0.2, 0.4), "intermediate", "intermediate: its"),
        (by_layer(3.0, 2.0, 4.0), "rich", "rich: its"),
        (by_layer(0.03, 0.01, 0.05), "lazy", "lazy: its"),
        (by_layer(0.3, 0.05, 0.4), "cannot tell", "cannot tell, lazy or intermediate: its"),
        (by_layer(0.9, 0.5, 1.4), "cannot tell", "cannot tell, intermediate or rich: its"),
        (by_layer(0.9, 0.01, 9.0), "cannot tell", "cannot tell, lazy, intermediate or rich: its"),
        (by_layer(np.nan), "cannot tell", "cannot tell."),
        (by_layer(0.3, np.nan, np.nan), "cannot tell", "cannot tell: its"),
        (by_layer(0.3, weight_movement=0.0), "frozen", "frozen: its"),
    ],
)
def test_regime_of_a_layer(last, regime, start):
    (layer,) = judge(history(RICH | last)).layers
    assert layer.name == "0"
    assert layer.regime == regime
    assert layer.sentence.startswith(start)
    assert (
        "of the kernel's norm" not in layer.sentence
    )  # a share that was not measured is not named
    assert "too little" not in layer.sentence


@pytest.mark.parametrize(
    ("network", "share", "own", "regime"),
    [
        (LAZY, 0.05, 0.3, "lazy"),  # it changed, but carries little
        (LAZY, 0.9, 0.3, "intermediate"),  # others cancel it
        (LAZY, 0.4, 0.3, "cannot tell"),
        (MIDDLE, 0.2, 0.3, "lazy"),
        (MIDDLE, 0.9, 0.3, "intermediate"),
        (RICH, 0.9, 3.0, "rich"),
        (RICH, 0.02, 3.0, "lazy"),
        (RICH, 0.034, 3.0, "cannot tell"),
        (RICH, 0.9, 0.03, "lazy"),  # by its own change
    ],
)
def test_a_layer_is_weighed_by_its_share_of_the_kernel(network, share, own, regime):
    around = by_layer(own, own * 2 / 3, own * 4 / 3)
    seen = history(network | around | {"layer_ntk_share": {"0": share}})
    (layer,) = judge(seen).layers
    assert layer.regime == regime
    assert f"{share:.0%} of the kernel's norm" in layer.sentence
    little = "too little of the whole to matter" in layer.sentence
    assert little == (regime == "lazy" and own > 0.1)


def test_a_small_share_is_not_called_none():
    seen = history(LAZY | by_layer(0.3, 0.2, 0.4) | {"layer_ntk_share": {"0": 0.004}})
    assert "under 1% of the kernel's norm" in judge(seen).layers[0].sentence


def test_layers_share_the_threshold_unless_the_network_is_lazy():
    for network, words in ((MIDDLE, ["intermediate"] * 3), (LAZY, ["cannot tell"] * 3)):
        seen = history(network | {"layer_ntk_share": {"0": 0.3}})
        assert [layer.regime for layer in judge(seen).layers] == ["cannot tell"]
        three = seen.isel(layer=[0, 0, 0])
        assert [layer.regime for layer in judge(three).layers] == words


@given(st.lists(st.floats(0, 5), min_size=1, max_size=6), st.integers(0, 2**16))
def test_layers_without_enough_leave_the_network_lazy(changes, seed):
    """Were every layer below its part of the threshold, the whole would be below the threshold."""
    rng, n = np.random.default_rng(seed), len(changes)
    start = [x @ x.T for x in rng.standard_normal((n, 4, 3))]
    moved = [rng.standard_normal((4, 4)) for _ in changes]
    whole = np.linalg.norm(sum(start))
    parts = [
        c * 0.1 / n / 5 * whole * m / np.linalg.norm(m) for c, m in zip(changes, moved, strict=True)
    ]
    assert all(np.linalg.norm(p) <= 0.1 / n * whole * (1 + 1e-9) for p in parts)
    assert np.linalg.norm(sum(parts)) <= 0.1 * whole * (1 + 1e-9)


def test_thresholds_decide():
    seen = history(dict(MIDDLE))
    assert judge(seen, Thresholds(lazy_below=0.7)).regime == "lazy"
    assert judge(seen, Thresholds(lazy_below=0.45)).regime == "cannot tell"
    assert judge(seen, Thresholds(rich_from=0.4)).regime == "rich"
    assert "contains the threshold 0.5 between intermediate and rich" in str(
        judge(seen, Thresholds(rich_from=0.5))
    )
    assert "below the threshold 0.3" in judge(seen, Thresholds(turned_from=0.3)).sentence
    with pytest.raises(InputError, match=r"`rich_from` must be a positive number, got -1\.0"):
        Thresholds(rich_from=-1.0)
    for low, high in ((1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(
            InputError, match=rf"`lazy_below` must be below `rich_from`, got {low:g} and {high:g}\."
        ):
            Thresholds(lazy_below=low, rich_from=high)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Thresholds().rich_from = 2


@pytest.mark.parametrize("once", [0.02, 0.1, 0.4])
def test_a_history_with_one_threshold_is_read(once):
    """Version 0.2 called rich what is now intermediate or rich; lazy stays lazy."""
    setting = {"thresholds": {"rich_from": once, "turned_from": 0.3, "frozen_below": 0.05}}
    for factor, regime in ((0.5, "lazy"), (2, "intermediate"), (11, "rich")):
        last = change(*[factor * once] * 3)
        old = judge(history(last, setting=json.dumps(setting)))
        assert old.regime == regime
        assert old.thresholds.lazy_below == once
        assert old.thresholds.rich_from == pytest.approx(10 * once)
        assert old.thresholds.turned_from == 0.3
        assert f"one threshold, {once:g}, separated lazy from rich" in str(old)
        new = history(last, setting=json.dumps({"thresholds": dataclasses.asdict(Thresholds())}))
        assert "one threshold" not in str(judge(new))
        assert "one threshold" not in str(judge(history(last)))
    with pytest.raises(InputError, match="as the probe wrote it"):
        judge(history(last, setting=json.dumps({"thresholds": {"rich_from": "high"}})))


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((1.0, 0.12), "After the loss fell to 12 % of its start, "),
        ((8.0, 0.0), "After the loss fell to 0 % of its start, "),
        ((1.0, 1.4e-9), "After the loss fell to 1.4 × 10⁻⁷ % of its start, "),
        ((2.0, 2.6), "After the loss rose to 130 % of its start, "),
        ((1.0, 0.997), "With a loss within 1 % of its start, "),
        ((1.0, 1.0), "With a loss within 1 % of its start, "),
        ((1.0, 1.004), "With a loss within 1 % of its start, "),
        ((-1.0, -3.0), "After the loss fell from −1 to −3, "),
        ((-1.0, 5.0), "After the loss rose from −1 to 5, "),
        ((0.0, 5.0), "After the loss rose from 0 to 5, "),
        ((1.0, -0.5), "After the loss fell from 1 to −0.5, "),
        ((-2.0, -2.0), "With a loss that stayed at −2, "),
        (None, "In training, whose loss was not measured, "),
    ],
)
@pytest.mark.parametrize("last", [RICH, MIDDLE, LAZY, change(0.11, 0.08, 0.13)])
def test_the_sentence_says_where_the_loss_came_to(losses, words, last):
    seen = history(dict(last))
    seen = seen.drop_vars("loss") if losses is None else seen.assign(loss=("step", list(losses)))
    sentence = judge(seen).sentence
    assert sentence.startswith(words + "the tangent kernel had changed by ")
    learned = "features were learned" in sentence
    assert learned == (last is RICH and losses is not None and losses[1] < losses[0])
    unfallen = last in (RICH, MIDDLE) and losses is not None and losses[1] >= losses[0]
    assert ("but the loss did not fall" in sentence) == unfallen
    later = judge(seen.assign_coords(step=[500, 900])).sentence
    assert later.startswith(words.replace("its start", "its value at step 500"))
    still = judge(seen.assign(output_change=("step", [0.0, 0.01]))).sentence
    assert still.startswith(words)


@pytest.mark.parametrize("missed", [0.0, 0.004, 0.25, 0.26, 0.95, 1.0, 4.2, np.nan, np.inf])
@pytest.mark.parametrize("last", [RICH, MIDDLE, LAZY, change(0.11, 0.08, 0.13)])
def test_the_linearisation_is_the_second_witness(missed, last):
    verdict = judge(history(last | {"linearisation_error": missed}))
    told = verdict.sentence
    assert ("linearisation" in told) == np.isfinite(missed)
    if not np.isfinite(missed):
        return
    off = "is off by 4.2 times" if missed > 1 else f"{in_words(100 * missed)} % of the change of"
    assert off in told
    against_lazy = last is LAZY and missed > 0.25
    against_rich = last is RICH and missed <= 0.25
    assert ("But its linearisation" in told) == (against_lazy or against_rich)
    assert ("which speaks against lazy training" in told) == against_lazy
    assert ("only" in told and "speaks against rich training" in told) == against_rich
    assert ("acts like it" in told) == (last is LAZY and missed <= 0.25)


def test_the_linearisation_of_what_is_unstable_frozen_or_still():
    off = {"linearisation_error": 0.3}
    assert "Its linearisation misses 30 %" in str(judge(history(RICH | off | {"loss": 9.0})))
    little = LAZY | off | {"output_change": 0.01}
    assert "Its linearisation misses 30 %" in str(judge(history(dict(little))))
    lost = as_dataset(
        [0, 10, 20],
        [{"loss": 1.0, **change(0, 0, 0)}, {"loss": 0.5, **RICH, **off}, {"loss": np.nan}],
        ["0"],
        "mse",
        {"samples": 32},
    )
    assert "While it was finite, its linearisation misses 30 %" in str(judge(lost))
    still = judge(history({**SMALLEST, **off}))
    assert "linearisation" not in still.sentence  # of a change that is rounding


@pytest.mark.parametrize(
    ("distance", "error", "words"),
    [
        (0.06, 0.0, "and turned: features"),
        (0.06, 0.02, "turned by 0.06 between samples, give or take 0.04, which may be above or"),
        (0.04, 0.02, "turned by 0.04 between samples, give or take 0.04, which may be above or"),
        (0.01, 0.01, "turned by 0.01 between samples, which is below the threshold 0.05"),
        (0.3, 0.1, "and turned: features"),
        (0.06, np.nan, "and turned: features"),
        (np.nan, np.nan, "and whether it turned is not known"),
    ],
)
def test_turning_is_judged_between_samples_whatever_the_common_mode(distance, error, words):
    """The uncentred distance is the other way round."""
    names = ("centred_kernel_distance", "centred_kernel_distance_stderr")
    last = dict(zip(names, (distance, error), strict=True))
    uncentred = 0.001 if distance > 0.05 else 0.4
    for of in (RICH, MIDDLE):
        assert words in judge(history(of | last | {"kernel_distance": uncentred})).sentence


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
    assert judge(unmeasured).regime == "intermediate"
    lost = as_dataset([0, 10, 20], [*rows, {"loss": np.nan}], ["0"], "mse", {"samples": 32})
    verdict = judge(lost)
    assert verdict.regime == "unstable"
    assert "From step 20 on" in verdict.sentence
    torch.manual_seed(0)
    x, model = randn(9, 3), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    probe = Probe(model, (x, x[:, :1]), observables=["ntk_change"])
    probe.measure(0)
    with torch.no_grad():
        model[2].weight.mul_(9)
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
    seen = history(dict(RICH))
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
    assert "contains the threshold" not in str(verdict)


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
    turned = {"kernel_distance": 1 - cosine, "centred_kernel_distance": 1 - cosine}
    sentence = judge(history(change(np.linalg.norm(moved), 2.0, 9.0) | turned)).sentence
    assert ("and turned: features were learned" in sentence) == (1 - cosine >= 0.05)
    if "mostly in size, not direction" in sentence:
        assert abs(along) >= across * (1 - 1e-9)
    elif 1 - cosine < 0.05:
        assert "below the threshold 0.05" in sentence


def test_what_was_not_measured_is_not_said():
    assert "mechanism" not in str(judge(history(dict(MIDDLE))))
    no_distance = STRAIGHT | {"kernel_distance": np.nan}
    assert "size, not direction" not in str(judge(history(RICH | no_distance)))


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
        ({"scale": 0.01}, "rich"),
        ({"scale": 0.05}, "intermediate"),
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
