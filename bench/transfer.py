"""Goal: hyperparameters tuned small hold for the large network, by `lazyrich.transfer`.

Loss against learning rate, one curve a size, for MLP, CNN, transformer and residual networks under
SGD, Adam and Muon: as the networks are, with the table of muP (or, over depths, of CompleteP), and
with measured factors. The optimum should move by ≤ 0.5 octaves from the smallest to the largest
network, the loss at the rate of the smallest one be within 2 % of the best of the largest one, and
the loss at the optimum be no worse than with the table.

    python bench/transfer.py                        # print the table; goes on where it stopped
    python bench/transfer.py --record FILE          # also write it (FILE.json, FILE.md)
    python bench/transfer.py --figure FILE          # draw the record's curves
    python bench/transfer.py --only transformer Adam
    python bench/transfer.py --trained --record FILE   # of what has been trained so far

What has been trained is kept in a file of lines (`--cells`), and only what is missing is trained.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from timing import machine
from transfer_curves import (
    Losses,
    Minimum,
    Notebook,
    NotTrainedError,
    minimum,
    say,
    search,
    trained,
)
from transfer_mup import compared
from transfer_page import page, plotted, summary, write
from transfer_regimes import FEW, regimes
from transfer_schemes import MORE, OPTIMIZERS, Family, Pair, factors_of, measured

SEEDS = 3  # of each size but the smallest
MEASURED = {"lazyrich": 1, "lazyrich, 20 steps": 20}  # steps that are measured, by scheme
SCHEMES = {
    "Adam": ("standard", "table", *MEASURED),  # its first step is one of signs, the others are not
    "Muon": ("standard", "table", "lazyrich"),
    "SGD": ("standard", "table", "lazyrich"),
}
FAMILIES = (
    Family(task="mlp", axis="width", sizes=(32, 128, 512), other=2, steps=60),
    Family(task="transformer", axis="width", sizes=(16, 64, 256), other=2, steps=50),
    Family(task="residual", axis="depth", sizes=(2, 8), other=64, steps=40),
    Family(task="digits", axis="width", sizes=(32, 128, 512), other=2, steps=100),
    Family(task="cnn_norm", axis="width", sizes=(8, 32, 128), other=2, steps=60),
    Family(task="transformer", axis="depth", sizes=(2, 8), other=32, steps=50),
    Family(task="cnn", axis="width", sizes=(8, 32, 128), other=2, steps=60),
)
PACKAGE_KNOWS = tuple(one for one in FAMILIES if one.name in ("mlp, width", "transformer, width"))
Curves = dict[tuple[str, int], tuple[Losses, Minimum]]
"""By scheme and size."""


class Proof:
    """One family under one optimiser: all its curves."""

    def __init__(self, family: Family, optimizer: str, notebook: Notebook, few: int) -> None:
        self.family, self.optimizer, self.few = family, optimizer, few
        self.schemes = SCHEMES[optimizer]
        self._notebook, self._task = notebook, family.made()
        self._where = (
            f"{family.task}/{self._task.data}/{family.axis}/{family.other}/{family.steps}/"
            f"{optimizer}"
        )

    def losses(
        self,
        scheme: str,
        size: int,
        rate: float,
        *,
        part: str = "train",
        seeds: Sequence[int] | None = None,
    ) -> list[float]:
        """Of every seed, at a learning rate."""
        found = []
        for seed in self._seeds(size) if seeds is None else seeds:
            # one measured step gives factors that do not depend on the learning rate it is made at
            key = f"{self._where}/{scheme}/{size}/{rate:g}/{seed}"
            cell = self._notebook.get(
                key,
                lambda seed=seed: trained(
                    self.family, self._task, self.optimizer, size, rate,
                    self.factors(scheme, size), seed,
                ),
            )  # fmt: skip
            found.append(math.inf if cell[part] is None else cell[part])
        return found

    def factors(self, scheme: str, size: int) -> Pair:
        """Of a scheme; those of lazyrich are measured once."""
        if scheme not in MEASURED:
            return factors_of(self.family, scheme, self.optimizer, size)
        lr, init = self._transferred(scheme)["factors"][str(size)]
        return lr, init

    def _transferred(self, scheme: str) -> dict[str, Any]:
        key = f"{self._where}/transfer/{MEASURED[scheme]}/{self.best:g}"
        return self._notebook.get(key, lambda: self._transfer(MEASURED[scheme]))

    def _transfer(self, steps: int) -> dict[str, Any]:
        found = measured(self.family, self.optimizer, self.best, steps)
        factors = {}
        for size in self.family.sizes[1:]:
            one = found.factors(self.family.model(self._task, size, 0), size)
            factors[str(size)] = (dict(one.lr), dict(one.init))
        return {"factors": factors, "notes": found.notes}

    @cached_property
    def best(self) -> float:
        """The logarithm of the learning rate that is best for the smallest network."""
        return round(self.curve("standard", self.family.sizes[0], self._start)[1].rate, 3)

    def _seeds(self, size: int) -> range:
        return self.family.seeds(size, self.few)

    @property
    def _start(self) -> int:
        return 2 * OPTIMIZERS[self.optimizer][1]

    def curve(self, scheme: str, size: int, start: int) -> tuple[Losses, Minimum]:
        """Loss against learning rate around the minimum."""
        losses = search(
            lambda place, seeds: self.losses(scheme, size, place / 2, seeds=seeds),
            start, self._seeds(size), self.family.around(size),
        )  # fmt: skip
        return losses, minimum(losses)

    @cached_property
    def curves(self) -> Curves:
        """Of all schemes and sizes; all schemes are the same for the smallest network."""
        small, *larger = self.family.sizes
        first = self.curve("standard", small, self._start)
        found = {("standard", small): first}
        for scheme in self.schemes:
            start = self.best
            for size in larger:
                found[scheme, size] = self.curve(scheme, size, round(2 * start))
                start = found[scheme, size][1].rate
                say(
                    f"{self.family.name}, {self.optimizer}, {scheme}, {size}: "
                    f"{found[scheme, size][1].rate:.2f} against {self.best:.2f}, loss "
                    f"{found[scheme, size][1].loss:.4f}; {self._notebook.seconds / 60:.0f} min"
                )
        return found

    @cached_property
    def carried(self) -> list[dict[str, Any]]:
        """The larger networks at the rate that is best for the smallest one."""
        return [
            {
                "scheme": scheme,
                "size": size,
                "losses": _finite(self.losses(scheme, size, self.best)),
                "held_out": _finite(self.losses(scheme, size, self.best, part="held_out")),
            }
            for scheme in self.schemes
            for size in self.family.sizes[1:]
        ]

    def finished(self) -> bool:
        """Whether all is there."""
        try:
            self.record()
        except NotTrainedError:
            return False
        return True

    @cached_property
    def regimes(self) -> list[dict[str, Any]]:
        """Of every size, of the first seed, at the rate carried over with measured factors."""
        found = []
        for size in self.family.sizes:
            small = size == self.family.sizes[0]
            factors: Pair = ({}, {}) if small else self.factors("lazyrich", size)
            given = self.family, self._task, self.optimizer, size, self.best, factors, 0
            key = f"{self._where}/regime/{tuple(FEW.values())}/{size}/{self.best:g}/0"
            cell = self._notebook.get(key, lambda given=given: regimes(*given))
            told = {name: value for name, value in cell.items() if name not in ("key", "seconds")}
            found.append({"size": size, **told})
        return found

    def record(self) -> dict[str, Any]:
        """Everything about the curves."""
        curves = self.curves
        return {
            "family": asdict(self.family) | {"data": self._task.data, "name": self.family.name},
            "optimizer": self.optimizer,
            "schemes": self.schemes,
            "best_rate": self.best,
            "curves": [
                {
                    "scheme": scheme,
                    "size": size,
                    "rates": [place / 2 for place in losses],
                    "losses": [_finite(row) for row in losses.values()],
                    "held_out": [
                        _finite(self.losses(scheme, size, place / 2, part="held_out"))
                        for place in losses
                    ],
                    "minimum": asdict(lowest),
                }
                for (scheme, size), (losses, lowest) in curves.items()
            ],
            "carried": self.carried,
            "regimes": self.regimes,
            "factors": {
                scheme: self._transferred(scheme)["factors"] for scheme in self.schemes[2:]
            },
            "notes": {scheme: self._transferred(scheme)["notes"] for scheme in self.schemes[2:]},
        }


def _finite(losses: Sequence[float]) -> list[float | None]:
    return [round(one, 6) if math.isfinite(one) else None for one in losses]


def main(given: Sequence[str] | None = None, families: Sequence[Family] = FAMILIES) -> None:
    """Train what is missing, print the table, record and draw it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    parser.add_argument("--figure", type=Path, help="picture, of Adam; others beside it")
    parser.add_argument("--only", nargs="+", default=[], help="tasks, axes, optimisers")
    kept = Path(tempfile.gettempdir()) / "lazyrich-transfer.jsonl"
    parser.add_argument("--cells", type=Path, default=kept, help="what has been trained")
    parser.add_argument("--trained", action="store_true", help="only what has been trained")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    asked = parser.parse_args(given)
    torch.set_num_threads(1)
    notebook = Notebook(path=asked.cells, closed=asked.trained)
    proofs: list[Proof] = []
    for optimizer, family in itertools.product(OPTIMIZERS, families):
        if set(asked.only) <= {family.task, family.axis, optimizer}:
            proofs.append(Proof(family, optimizer, notebook, asked.seeds))
    if asked.trained:
        proofs = [proof for proof in proofs if proof.finished()]
    for proof in proofs:
        met = [f"{one['size']} {one['verdict']}" for one in proof.regimes]
        ours = f"{len(proof.curves)} curves, {len(proof.carried)} at the rate carried over"
        say(f"{proof.family.name}, {proof.optimizer}: {ours}; {', '.join(met)}")
    parts = [proof.record() for proof in proofs]
    rows = summary(parts)
    print(page(rows))
    if asked.record:
        write(
            asked.record,
            {
                "goal": (__doc__ or "").splitlines()[0].removeprefix("Goal: "),
                "command": f"scripts/bench transfer --record {asked.record}",
                "seeds": {"smallest": MORE * asked.seeds, "others": asked.seeds},
                "processor_minutes": round(notebook.seconds / 60, 1),
                "microsoft_mup": compared(PACKAGE_KNOWS),
                **machine("torch"),
            },
            rows,
            parts,
        )
    for optimizer in OPTIMIZERS if asked.figure else ():
        if drawn := [part for part in parts if part["optimizer"] == optimizer]:
            more = "" if optimizer == "Adam" else f"-{optimizer.lower()}"
            target = asked.figure.with_stem(asked.figure.stem + more)
            plotted(drawn).savefig(target, dpi=110)


if __name__ == "__main__":
    main()
