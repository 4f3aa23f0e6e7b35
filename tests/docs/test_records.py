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


def test_the_page_on_the_dial_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "dial.json").read_text())
    page = " ".join((DOCS / "measure" / "forecast-and-dial.md").read_text().split())
    factors = {True: [], False: []}
    for run in record["runs"]:
        if run["status"] != "refused":
            ratio = run["ntk_change"] / run["request"]
            factors[run["request"] < 1].append(max(ratio, 1 / ratio))
    refused = [run for run in record["runs"] if run["status"] == "refused"]
    assert all(run["request"] >= 1 for run in refused)
    assert f"all {len(factors[True])} runs below 1 keep it" in page
    assert f"the largest factor being {max(factors[True]):.2f}" in page
    assert f"of {len(factors[False]) + len(refused)} requests" in page
    assert f"{len(refused)} were refused and the others are within 1.24" in page
    assert max(factors[True]) < 1.5
    assert max(factors[False]) < 1.24
