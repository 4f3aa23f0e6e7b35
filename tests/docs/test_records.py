"""Numbers that pages take from records by arithmetic of their own."""

import json
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_forecasts_says_what_its_record_holds():
    runs = json.loads((DOCS / "records" / "forecast.json").read_text())["runs"]
    predicted, measured = (
        np.array([run[name] for run in runs]) for name in ("predicted_ntk_change", "ntk_change")
    )
    below = predicted < 1
    ratio = (measured / predicted)[below]
    page = " ".join((DOCS / "measure" / "forecast-and-dial.md").read_text().split())
    assert ratio.min() >= 2
    assert f"in all {below.sum()} such runs, {np.median(ratio):.0f} times in the median" in page
    assert (measured < predicted)[~below].any()  # neither floor nor ceiling
    assert (measured > predicted)[~below].any()
