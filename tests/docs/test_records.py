"""Numbers that pages take from records by arithmetic of their own."""

import json
from pathlib import Path

from lazyrich import Thresholds

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_forecasts_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "forecast.json").read_text())
    ranks = [row["rank_correlation"] for row in record["summary"].values()]
    page = " ".join((DOCS / "measure" / "forecast-and-dial.md").read_text().split())
    assert f"the rank correlation is {min(ranks):.2f} to {max(ranks):.2f}" in page
    assert f"{len(record['runs'])} runs" in page
    by_seed = [
        rank for row in record["summary"].values() for rank in row["rank_correlation_by_seed"]
    ]
    assert min(by_seed) == 1


def test_the_calibration_is_of_the_thresholds_that_are_used():
    """And what the page says of it holds: no verdict on a nonlinear network is wrong."""
    record = json.loads((DOCS / "records" / "verdict.json").read_text("utf-8"))
    limits = Thresholds()
    assert record["thresholds"] == [limits.lazy_below, limits.rich_from]
    runs = record["nonlinear"]["runs"]
    assert len(runs) == record["nonlinear"]["networks"] > 200
    assert record["nonlinear"]["wrong"] == []
    assert all(run["right"] for run in runs)
    for run in runs:
        may_be = limits.regimes(run["exact"] / record["band"], run["exact"] * record["band"])
        assert run["verdict"] in (*may_be, "cannot tell")
