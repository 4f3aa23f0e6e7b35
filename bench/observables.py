"""What the observables cost, beside what they replace, in one run on one machine.

python bench/observables.py                    print the table
python bench/observables.py --record FILE      also write it as JSON and Markdown

Routes take turns; each line is the median and the range of the rounds. Memory is the growth of a
process's peak resident size, one process a line. Networks and routes: networks.py, routes.py.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import networks
import routes
import torch
from timing import Row, interleaved, machine, markdown, peak_bytes, row
from torch import Tensor, nn

import lazyrich

Route = Callable[[nn.Module, Tensor], object]
ROUNDS = 3
PATIENCE = 5.0  # seconds: what takes longer runs once

KERNEL: dict[str, Route] = {
    "lazyrich": lambda model, x: lazyrich.ntk(model, x),
    "torch.func": routes.kernel_by_jacobians,
    "nngeometry": routes.kernel_by_nngeometry,
}
SIMILARITY: dict[str, Route] = {
    "lazyrich": lambda model, x: lazyrich.cka(model, networks.moved(model), x).cka.values,
    "float32": lambda model, x: routes.similarity_by_hooks(model, networks.moved(model), x),
}
ANSATZ: dict[str, Route] = {
    "lazyrich, two probes": lambda model, x: lazyrich.nfa(model, x),
    "lazyrich, exact": lambda model, x: lazyrich.nfa(model, x, directions="all"),
    "perturbations": routes.ansatz_by_perturbations,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and a batch of n samples; goals are least ratios by route."""

    what: str
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    routes: dict[str, Route]
    goals: dict[str, float]

    def build(self) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        model, x = self.network(), torch.randn(self.shape)
        networks.settle(model, x)
        return model, x


def _case(
    what: str, network: Callable[[], nn.Module], *shape: int, **goals: float
) -> tuple[str, Case]:
    kind = {"NTK": KERNEL, "NFA": ANSATZ, "CKA": SIMILARITY}[what[:3]]
    named = {name.replace("_", "."): goal for name, goal in goals.items()}
    what = f"{what}, n = {shape[0]:,}"
    return what, Case(what=what, network=network, shape=shape, routes=kind, goals=named)


def _cells() -> Iterator[tuple[str, Case]]:
    """NTK of four networks with 1, 10 and 100 outputs, of few samples and of many.

    As many as leave the Jacobian that `torch.func` makes below 1.5 GB.
    """
    image = 3, 32, 32
    for outputs, few, many in ((1, 10, 200), (10, 10, 40), (100, 4, 10)):
        of = f"{outputs} output" + "s" * (outputs > 1)
        for name, network, shape in (
            ("CNN", networks.cnn, image),
            ("ResNet-8", networks.resnet, image),
            ("transformer", networks.Transformer, (16, 48)),
        ):
            for n in (few, many):
                make = partial(network, outputs)
                yield _case(f"NTK, {name}, {of}", make, n, *shape, torch_func=1.1, nngeometry=1.1)
        for n in (few, 4 if outputs == 100 else many):
            goals = {"torch_func": 1.1 if outputs == 1 else 100, "nngeometry": 4}
            yield _case(f"NTK, MLP, {of}", partial(networks.mlp, outputs), n, 784, **goals)


CASES = dict(
    (
        *_cells(),
        _case("CKA, MLP", lambda: networks.mlp(10), 1000, 784, float32=1),
        _case("CKA, ResNet-8", networks.resnet, 200, 3, 32, 32, float32=1),
        _case("CKA, transformer", networks.Transformer, 500, 16, 48, float32=1),
        _case("NFA, MLP, 10 outputs", lambda: networks.mlp(10), 1000, 784, perturbations=5),
        _case("NFA, MLP, 100 outputs", lambda: networks.mlp(100), 1000, 784, perturbations=15),
        _case("NFA, ResNet-8", networks.resnet, 100, 3, 32, 32),
        _case("NFA, transformer", networks.Transformer, 500, 16, 48),
    )
)


