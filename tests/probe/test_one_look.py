"""What a notebook shows of a probe, a verdict and a forecast: one look, never a measurement."""

import dataclasses
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import Probe
from lazyrich.probe import judge
from lazyrich.probe.one_look import preformatted

NAN = float("nan")


class Closed(HTMLParser):
    """Checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def probe():
    torch.manual_seed(0)
    x = torch.randn(16, 3)
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = Probe(model, (x, x[:, :1]))
    made.forecast(optimizer=optimizer, steps=20)
    with made.watch(optimizer, when=10):
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - x[:, :1]).square().mean().backward()
            optimizer.step()
    return made


def html_of(thing):
    text = thing._repr_html_()
    checked = Closed()
    checked.feed(text)
    assert not checked.open
    return text


def test_a_probe_says_what_it_has_without_measuring(probe, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("measured")

    for name in ("measure", "forecast", "verdict"):
        monkeypatch.setattr(Probe, name, refuse)
    monkeypatch.setattr(Probe, "history", property(refuse))
    said = repr(probe)
    assert said == (
        "<Probe: Sequential, 16 samples, 3 measurements, steps 0 to 20, "
        f"forecast {probe.forecasted.regime}>"
    )
    assert said[8:-1] in html_of(probe)


def test_a_probe_that_has_not_measured_or_was_not_made():
    model = nn.Linear(2, 1)
    fresh = Probe(model, (torch.ones(4, 2), torch.ones(4, 1)))
    assert repr(fresh) == "<Probe: Linear, 4 samples, not measured yet>"
    fresh.measure(7)
    assert repr(fresh) == "<Probe: Linear, 4 samples, 1 measurement, step 7>"
    assert repr(Probe.__new__(Probe)) == "<Probe: not measured yet>"


def test_a_verdict_in_one_line_and_as_a_card(probe):
    verdict = probe.verdict()
    low, high = verdict.interval
    said = repr(verdict)
    assert said.startswith(f"<Verdict: {verdict.regime}, NTK change ")
    assert said.endswith(", 2 layers>")
    assert len(said) < 90
    assert low < high
    text = html_of(verdict)
    assert f"<b>{verdict.regime.capitalize()}.</b>" in text
    assert "<td>2</td>" in text
    assert "What now? " in text


def test_a_forecast_in_one_line_and_as_a_card(probe):
    before = probe.forecasted
    assert repr(before).startswith(f"<Forecast: {before.regime}, NTK change ")
    assert repr(before).endswith(f", certificate {before.certificate}, 20 steps>")
    assert "<td>0</td>" in html_of(before)
    assert "Certificate: " in html_of(before)


def test_what_is_not_known_is_left_out(probe):
    bare = judge(probe.history.isel(step=[0])[["loss"]].assign_coords(layer=["0", "2"]))
    assert repr(bare) == "<Verdict: cannot tell, 2 layers>"
    html_of(bare)
    unknown = dataclasses.replace(probe.forecasted, predicted_ntk_change=NAN, richness=NAN)
    assert "nan" not in repr(unknown).lower()
    html_of(unknown)
    moved = dataclasses.replace(probe.forecasted, layers={})
    html_of(moved)


def test_names_and_sentences_are_escaped_and_many_layers_are_cut(probe):
    verdict = probe.verdict()
    layer = dataclasses.replace(verdict.layers[0], name="<b>&")
    many = dataclasses.replace(verdict, layers=(layer,) * 40, sentence="<i>")
    text = html_of(many)
    assert "&lt;b&gt;&amp;" in text
    assert "<i>" not in text
    assert "28 more in <code>print</code>" in text
    assert text.count("<tr>") == 13


def test_a_comparison_in_one_line(probe):
    compared = lazyrich.compare(probe, probe)
    regime = probe.verdict().regime
    assert repr(compared) == (f"<Compared: {regime} (the first run) and {regime} (the second run)>")


def test_what_is_printed_in_lines_is_shown_in_lines(probe):
    """Of the dial, the coordinate check, a transfer, a comparison: the printed text, escaped."""
    from lazyrich.probe import Compared, CoordinateCheck, Dialled, Transfer

    for kind in (Compared, CoordinateCheck, Dialled, Transfer):
        assert kind._repr_html_ is preformatted, kind
    assert html_of(lazyrich.compare(probe, probe)).startswith("<pre>")
