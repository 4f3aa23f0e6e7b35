"""Numbers that pages take from records by arithmetic of their own."""

import json
from pathlib import Path

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
