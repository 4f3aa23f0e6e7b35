"""The harness of all reproductions: runs a figure's script, keeps its record, judges its claims.

A script `papers/<paper>/fig<N>.py` begins with what it shows and defines three functions:

    measure(bench: Bench) -> Measured     runs studies, returns findings and what the figure shows
    found(record: Record) -> str          what was found, in words that follow from the record
    draw(record: Record) -> Figure        from the record alone

A finding is a number with its interval and n. `expected.json` holds, per figure and finding, the
claim's number in the README, the range that the claim allows and the reason for that range.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import xarray as xr

import lazyrich as lr
from lazyrich import plot, sweeps
from papers.catalogue import HOME, expected, place_of_record, script, subject
from papers.catalogue import figures as figures
from papers.catalogue import papers as papers
from papers.claims import Record as Record
from papers.claims import bare as bare
from papers.claims import judge as judge
from papers.claims import number as number
from papers.claims import results
from papers.claims import said as said
from papers.claims import share as share
from papers.estimate import estimate
from papers.findings import Finding
from papers.findings import compared as compared
from papers.findings import ends as ends
from papers.findings import mean as mean  # for the scripts
from papers.findings import rank_correlation as rank_correlation
from papers.findings import slope as slope
from papers.findings import together as together

Scale = Literal["smoke", "laptop", "paper"]
KEYS = {"paper", "figure", "scale", "findings", "shown"}  # what a record has at least
PACKAGES = ("lazyrich", "numpy", "scipy", "torch", "xarray")
MARKS = ("<!-- results -->", "<!-- end of results -->")
DATA_FOLDER = "LAZYRICH_DATA"
NOTHING: Mapping[str, str] = MappingProxyType({})
TOLD = 60.0  # seconds above which it is said how long a study will take


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a script found.

    Attributes:
        findings: by the names of `expected.json`.
        shown: plain lists, dicts and numbers that `draw` needs.
    """

    findings: Mapping[str, Finding]
    shown: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and at which size a script works.

    Attributes:
        paper: name of its folder.
        figure: name of the script.
        scale: "smoke", "laptop" or "paper".
        out: folder of `runs/`, `records/` and `figures/`.
        workers: processes; None for the default of `lazyrich.sweep`, and for this process at
            scale "smoke".
        environment: variables that every run finds, such as the device to train on.
        progress: say on stderr what runs, how far it is and how long it took.
        log: the studies that were run, for the record.
    """

    paper: str
    figure: str
    scale: Scale
    out: Path
    workers: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: bool = False
    log: dict[str, Any] = field(default_factory=dict)

    def sweep(self, plan: lr.Study) -> xr.Dataset:
        """Run a study, what is left of it, failed in it or was added to it; return its results."""
        folder = self.out / "runs" / self.scale / self.figure / plan.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        options = {
            **{"extend": True, "retry_failed": True, "progress": self.progress},
            "environment": self.environment,
        }
        self.tell(f"study {plan.name}, {len(plan)} points")
        self._tell_time(plan, folder)
        if self.scale == "smoke" and self.workers is None:  # no process for a few seconds' work
            with ThreadPoolExecutor(1) as here:
                lr.sweep(plan, folder, executor=here, **options)
        else:
            lr.sweep(plan, folder, workers=self.workers, **options)
        found = lr.results(folder)  # of this plan; the store may hold points of earlier ones
        failed = found.sentence.values[found.status.values == "failed"]
        if failed.size:
            raise lr.LazyRichError(
                f"{failed.size} of the {len(plan)} points of the study {plan.name!r} failed: "
                f"{failed[0]} Run the same again when it is mended: they are tried again."
            )
        self.log[plan.name] = {
            "points": len(plan),
            "statuses": Counter(filter(None, found.status.values.ravel().tolist())),
            "seeds": list(plan.seeds),
            "description": json.loads(plan.to_json()),
            "seconds": float(found.seconds.sum()),
            "computed_on": sorted({*found.computed_on.values.ravel().tolist()} - {""})
            if "computed_on" in found.coords
            else [],
        }
        return found

    def _tell_time(self, plan: lr.Study, folder: Path) -> None:
        """Say how long a study will take, from a few timed steps of the networks that it trains."""
        if not self.progress or self.scale == "smoke":
            return
        done: set[str] = set()
        if (folder / "store.sqlite").is_file():
            with sweeps.Store.read_only(folder) as store:
                done = set(store.keys("fitted", "finished", "diverged"))
        left = [point.experiment for point in plan.points() if point.key not in done]
        estimated = estimate(left, self.workers or os.cpu_count() or 1, self.environment)
        if estimated is not None and estimated.seconds > TOLD:
            self.tell(f"study {plan.name}: {estimated}")

    def tell(self, words: str) -> None:
        """Say what happens, also where there is no terminal."""
        if self.progress:
            print(f"{self.paper}/{self.figure}: {words}", file=sys.stderr, flush=True)

    def record(self, figure: str) -> Record:
        """The record of another figure at the same scale."""
        return read(self.paper, figure, self.scale, self.out)


def reproduce(
    target: str,
    *,
    scale: Scale,
    out: Path | None = None,
    data_dir: Path | None = None,
    workers: int | None = None,
    environment: Mapping[str, str] = NOTHING,
    only_plot: bool = False,
    or_kept: bool = False,
    progress: bool = False,
) -> list[Record]:
    """Run or redraw one figure (`paper/figN`) or all of a paper (`paper`).

    Args:
        target: what to reproduce.
        scale: of the runs.
        out: folder in which every paper gets one for its records and figures; None for this one,
            where the README shows them.
        data_dir: folder of the data sets; None for the environment's LAZYRICH_DATA.
        workers: processes.
        environment: variables that every run finds, such as the device to train on.
        only_plot: draw again from the records, run nothing.
        or_kept: draw from a record that is kept here where `out` has none.
        progress: say on stderr what runs, how far it is and how long it took.

    Returns:
        The records.

    Raises:
        InputError: there is no such paper or figure, or no record of it, or a damaged one.
    """
    paper, _, figure = target.partition("/")
    names = figures(paper)
    if figure and figure not in names:
        raise lr.InputError(f"{paper!r} has the figures {', '.join(names)}, got {figure!r}.")
    folder = HOME if out is None else Path(out)
    place = folder / paper
    _announce(data_dir)
    records = []
    for name in [figure] if figure else names:
        bench = Bench(
            **{"paper": paper, "figure": name, "scale": scale, "out": place, "workers": workers},
            **{"environment": environment, "progress": progress},
        )
        if only_plot:
            known = place_of_record(place, scale, name).is_file() or not or_kept
            records.append(read(paper, name, scale, place if known else None))
        else:
            records.append(_run(bench))
            bench.tell(f"done in {records[-1]['seconds']['this_command']:.0f} s")
        _draw(records[-1], place)
    if folder.resolve() == HOME:
        _refresh_readme(paper)
    return records


def read(paper: str, figure: str, scale: str, out: Path | None = None) -> Record:
    """A record from its file."""
    path = place_of_record(out or HOME / paper, scale, figure)
    if not path.is_file():
        raise lr.InputError(
            f"there is no record of {paper}/{figure} at scale {scale!r} in {path.parents[3]}. "
            f"Run `lazyrich reproduce {paper}/{figure} --scale {scale} --out {path.parents[3]}` "
            "first."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = {}
    if not (isinstance(record, dict) and record.keys() >= KEYS):
        raise lr.InputError(
            f"{path} must be a record, and it is none or is damaged. Delete it and run "
            f"`lazyrich reproduce {paper}/{figure} --scale {scale} --out {path.parents[3]}` again."
        )
    return record


def _run(bench: Bench) -> Record:
    module = script(bench.paper, bench.figure)
    bench.tell(subject(module.__doc__))
    start = time.perf_counter()
    measured: Measured = module.measure(bench)
    wanted, given = set(expected(bench.paper)[bench.figure]), set(measured.findings)
    if wanted - given:
        raise RuntimeError(f"{bench.figure} did not measure {sorted(wanted - given)}")
    record = {
        "paper": bench.paper,
        "figure": bench.figure,
        "scale": bench.scale,
        "command": f"lazyrich reproduce {bench.paper}/{bench.figure} --scale {bench.scale}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {
            "this_command": time.perf_counter() - start,
            "all_runs": sum(part["seconds"] for part in bench.log.values()),
        },
        "machine": {
            "python": platform.python_version(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "versions": {name: version(name) for name in PACKAGES},
        "sources": {
            part.name: sha256(part.read_bytes()).hexdigest()
            for part in sorted(Path(str(module.__file__)).parent.glob("*.py"))
        },
        "studies": bench.log,
        "findings": {name: vars(found) for name, found in measured.findings.items()},
        "shown": measured.shown,
    }
    path = place_of_record(bench.out, bench.scale, bench.figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(record), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(_flat(text) + "\n")
    return json.loads(text)


def _draw(record: Record, out: Path) -> Path:
    folder = out / "figures" / record["scale"]
    folder.mkdir(parents=True, exist_ok=True)
    with plot.style():
        made = script(record["paper"], record["figure"]).draw(record)
        return plot.save(made, folder / f"{record['figure']}.png")


def _announce(data_dir: Path | None) -> None:
    """Let worker processes find the papers and the data."""
    root = str(HOME.parent)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, known)])
    if data_dir is not None:
        os.environ[DATA_FOLDER] = str(Path(data_dir).resolve())


def _refresh_readme(paper: str) -> None:
    """Put the results of the laptop scale into the README."""
    path = HOME / paper / "README.md"
    before, rest = path.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n{results(paper)}\n{MARKS[1]}{after}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


def _flat(text: str) -> str:
    """Lists of numbers on one line."""
    return re.sub(r"\[[\s\d.,eE+\-nul]*\]", lambda part: " ".join(part[0].split()), text)