def compare(case: Case, rounds: int) -> list[Row]:
    """Time all routes of a case in turn, and say how far their results are apart."""
    model, x = case.build()
    results, refused, once = {}, {}, {}
    for name, route in case.routes.items():
        start = perf_counter()
        try:
            results[name] = route(copy.deepcopy(model), x)
            if (taken := perf_counter() - start) > PATIENCE:
                once[name] = [taken]
        except (RuntimeError, NotImplementedError) as error:
            refused[name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    models = {name: copy.deepcopy(model) for name in results if name not in once}
    seconds = once | interleaved(
        {name: lambda name=name: case.routes[name](models[name], x) for name in models}, rounds
    )
    first = next(iter(results))
    rows = []
    for name in results:
        ratio = statistics.median(seconds[name]) / statistics.median(seconds[first])
        goal = case.goals.get(name)
        parts = [] if name == first else [f"{ratio:.2g} × lazyrich" + _missed(ratio, goal)]
        parts += [_agreement(name, results), peak(case, name) if name not in once else "one run"]
        rows.append(
            row(
                f"{case.what}: {name}",
                seconds[name],
                goal=f"≥ {goal:g} × lazyrich" if goal else "",
                note="; ".join(filter(None, parts)),
            )
            | {"ratio": ratio}
        )
    for name, reason in refused.items():
        rows.append(row(f"{case.what}: {name}", [], note=f"refused, {reason}"))
    return rows


def _missed(ratio: float, goal: float | None) -> str:
    return " (goal missed)" if goal and ratio < goal else ""


def _agreement(name: str, results: dict[str, object]) -> str:
    """Difference from torch.func's kernel, or from the exact table of layers."""
    if "torch.func" in results:
        found, exact = results[name], results["torch.func"]
        assert isinstance(found, Tensor)
        assert isinstance(exact, Tensor)
        gap = float((found - exact).double().norm() / exact.double().norm())
        return "" if name == "torch.func" else f"differs from torch.func by {gap:.1e} relative"
    if "float32" in results:
        gap = float(abs(results["float32"] - results["lazyrich"]).max())
        return "" if name == "float32" else f"differs from float32 by at most {gap:.1e}"
    exact = results["lazyrich, exact"].nfa
    if name == "perturbations":
        gap = max(abs(float(exact.sel(layer=k)) - v) for k, v in results[name].items())
        return f"differs from exact by at most {gap:.1e}"
    if name == "lazyrich, exact":
        return ""
    table = results[name]
    gap, error = float(abs(table.nfa - exact).max()), float(table.nfa_stderr.max())
    return f"differs from exact by at most {gap:.1e}, largest standard error {error:.1e}"


def peak(case: Case, route: str) -> str:
    """Extra peak memory of one run in a process of its own."""
    command = [sys.executable, __file__, "--peak", case.what, route]
    command += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return f"peak +{float(done.stdout):.0f} MB"


def _print_peak(case: Case, route: str) -> None:
    model, x = case.build()
    work = case.routes[route]
    work(copy.deepcopy(model), x[:4])  # libraries and threads have their memory now
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # forget the peak of the imports
    before = _peak_bytes()
    work(model, x)
    print((_peak_bytes() - before) / 2**20)


def _peak_bytes() -> int:
    """Peak resident size; not getrusage's on Linux, which is at least the parent process's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return peak_bytes()


def main() -> None:
    """Run everything, print the tables, record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "ROUTE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        torch.set_num_threads(options.threads[0])
        _print_peak(CASES[options.peak[0]], options.peak[1])
        return
    rows, text = [], ""
    for threads in options.threads:
        torch.set_num_threads(threads)
        part: list[Row] = []
        for name, case in CASES.items():
            if options.only in name:
                print(f"{threads} threads: {name} …", file=sys.stderr, flush=True)
                part += compare(case, options.rounds)
        rows += [entry | {"threads": threads} for entry in part]
        text += f"{_heading(threads, options.rounds)}\n\n{markdown(part)}\n"
        if options.record:
            _record(options.record, rows, text, options.rounds)
    print(text)


def _record(target: Path, rows: list[Row], text: str, rounds: int) -> None:
    setting = {
        "command": "python bench/observables.py " + " ".join(sys.argv[1:]),
        "rounds": rounds,
        "load": os.getloadavg(),
        **machine("torch", "nngeometry", "numpy"),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(setting | {"rows": rows}, indent=2) + "\n")
    target.with_suffix(".md").write_text(text)


def _heading(threads: int, rounds: int) -> str:
    versions = f"torch {torch.__version__}, nngeometry {version('nngeometry')}"
    cores = f"{threads} thread" + "s" * (threads > 1)
    return f"**{cores}** of {os.cpu_count()}, {versions}, float32, {rounds} rounds in turn"


if __name__ == "__main__":
    main()
