"""What the page on related systems says of their records."""

import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = " ".join((DOCS / "papers" / "related.md").read_text().split())


def record(name):
    return json.loads((DOCS / "records" / f"related-{name}.json").read_text())


def medians(name):
    found = record(name)["summary"]
    return {
        key: value["median"]
        for key, value in found.items()
        if isinstance(value, dict) and "median" in value
    }


def words(name, key):
    return set(record(name)["summary"][key])


@pytest.mark.parametrize("path", sorted((DOCS / "records").glob("related-*.md")))
def test_every_record_is_shown_with_its_claim_and_its_picture(path):
    name = path.stem.removeprefix("related-")
    assert f'--8<-- "docs/records/{path.name}"' in PAGE
    assert f"*{record(name)['claim'].removesuffix('.')}*" in PAGE
    picture = f"related-{name.replace('_', '-')}.png"
    assert f"(../img/{picture})" in PAGE
    assert (DOCS / "img" / picture).exists()


def test_grokking():
    assert words("grokking", "verdict_at_fit") == {"lazy"}
    assert words("grokking", "regime") == words("grokking", "forecast_regime") == {"intermediate"}
    for run in record("grokking")["runs"]:
        steps, test = run["steps"], run["test_accuracy"]
        assert test[steps.index(run["step_of_fit"])] < 0.1
        assert run["step_of_fit"] < run["step_after_which_not_lazy"]
        assert run["step_of_test_accuracy"] > 30 * run["step_after_which_not_lazy"]
        assert 0.3 < run["step_of_half_the_turn"] / run["step_of_test_accuracy"] < 0.6
        assert run["step_of_rich_verdict"] is None
        assert run["forecast_steps"] < run["step_of_test_accuracy"] / 10
        rising = [i for i, x in enumerate(test) if i and x - test[i - 1] > 0.2]
        assert rising
        for curve in ("ntk_change_curve", "turn_curve"):
            assert all(run[curve][i] < 1.3 * run[curve][i - 1] for i in rising)
    assert "more than 30 times" in PAGE
    assert "at 30 to 60 % of the steps" in PAGE


def test_three_layers():
    for run in record("three_layers")["runs"]:
        assert run["three_layers/feature_held"] > 4 * run["two_layers/feature_held"]
        assert run["three_layers/test_error"] < run["two_layers/test_error"]
        assert run["three_layers/ntk_change"] > 10 * run["two_layers/ntk_change"]
    assert words("three_layers", "three_layers/regime") == {"rich"}
    assert words("three_layers", "two_layers/regime") == {"intermediate"}
    assert words("three_layers", "two_layers/forecast_regime") == {"lazy", "cannot tell"}


def test_localised_filters():
    runs = record("convolution")["runs"]
    assert min(run["edges/localised"] for run in runs) > 3
    assert max(run["gaussian/localised"] for run in runs) < 3
    found = record("convolution")["summary"]
    assert found["edges/regime"] == found["gaussian/regime"]
    assert found["edges/ntk_change"]["min"] < found["gaussian/ntk_change"]["max"]


def test_a_shared_representation():
    found = medians("meta_learning")
    assert found["small_start/share_in_the_span_of_b"] > 0.9
    assert 0.1 < found["large_start/share_in_the_span_of_b"] < 0.3
    assert found["small_start/ntk_change"] == pytest.approx(
        found["large_start/ntk_change"], rel=0.1
    )
    assert words("meta_learning", "small_start/forecast_regime") == {"rich"}
    assert "rich" not in words("meta_learning", "large_start/forecast_regime")
    assert found["small_start/forecast_ntk_change"] > 2 * found["small_start/ntk_change"]


def test_double_descent():
    for run in record("double_descent")["runs"]:
        counts, peak = run["effective_parameters"], run["widths"].index(40)
        assert run["features/width_of_the_largest_error"] == 40
        assert max(counts) == counts[peak]
        for curve in (counts, run["errors"]):
            assert curve[-1] < curve[peak] / 5
        assert run["trained_whole/largest_error"] < run["features/largest_error"] / 10
        assert run["features/ntk_change"] == 0
    assert words("double_descent", "features/regime") == {"lazy"}


def test_mean_field_scaling():
    found = medians("mean_field")
    assert found["mean_field/exponent_of_ntk_change"] == pytest.approx(0, abs=0.1)
    assert found["ntk/exponent_of_ntk_change"] == pytest.approx(-1, abs=0.1)
    for name, regime in (("mean_field", "rich"), ("ntk", "lazy")):
        for said in ("regime", "forecast_regime"):
            assert words("mean_field", f"{name}/{said}") == {regime}


def test_two_equally_good_features():
    found = medians("underspecified")
    names = [key.rpartition("/")[0] for key in found if key.endswith("slow_rather_than_fast")]
    prefer = [name for name in names if abs(found[f"{name}/slow_rather_than_fast"]) > 0.1]
    assert prefer == ["convolutional/as_they_are"]
    assert found["convolutional/as_they_are/slow_rather_than_fast"] > 0.8
    for name in names:
        assert words("underspecified", f"{name}/regime") == {"intermediate"}
        foretold = found[f"{name}/forecast_ntk_change"]
        assert foretold == pytest.approx(found[f"{name}/ntk_change"], rel=0.05)


def test_samples_pushed_apart():
    for run in record("separation")["runs"]:
        assert run["apart/nearest_of_a_kind"] > run["plain/nearest_of_a_kind"] + 0.1
        assert run["apart/ntk_change"] > run["plain/ntk_change"]
    found = medians("separation")
    assert found["apart/test_accuracy"] <= found["plain/test_accuracy"]
    assert words("separation", "apart/regime") == words("separation", "plain/regime") == {"rich"}
