"""What to do now: every sentence is a claim, tried in the cases in which it could be false."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

import lazyrich as lr
from lazyrich.probe import judge
from lazyrich.probe.advice import Findings, advice
from lazyrich.vocabulary.regimes import Regime

TIMES = re.compile(
    r"if this continues, ([\d,]+) steps, or a learning rate ([\d.,]+) times as high .* take it to "
    r"([\d.]+), and"
)


KERNEL = [f"ntk_change{end}" for end in ("", "_low", "_high", "_stderr")]


def network(activation=nn.Tanh, width=24, outputs=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, width), activation(), nn.Linear(width, width), activation(),
        nn.Linear(width, outputs),
    )  # fmt: skip


def batch(outputs=1):
    torch.manual_seed(1)
    x = torch.randn(32, 3)
    if outputs > 1:
        return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return x, x[:, :1] * x[:, 1:2] + x[:, 2:]


def watched(model, data, optimizer, steps=40, when=10, **options):
    loss = "mse" if data[1].is_floating_point() else "cross_entropy"
    value = nn.MSELoss() if loss == "mse" else nn.CrossEntropyLoss()
    probe = lr.Probe(model, data, loss, samples=None, **options)
    with probe.watch(optimizer, when=when):
        for _ in range(steps):
            optimizer.zero_grad()
            value(model(data[0]), data[1]).backward()
            optimizer.step()
    return probe


def sgd(model, rate=0.05):
    return SGD(model.parameters(), lr=rate)


def test_at_most_three_sentences_end_what_is_printed():
    model = network()
    verdict = watched(model, batch(), sgd(model)).verdict()
    assert 1 <= len(verdict.advice) <= 3
    assert str(verdict).splitlines()[-1] == f"What now? {' '.join(verdict.advice)}"


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_network_is_frozen_because_its_rate_is_zero(optimizer):
    model = network()
    verdict = watched(model, batch(), optimizer(model.parameters(), lr=0.0)).verdict()
    assert verdict.regime == "frozen"
    assert verdict.advice == (
        "The learning rate was 0 at every measurement: set one above 0 in "
        "`optimizer.param_groups`.",
    )
    model = network()
    moved = watched(model, batch(), optimizer(model.parameters(), lr=0.01)).verdict()
    assert moved.regime != "frozen"  # it does what it says


def test_a_rate_that_was_zero_at_first_is_not_the_reason():
    model = network()
    optimizer = sgd(model, 0.0)
    probe = lr.Probe(model, batch())
    probe.measure(0, optimizer=optimizer)
    optimizer.param_groups[0]["lr"] = 1e-7
    probe.measure(1, optimizer=optimizer)
    assert "learning rate was 0" not in " ".join(probe.verdict().advice)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(("make", "rate"), [(SGD, 5e-5), (SGD, 1e-4), (Adam, 5e-6), (Adam, 1e-5)])
def test_a_higher_rate_or_more_steps_bring_what_is_said(activation, outputs, make, rate):
    def run(rate, steps):
        model = network(activation, outputs=outputs)
        probe = watched(
            model, batch(outputs), make(model.parameters(), lr=rate), steps, max(steps // 4, 1)
        )
        return probe.verdict()

    before = run(rate, 40)
    assert before.regime == "frozen"
    found = TIMES.search(" ".join(before.advice))
    assert found, before
    steps, times, goal = (float(text.replace(",", "")) for text in found.groups())
    assert steps == pytest.approx(40 * times, rel=0.06)
    for after in (run(rate * times, 40), run(rate, int(steps)) if steps < 1000 else None):
        if after is not None:
            assert after.evidence["output_change"] == pytest.approx(goal, rel=0.15)
            assert after.regime != "frozen"


def test_no_number_where_the_motion_bends_or_was_seen_at_its_ends_alone():
    model = network()
    seen = watched(model, batch(), sgd(model, 5e-5)).history
    assert TIMES.search(" ".join(judge(seen).advice))
    bent = seen.copy(deep=True)
    bent.output_change[1] *= 2
    for history in (bent, seen.isel(step=[0, -1])):
        (said,) = judge(history).advice
        assert said.startswith("Train longer, or raise the learning rate: `lr.forecast(")
    model = network()  # so far that a line says nothing
    (said,) = watched(model, batch(), sgd(model, 1e-6)).verdict().advice
    assert said.startswith("Train longer, or raise the learning rate")
    rising = seen.assign(loss=("step", [1, 1.001, 1.002, 1.003, 1.004]))
    (said,) = judge(rising).advice
    assert said.startswith("The loss on these samples did not fall")


def test_a_loss_of_zero_has_nothing_to_fit():
    model = network()
    x, _ = batch()
    data = x, model(x).detach()
    verdict = watched(model, data, sgd(model)).verdict()
    assert verdict.regime == "frozen"
    assert verdict.advice == (
        "The loss is 0 on these samples: there is nothing to fit, and nothing to change.",
    )


def test_a_frozen_network_with_a_rate_and_without_a_motion():
    model = network()
    probe = lr.Probe(model, batch())
    probe.measure(0, optimizer=sgd(model))
    probe.measure(1, optimizer=sgd(model))  # no step was made
    (said,) = probe.verdict().advice
    assert said.startswith("Check that steps were made")


def test_a_layer_that_is_not_trained_is_named_with_the_reason():
    model = network()
    own = [*model[0].parameters(), *model[4].parameters()]
    verdict = watched(model, batch(), SGD(own, lr=0.1), 100).verdict()
    assert verdict.advice[0].startswith(
        "Not trained, with a learning rate of 0 at every measurement: `2`. If that is not intended"
    )
    assert "These measurements give no reason to change anything" not in " ".join(verdict.advice)
    model = network()
    mended = watched(model, batch(), sgd(model, 0.1), 100).verdict()
    assert "Not trained" not in " ".join(mended.advice)
    assert [layer.regime for layer in mended.layers if layer.name == "2"] != ["frozen"]


def test_a_norm_without_a_rate_is_named_though_it_has_no_weight_to_study():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 24), nn.LayerNorm(24), nn.Tanh(), nn.Linear(24, 1))
    own = [*model[0].parameters(), *model[3].parameters()]
    verdict = watched(model, batch(), SGD(own, lr=0.1), 60).verdict()
    assert verdict.advice[0].startswith("Not trained, with a learning rate of 0")
    assert "`1`" in verdict.advice[0]
    verdict = watched(model, batch(), sgd(model, 0.1), 60).verdict()
    assert "Not trained" not in " ".join(verdict.advice)


def test_an_optimiser_of_other_parameters_says_nothing_of_rates():
    model = network()
    probe = lr.Probe(model, batch())
    for step in range(2):
        probe.measure(step, optimizer=sgd(network()))
    assert probe.history.layer_lr.isnull().all()


def test_a_layer_that_its_owner_froze_is_no_fault():
    model = network()
    model[2].requires_grad_(False)
    optimizer = SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    text = " ".join(watched(model, batch(), optimizer, 100).verdict().advice)
    assert "`2`" not in text


def test_a_layer_that_a_mask_holds_is_looked_at():
    model = network()
    for parameter in model[2].parameters():
        parameter.register_hook(torch.zeros_like)
    text = " ".join(watched(model, batch(), sgd(model, 0.1), 100).verdict().advice)
    assert "Did not move at all: `2`. Check that a gradient arrives there" in text


def killed(layer, activation=nn.ReLU):
    model = network(activation)
    with torch.no_grad():
        model[layer].bias.fill_(-100.0)
    return model


@pytest.mark.parametrize("layer", [0, 2])
def test_a_dead_layer_has_neither_gradient_nor_variance(layer):
    model = killed(layer)
    x, _ = batch()
    model(x).sum().backward()
    assert not model[layer].weight.grad.any()
    assert not model[: layer + 2](x).var(0).any()
    verdict = watched(model, batch(), sgd(model, 0.1), 60).verdict()
    (dead,) = [said for said in verdict.advice if said.startswith("Dead")]
    assert dead == (
        f"Dead since the start, without a gradient and the same for all samples: `{layer}`. "
        "Initialise anew."
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m[4].weight.zero_(),  # no gradient at first: a readout that starts at zero
        lambda m: m[0].weight.zero_(),  # alike for all samples: the bias still gets a gradient
        lambda m: m[2].bias.fill_(-0.5),
        lambda m: None,
    ],
)
def test_what_lacks_but_one_of_both_is_not_dead(spoil):
    model = network(nn.ReLU)
    with torch.no_grad():
        model[0].bias.fill_(1.0)
        spoil(model)
    probe = lr.Probe(model, batch())
    probe.measure(0)
    assert "ead" not in " ".join(probe.verdict().advice)


def test_a_layer_that_dies_in_training_lives_at_a_lower_rate():
    def run(rate):
        model = network(nn.ReLU)
        x, y = batch()
        return watched(model, (x, y - 5.0), sgd(model, rate), 40, 1).verdict()

    assert any("Died in training" in said and "by step" in said for said in run(1.0).advice)
    text = " ".join(run(0.01).advice)
    assert "Died" not in text
    assert "Dead" not in text


def test_an_unstable_run_is_told_to_lower_its_rate_and_a_forecast_tells():
    model = network()
    verdict = watched(model, batch(), sgd(model, 50.0)).verdict()
    assert verdict.regime == "unstable"
    assert verdict.advice[0].startswith("If these samples are trained on, lower the learning rate")
    model = network()
    assert lr.forecast(model, batch(), optimizer=sgd(model, 50.0)).regime == "unstable"
    assert lr.forecast(model, batch(), optimizer=sgd(model, 0.05)).regime != "unstable"
    assert watched(model, batch(), sgd(model)).verdict().regime != "unstable"


def test_where_nobody_can_tell_more_samples_are_asked_for():
    model, data = network(), batch()
    probe = watched(model, data, sgd(model, 0.1), 60)
    history = probe.history.copy(deep=True)
    history["ntk_change"][-1] = 0.1
    history["ntk_change_low"][-1], history["ntk_change_high"][-1] = 0.05, 0.2
    (said,) = judge(history).advice
    assert said.startswith("Measure on more samples, `lr.Probe(model, larger_batch, samples=None)`")
    (said,) = judge(probe.history.drop_vars(KERNEL)).advice
    assert said.startswith("Measure the kernel")
    (said,) = judge(probe.history.isel(step=[0])).advice
    assert said.startswith("Measure again after training")


def test_nothing_has_to_be_changed_where_nothing_is_wrong():
    model = network()
    verdict = watched(model, batch(), sgd(model, 0.1), 100).verdict()
    assert verdict.advice[0] == (
        "These measurements give no reason to change anything: the loss fell and no layer is "
        "frozen or dead."
    )
    assert verdict.evidence["loss_ratio"] < 1
    assert all(layer.regime != "frozen" for layer in verdict.layers)


def test_a_loss_that_did_not_fall_is_told():
    model = network()
    history = watched(model, batch(), sgd(model, 0.1), 100).history
    risen = history.assign(loss=("step", np.linspace(1, 1.5, len(history.step))))
    text = " ".join(judge(risen).advice)
    assert "The loss on these samples did not fall" in text
    assert "These measurements give no reason to change anything" not in text


def test_who_said_nothing_gets_no_order_but_what_to_call_for_either():
    model = network()
    verdict = watched(model, batch(), sgd(model, 0.1), 100).verdict()
    (either,) = [said for said in verdict.advice if "lr.dial" in said]
    found = re.findall(r"ntk_change=([\d.]+)", either)
    assert found == ["1.5", "0.067"]
    assert either.startswith("For rich training call `lr.dial(")


@pytest.mark.parametrize(("change", "word"), [(1.5, "rich"), (0.067, "lazy")])
@pytest.mark.parametrize(("make", "rate"), [(SGD, 0.1), (Adam, 0.01)])
def test_the_dial_brings_what_the_advice_says(change, word, make, rate):
    model, data = network(width=48), batch()
    optimizer = make(model.parameters(), lr=rate)
    result = lr.dial(model, data, optimizer=optimizer, ntk_change=change)
    assert result.regime == word
    steps = result.forecast.steps_to_fit
    probe = watched(result.model, data, optimizer, steps, steps)
    came = probe.verdict().evidence["ntk_change"]
    assert came == pytest.approx(result.predicted_ntk_change, rel=0.2)
    assert came < 0.1 if word == "lazy" else came > 1


def test_who_said_what_he_wants_gets_the_call_for_it():
    model = network()
    history = watched(model, batch(), sgd(model, 0.1), 100).history
    verdict = judge(history)
    found = Findings(
        history=history, regime=Regime.LAZY, evidence=verdict.evidence,
        layers={layer.name: layer.regime for layer in verdict.layers},
        limits=lr.Thresholds(lazy_below=0.2, rich_from=2.0), wanted=(Regime.RICH,),
    )  # fmt: skip
    assert advice(found) == (
        "For rich training call `lr.dial(model, batch, optimizer=optimizer, ntk_change=3)` before "
        "the first step.",
    )
    frozen = replace(found, wanted=(Regime.FROZEN,))
    assert advice(frozen) == ()
    (said,) = advice(replace(found, wanted=(Regime.FROZEN, Regime.INTERMEDIATE)))
    assert "intermediate training call `lr.dial(" in said
    assert "ntk_change=0.63)`" in said
    assert advice(replace(found, wanted=(Regime.LAZY,)))[0].startswith(
        "These measurements give no reason to change anything"
    )


def test_a_history_of_an_older_version_claims_no_more_than_it_measured():
    model = network()
    history = watched(model, batch(), sgd(model, 0.1), 100).history
    old = history.drop_vars(["gradient_norm", "feature_spread", "layer_lr"])
    assert judge(old).advice[0].endswith("the loss fell and no layer is frozen.")
    bare = old.drop_vars(["weight_movement", "loss"])
    assert judge(bare).advice[0] == "These measurements give no reason to change anything."
