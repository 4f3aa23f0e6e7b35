"""Forecast beside outcome in words: each is a claim about two numbers."""

import dataclasses
import math
import re

import pytest
import torch
from torch import nn
from torch.optim import SGD

from lazyrich import Thresholds, forecast
from lazyrich.probe import Ended, judge
from lazyrich.probe.agreement import agreement
from tests.probe.test_verdict import change, history


@pytest.fixture(scope="module")
def before():
    torch.manual_seed(0)
    x = torch.randn(6, 3)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    made = forecast(model, (x, x[:, :1]), optimizer=SGD(model.parameters(), lr=0.1), steps=3)
    course = dataclasses.replace(made.network, losses=(2.0, 1.0, 0.4), ended=Ended.FITTED)
    return dataclasses.replace(made, network=course, predicted_ntk_change_stderr=0.0)


def said(before, foretold, seen, **of_verdict):
    told = dataclasses.replace(before, predicted_ntk_change=foretold)
    return " ".join(agreement(told, judge(seen, **of_verdict), seen))


def outcome(came, loss=0.2):
    return history(change(came, came, came) | {"loss": loss})


@pytest.mark.parametrize(
    ("foretold", "came", "words"),
    [
        (0.5, 0.5, "the same in both within a factor of 1: they agree."),
        (0.5, 0.61, "the same in both within a factor of 1.22: they agree."),
        (0.61, 0.5, "the same in both within a factor of 1.22: they agree."),
        (0.5, 0.749, "the same in both within a factor of 1.5: they agree."),
        (0.5, 0.76, "Training changed the kernel 1.5 times as much as forecast: they do not"),
        (0.01, 71.0, "Training changed the kernel 7,100 times as much as forecast: they do not"),
        (113_000.0, 71.0, "The forecast change of the kernel is 1,592 times that of the outcome: "),
        (0.0, 0.5, "The kernel changes in the outcome, not in the forecast."),
        (0.5, 0.0, "The kernel changes in the forecast, not in the outcome."),
        (math.nan, 0.5, "Training changed the kernel by 0.5 of its size; no number was forecast."),
        (math.inf, 0.5, "Training changed the kernel by 0.5 of its size; no number was forecast."),
        (
            0.5,
            math.nan,
            "The change of the kernel was not measured: the forecast cannot be checked.",
        ),
    ],
)
def test_by_which_factor(before, foretold, came, words):
    text = said(before, foretold, outcome(came))
    assert words in text
    assert ("they agree" in text) == (0.5 <= foretold <= 0.61 and 0.5 <= came < 0.75)
    assert "add to" not in text
    assert not re.search(r"\de[+-]?\d|nan|inf\b", text)


def test_both_in_the_words_of_one_scale(before):
    for limits, foretold, came in (
        (Thresholds(), "intermediate", "rich"),
        (Thresholds(lazy_below=0.6), "lazy", "rich"),
        (Thresholds(lazy_below=0.6, rich_from=5.0), "lazy", "intermediate"),
    ):
        text = said(before, 0.5, outcome(3.0), thresholds=limits)
        assert text.startswith(f"Forecast: {foretold}. Outcome: {came}.")
    assert "Neither" not in said(before, 0.0, outcome(0.0))


@pytest.mark.parametrize(
    ("losses", "words", "how"),
    [
        (
            (1.0, 0.2),
            "for a loss of 0.4 (20 % of its start), the outcome was measured at 0.2 (20",
            "",
        ),
        ((1.0, 0.01), "the outcome was measured at 0.01 (1 % of its start).", "further"),
        ((1.0, 0.9), "the outcome was measured at 0.9 (90 % of its start).", "less far"),
        ((1.0, 1.2), "the outcome was measured at 1.2 (120 % of its start).", "less far"),
        ((1.0, 0.0), "the outcome was measured at 0 (0 % of its start).", "further"),
        ((-1.0, -3.0), "the outcome was measured at −3.", ""),
        (None, "is for a loss of 0.4 (20 % of its start); that of the outcome is not known.", ""),
    ],
)
def test_each_stands_at_its_loss(before, losses, words, how):
    seen = outcome(0.5)
    seen = seen.drop_vars("loss") if losses is None else seen.assign(loss=("step", list(losses)))
    text = said(before, 0.5, seen)
    assert words in text
    assert ("Training went" in text) == bool(how)
    assert f"Training went {how}" in text if how else True


def test_what_was_cut_short_or_lost_is_said(before):
    cut = dataclasses.replace(before.network, ended=Ended.OUT_OF_STEPS)
    short = dataclasses.replace(before, network=cut)
    assert "cut short (out of steps): its change is that of a part" in said(
        short, 0.5, outcome(0.5)
    )
    assert "cut short" not in said(before, 0.5, outcome(0.5))
    lost = outcome(5.0).reindex(step=[0, 10, 20])
    text = said(before, 0.5, lost)
    assert "As long as it was finite, training changed the kernel 10 times as much" in text
    assert "the outcome was measured at 0.2 (20 % of its start)" in text
    once = outcome(0.5).isel(step=[0])
    assert "There is no outcome to compare it with" in said(before, 0.5, once)
