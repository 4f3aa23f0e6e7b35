"""Two runs side by side: every sentence is a claim, tried where it could be false."""

import json
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich
from lazyrich import InputError, Thresholds
from lazyrich.probe import Contrast, Difference, Reading
from lazyrich.probe.compare import compare


@pytest.fixture
def _as_users_call_it():
    """Without the checks of types that all other tests run under."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def model_of(width=32, hidden=1):
    middle = [part for _ in range(hidden - 1) for part in (nn.Linear(width, width), nn.Tanh())]
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), *middle, nn.Linear(width, 1))


def run(lr=0.1, *, steps=60, samples=32, data=0, outputs=1, hidden=1, **options):
    torch.manual_seed(1)
    model = model_of(hidden=hidden)
    if outputs > 1:
        model[-1] = nn.Linear(32, outputs)
    torch.manual_seed(data)
    x = torch.randn(samples, 3)
    y = (x[:, :1] * x[:, 1:2]).expand(-1, outputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    probe = lazyrich.Probe(model, (x, y), samples=None, **options)
    with probe.watch(optimizer, when=20):
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    return probe


@pytest.fixture(scope="module")
def slow():
    return run(0.003)


@pytest.fixture(scope="module")
def fast():
    return run(0.3)


def reading(low, high):
    return Reading(value=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((0.1, 0.2), (0.21, 0.3), "more"),
        ((0.21, 0.3), (0.1, 0.2), "less"),
        ((0.1, 0.2), (0.2, 0.3), "no difference seen"),  # they touch
        ((0.1, 0.4), (0.2, 0.3), "no difference seen"),
        ((0.0, 0.0), (0.0, 0.0), "no difference seen"),
        ((0.1, 0.2), (float("nan"), float("nan")), "cannot tell"),
    ],
)
def test_a_difference_is_one_where_intervals_have_nothing_in_common(first, second, said):
    pair = Contrast(
        quantity="ntk_change", layer=None, first=reading(*first), second=reading(*second)
    )
    assert pair.difference == said
    assert replace(pair, second=None).difference == "cannot tell"


def test_slow_and_fast_differ_in_every_layer(slow, fast):
    compared = compare(slow, fast, names=("slow", "fast"))
    assert [v.regime for v in compared.verdicts] == [slow.verdict().regime, fast.verdict().regime]
    assert compared.of("ntk_change").difference == "more"
    assert compare(fast, slow).of("ntk_change").difference == "less"
    text = str(compared)
    assert text.startswith("Lazy (slow), ")
    assert "of its size in slow, by " in text
    for layer in ("0", "2"):
        assert compared.of("layer_ntk_change", layer).difference == "more"
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {layer}  ")]
        assert line.endswith("more in fast.")
    low, high = compared.of("ntk_change").first.low, compared.of("ntk_change").second.high
    assert (low, high) == (slow.verdict().interval[0], fast.verdict().interval[1])
    assert repr(compared) == f"<Compared: lazy (slow) and {fast.verdict().regime} (fast)>"


def test_a_run_beside_itself_differs_in_nothing(fast):
    compared = compare(fast, fast.history)
    seen = {one.difference for one in compared.contrasts}
    assert seen <= {"no difference seen", "cannot tell"}
    text = str(compared)
    assert "more in" not in text
    assert "less in" not in text
    assert "not the same" not in text
    assert "Only" not in text
    assert "stretches" not in text


def test_other_samples_of_one_network_seldom_differ():
    """Of one trained network on disjoint samples, what is seen is chance: at most 1 in 20."""
    torch.manual_seed(0)
    model, start = model_of(), model_of()
    model.load_state_dict(start.state_dict())
    x = torch.randn(256, 3)
    probes = [lazyrich.Probe(model, (x[i : i + 16], x[i : i + 16, :1])) for i in range(0, 256, 16)]
    for probe in probes:
        probe.measure(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    for probe in probes:
        probe.measure(1)
    told = [
        one.difference
        for first, second in zip(probes[::2], probes[1::2], strict=True)
        for one in compare(first, second).contrasts
        if one.difference != "cannot tell"
    ]
    wrong = sum(one in ("more", "less") for one in told)
    assert len(told) > 80
    assert wrong <= len(told) / 20


def test_the_interval_of_a_standard_error_is_students(fast):
    found = compare(fast, fast).of("nfa", "0").first
    last = fast.history.isel(step=-1).sel(layer="0")
    t = 2.0395  # 97.5 % of Student's t with 31 degrees of freedom
    assert found.high - found.value == pytest.approx(t * float(last.nfa_stderr), rel=1e-3)


def test_what_is_exact_on_its_samples_alone_has_no_interval(fast):
    """Its error over random vectors is 0, which is no interval for many samples."""
    found = compare(fast, fast).of("centred_kernel_distance")
    assert float(fast.history.centred_kernel_distance_stderr[-1]) == 0
    assert np.isnan(found.first.low)
    assert found.difference == "cannot tell"
    assert compare(fast, fast).of("loss").difference == "cannot tell"


def test_nothing_is_lost_of_layers_and_observables_that_one_alone_has(fast):
    other = run(hidden=2, samples=16, observables=["loss", "ntk_change", "ntk_velocity"])
    compared = compare(fast, other, names=("a", "b"))
    text = str(compared)
    assert compared.layers == ("0", "2", "4")
    assert compared.regimes("4")[0] is None
    assert "only in b, where it is" in text
    assert "Only b has the layer 4." in text
    assert "Only b has the numbers ntk_velocity, ntk_velocity_stderr." in text
    (line,) = (one for one in text.splitlines() if one.startswith("Only a has the numbers "))
    assert "layer_lr, linearisation_error" in line
    assert "The number of measured samples is not the same: 32 in a, 16 in b." in text
    assert "The shapes of inputs and targets are not the same: (32, 3) " in text
    table = compared.table()
    assert set(table.data_vars) == set(fast.history.data_vars) | set(other.history.data_vars)
    assert table.layer.values.tolist() == ["0", "2", "4"]
    assert table.run.values.tolist() == ["a", "b"]
    for run_name, probe in (("a", fast), ("b", other)):
        last = probe.history.isel(step=-1)
        for name in last.data_vars:
            here = table[name].sel(run=run_name)
            if "layer" in last[name].dims:
                here = here.sel(layer=last.layer)
            np.testing.assert_array_equal(here.values, last[name].values)
            assert table[name].attrs == last[name].attrs or name == "loss"


def test_other_losses_outputs_thresholds_and_versions_are_told(fast):
    other = run(outputs=3, loss="squared_error", thresholds=Thresholds(lazy_below=0.05)).history
    setting = json.loads(other.attrs["setting"])
    setting["versions"]["torch"] = "1.0"
    setting["new"] = 3
    other.attrs["setting"] = json.dumps(setting)
    text = str(compare(fast, other, names=("a", "b")))
    assert "These are different losses and cannot be compared." in text
    assert "The number of outputs is not the same: 1 in a, 3 in b." in text
    assert "The thresholds are not the same: lazy_below 0.1 in a, lazy_below 0.05 in b." in text
    assert f"The versions are not the same: torch {torch.__version__} in a, torch 1.0 in b." in text
    assert "Only b says its new: 3." in text
    assert "stretches" not in text
    both = compare(fast, other, thresholds=Thresholds())
    assert both.verdicts[0].thresholds == both.verdicts[1].thresholds == Thresholds()


def test_stretches_of_training_are_told_apart(fast):
    short = fast.history.isel(step=[0, 1])
    assert float(short.loss[-1]) > 1.5 * float(fast.history.loss[-1])
    assert "from different stretches of training" in compare(short, fast).sentence
    assert "from different stretches of training" not in compare(fast, fast).sentence


def test_without_a_second_measurement_there_is_no_change_to_compare(fast):
    once = fast.history.isel(step=[0])
    compared = compare(once, fast, names=("a", "b"))
    assert {one.difference for one in compared.contrasts} == {Difference.CANNOT_TELL}
    assert "There is no change of a to compare: measure it after training." in str(compared)


def test_a_run_that_diverged_is_told():
    bad = run(1e4)
    text = str(compare(bad, run(0.1), names=("a", "b")))
    assert text.startswith("Unstable (a), ")
    assert "The numbers of a are those of its last finite measurement." in text
    assert "not finite in a" in text


def test_of_both_nobody_may_be_able_to_tell():
    one = [run(0.1, samples=1, data=seed) for seed in (0, 1)]
    said = compare(*one).sentence
    assert said.startswith("Cannot tell for either. ")
    assert "cannot tell, for want of an interval." in said
    without = run(observables=["loss"])
    said = compare(without, one[0]).sentence
    assert "The change of the tangent kernel is not known for the first run." in said
    unknown = run(observables=["ntk_change"])
    assert "not known in the second run" in compare(one[0], unknown).sentence


@pytest.mark.usefixtures("_as_users_call_it")
@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((3, 4), {}, "`first` must be a probe or its history, got 3. Pass"),
        ((xr.Dataset(), xr.Dataset()), {}, "`history` must be that of a probe"),
        ((None,) * 2, {"names": ("a", "a")}, "`names` must be two different texts, got"),
        ((None,) * 2, {"names": "ab"}, "`names` must be two different texts"),
        ((None,) * 2, {"names": ("a", 3)}, "`names` must be two different texts"),
    ],
)
def test_what_is_no_run_is_refused(arguments, options, said):
    with pytest.raises(InputError, match=said):
        compare(*arguments, **options)


@pytest.mark.usefixtures("_as_users_call_it")
def test_the_second_is_named_too(fast):
    with pytest.raises(InputError, match=r"`second` must be a probe or its history, got 'b\.nc'"):
        compare(fast, "b.nc")
    with pytest.raises(InputError, match="measured of a layer '9', got 'nfa'"):
        compare(fast, fast).of("nfa", "9")
    with pytest.raises(InputError, match="measured of the network, got 'nfa'"):
        compare(fast, fast).of("nfa")
