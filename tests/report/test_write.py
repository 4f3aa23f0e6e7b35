import base64
import dataclasses
import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
import torch
import xarray as xr
from torch import nn

from lazyrich import InputError, Thresholds
from lazyrich.probe import Ended, judge
from lazyrich.probe.agreement import agreement
from lazyrich.probe.probe import Probe
from lazyrich.report.write import write_report
from lazyrich.vocabulary.numerals import in_words

VOID = {"meta", "link", "img", "br"}


class Checked(HTMLParser):
    """Collects what a page would load, and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def written(probe, tmp_path_factory):
    return write_report(probe.history, tmp_path_factory.mktemp("report") / "report.html").read_text(
        "utf-8"
    )


def test_the_page_is_whole_and_loads_nothing(written):
    checked = Checked()
    checked.feed(written)
    assert not checked.open
    assert all(source.startswith("data:") for source in checked.loaded)
    assert "<script" not in written
    assert "@import" not in written


def test_the_pictures_load_nothing_either(written):
    drawings = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", written)
    assert len(drawings) == 6  # shares of two layers, ansatz of one, kernel, loss, forecast
    for encoded in drawings:
        drawing = base64.b64decode(encoded).decode()
        assert "</svg>" in drawing
        assert not re.findall(r'href="(?!#)[^"]*"', drawing)


def test_it_says_what_the_probe_says(written, probe):
    verdict, text = probe.verdict(), unescape(written)
    assert verdict.sentence in text
    assert f"<dd>{probe.forecasted.predicted_ntk_change:.3g}" in text
    assert "lazy below 0.1, rich from 1<" in text
    assert f"<dd>{verdict.evidence['ntk_change']:.3g}<" in text
    assert probe.forecasted.notes
    now = text[text.index("<h2>What now?</h2>") :]
    assert 1 <= len(verdict.advice) <= 3
    assert all(sentence in re.sub("</?code>", "`", now) for sentence in verdict.advice)
    assert "<h2>" not in now[4:]  # the page ends with it
    for layer in verdict.layers:
        assert f"<code>{layer.name}</code>" in text
        assert f"{layer.layer_log_rescaling:.3g}" in text
        for window in layer.mechanisms:
            assert f"{window.mechanism}, step {window.start:.0f} to {window.stop:.0f}" in text
    assert any(layer.mechanisms for layer in verdict.layers)


def test_the_setting_names_versions_thresholds_and_what_was_skipped(written, probe):
    assert f"torch {torch.__version__}" in written
    assert f"rich from {probe.thresholds.rich_from:g}" in written
    seconds = probe.history.attrs["measuring_seconds"]
    assert seconds > 0
    assert f"{seconds:.3g} s, {100 * probe.overhead:.3g} % of the time" in written
    assert "2: all its parameters are frozen" in written


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ({"lazyrich": "0.1.9", "Python": "3.10.1", "torch": "2.0.7"}, "lazyrich 0.1.9, Python"),
        (None, "not recorded"),  # a history from before they were kept
    ],
)
def test_the_versions_are_those_of_the_measurement(probe, tmp_path, recorded, shown):
    setting = json.loads(probe.history.attrs["setting"])
    assert list(setting["versions"]) == ["lazyrich", "Python", "torch", "numpy", "xarray"]
    assert setting.pop("versions")["torch"] == torch.__version__
    if recorded is not None:
        setting["versions"] = recorded
    probe.history.assign_attrs(setting=json.dumps(setting)).to_netcdf(tmp_path / "h.nc")
    saved = xr.load_dataset(tmp_path / "h.nc")
    text = write_report(saved, tmp_path / "report.html").read_text("utf-8")
    assert shown in text
    assert f"torch {torch.__version__}" not in text
    assert recorded is None or "Python 3.10.1, torch 2.0.7<" in text


def test_names_are_escaped(tmp_path):
    model = nn.Sequential()
    model.add_module("<b>&", nn.Linear(2, 1))
    probe = Probe(model, (torch.ones(4, 2), torch.zeros(4, 1)))
    probe.measure(0)
    text = write_report(probe.history, tmp_path / "report.html").read_text("utf-8")
    assert "&lt;b&gt;&amp;" in text
    assert "<b>" not in text


def test_a_run_that_became_nan_is_reported(tmp_path):
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    probe = Probe(model, (torch.ones(4, 2), torch.zeros(4, 1)))
    probe.measure(0)
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    probe.measure(1)
    text = write_report(probe.history, tmp_path / "report.html").read_text("utf-8")
    assert '<span class="chip unstable">' in text
    assert "nan" not in re.sub(r"(base64,|srcdoc=\")[^\"]*", "", text)


def test_only_some_observables(tmp_path):
    probe = Probe(nn.Linear(2, 1), (torch.ones(4, 2), torch.zeros(4, 1)), observables=["loss"])
    probe.measure(0)
    text = write_report(probe.history, tmp_path / "report.html").read_text("utf-8")
    assert '<span class="chip cannot-tell">' in text
    assert "None was made before training" in text


def test_a_saved_history_gives_the_same_page(probe, tmp_path, written):
    probe.save(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as history:
        text = write_report(history, tmp_path / "report.html").read_text("utf-8")
    assert text == written
    assert text.endswith("</html>\n")


def test_the_forecast_may_be_given(probe, tmp_path):
    history = probe.history.drop_attrs(deep=False).assign_attrs(
        {name: value for name, value in probe.history.attrs.items() if name != "forecast"}
    )
    without = write_report(history, tmp_path / "a.html").read_text("utf-8")
    assert "None was made before training" in without
    given = write_report(history, tmp_path / "b.html", forecast=probe.forecasted)
    assert "Forecast against outcome" in given.read_text("utf-8")


def test_what_is_no_history_is_refused(probe, tmp_path):
    for other, kind in ((xr.Dataset({"loss": ("step", [1.0])}), "Dataset"), (probe, "Probe")):
        with pytest.raises(InputError, match=f"with its attributes, got a {kind} without them"):
            write_report(other, tmp_path / "report.html")


def test_a_place_that_cannot_be_written_is_refused(probe, tmp_path):
    with pytest.raises(InputError, match=r"the folder .*missing' does not exist"):
        write_report(probe.history, tmp_path / "missing" / "report.html")
    with pytest.raises(InputError, match="is a folder"):
        write_report(probe.history, tmp_path)
    for name in ("report.png", "report", "run.nc"):
        with pytest.raises(InputError, match=rf"must end in \.html, \.htm, got '{name}'"):
            write_report(probe.history, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_probe_that_has_not_measured_is_refused(tmp_path):
    probe = Probe(nn.Linear(2, 1), (torch.ones(4, 2), torch.zeros(4, 1)))
    with pytest.raises(InputError, match="at least one measurement"):
        write_report(probe.history, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("factor", [1e-9, 0.3, 1.0, 72.0, 3e7])
def test_forecast_and_outcome_are_compared_in_words(probe, tmp_path, factor):
    """A forecast may be far below the outcome or far above it; nothing is said to add to it."""
    verdict = probe.verdict()
    came = verdict.evidence["ntk_change"]
    before = dataclasses.replace(probe.forecasted, predicted_ntk_change=came / factor)
    target = tmp_path / "report.html"
    text = unescape(write_report(probe.history, target, forecast=before).read_text("utf-8"))
    assert "add to it" not in text
    for sentence in agreement(before, verdict, probe.history):
        assert sentence in text
    assert ("they agree" in text) == (factor == 1)
    assert f"at a loss of {in_words(before.network.losses[-1], 3)}." in text
    once = probe.history.isel(step=[0])
    text = unescape(write_report(once, target, forecast=before).read_text("utf-8"))
    assert "There is no outcome to compare it with" in text
    assert "agree" not in text


def test_regimes_and_bounds_are_those_of_the_thresholds(probe, tmp_path):
    """One scale on one page, whatever it is; every word has its colour."""
    came, foretold = probe.verdict().evidence["ntk_change"], 0.3
    before = dataclasses.replace(
        probe.forecasted, predicted_ntk_change=foretold, predicted_ntk_change_stderr=0.0,
        network=dataclasses.replace(probe.forecasted.network, ended=Ended.FITTED),
    )  # fmt: skip
    for limits, word in (
        (Thresholds(), "intermediate"),
        (Thresholds(lazy_below=0.4), "lazy"),
        (Thresholds(lazy_below=0.1, rich_from=0.2), "rich"),
    ):
        verdict = judge(probe.history, limits)
        text = write_report(
            probe.history, tmp_path / "report.html", forecast=before, verdict=verdict
        ).read_text("utf-8")
        bounds = f"lazy below {limits.lazy_below:g}, rich from {limits.rich_from:g}"
        assert text.count(bounds) == 3  # beside forecast and outcome, and in the evidence
        assert f'<span class="chip {word}">{word}</span>' in text
        assert f"Forecast: {word}. Outcome: {verdict.regime}." in text
    assert came > 0
    assert all(f".{word} {{" in text for word in ("frozen", "lazy", "intermediate", "rich"))


def test_a_forecast_of_an_older_version_is_left_out(probe, tmp_path):
    old = {"richness": 1.0, "layers": {}, "predicted_ntk_change": 0.2, "notes": []}
    history = probe.history.assign_attrs(forecast=json.dumps(old))
    text = write_report(history, tmp_path / "report.html").read_text("utf-8")
    assert "is of an older version, and is not shown" in text
    assert "None was made" not in text


@pytest.mark.parametrize("scale", [1e-9, 1.0, 72.0, 1e12])
def test_the_page_holds_no_number_of_a_computer(probe, tmp_path, scale):
    history = probe.history.copy()
    for name in ("loss", "ntk_change", "ntk_change_low", "ntk_change_high"):
        history[name] = history[name] * scale
    before = dataclasses.replace(probe.forecasted, richness=72 * scale, richness_stderr=72 * scale)
    text = write_report(history, tmp_path / "report.html", forecast=before).read_text("utf-8")
    text = re.sub(r"(base64,|srcdoc=\")[^\"]*|<style>.*?</style>", "", text, flags=re.DOTALL)
    assert re.findall(r"\d\.?\d*e[+-]?\d+", text) == []


def test_each_layer_has_the_forecast_change_beside_what_came(probe, tmp_path):
    """Two numbers, each under its own head; and no share where the first step tells nothing."""
    before = probe.forecasted
    name, share = next(iter(before.layers.items()))
    told = dataclasses.replace(
        before,
        layer_ntk_change={**before.layer_ntk_change, name: 1234.5},
        layers={**before.layers, name: dataclasses.replace(share, motion=float("nan"))},
    )
    text = write_report(probe.history, tmp_path / "report.html", forecast=told).read_text("utf-8")
    (came,) = (x.evidence["layer_ntk_change"] for x in probe.verdict().layers if x.name == name)
    head = text.index("forecast change of its NTK")
    _, row = text[head:].split(f"<code>{name}</code>", 1)
    cells = re.sub(r"<[^>]+>", " ", row[: row.index("</tr>")]).split()
    assert cells == ["–", in_words(1234.5, 3), in_words(came, 3)]
    assert "nan%" not in text
    first, last = (in_words(x, 3) for x in probe.history.loss.values[[0, -1]])
    assert f"{first} → {last}" in text
