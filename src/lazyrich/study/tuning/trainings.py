"""All trainings of a richness curve, kept in a store: what is there is not done again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lazyrich.capture.losses import loss_name
from lazyrich.probe.state import digest
from lazyrich.study.tuning.trial import RichnessTrial, TuningTask, trained
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.describe.plain import Plain
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.run.progress import Meter
from lazyrich.sweeps.store.store import Store

AS_IT_STANDS = "as it stands"


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """What was trained.

    Attributes:
        levels: ρ, rising.
        scales: factors on the learning rates.
        rows: results by label of the setting, scale and seed.
        seeds: seeds of which everything is there.
        planned: trainings in all.
        made: number of these that this call made; the others came from the store.
    """

    levels: tuple[float, ...]
    scales: tuple[float, ...]
    rows: Mapping[tuple[Plain, Plain, Plain], Result]
    seeds: tuple[int, ...]
    planned: int
    made: int

    def row(self, rho: float | None, scale: float, seed: int) -> Result:
        """One of them; ρ is None for the network as it stands."""
        return self.rows[label_of_setting(rho), scale, seed]


def label_of_setting(rho: float | None) -> str:
    """What a setting is called in the store.

    Args:
        rho: None for the network as it stands.
    """
    return AS_IT_STANDS if rho is None else f"{rho:.6g}"


def trainings(
    task: TuningTask,
    levels: tuple[float, ...],
    scales: tuple[float, ...],
    seeds: int,
    *,
    out: str | Path | None,
    progress: bool,
) -> Trainings:
    """Train at every setting, scale and seed what is not stored yet; Ctrl-C ends it.

    Args:
        task: what is trained.
        levels: ρ to set.
        scales: factors on the learning rates.
        seeds: how many.
        out: folder of the store; None for one that goes afterwards.
        progress: show it.
    """
    study = _study(task, levels, scales, seeds)
    with _folder(out) as folder, Store.open(folder, study, extend=True) as store:
        made = _run(task, study, store, shown=progress)
        there = store.keys()
        rows = {
            (point.place["setting"], point.place["lr_scale"], point.place["seed"]): store.read(
                point.key
            )
            for point in study.points()
            if point.key in there
        }
    each = len(study) // seeds
    return Trainings(
        levels=levels,
        scales=scales,
        rows=rows,
        seeds=tuple(s for s in range(seeds) if sum(seed == s for *_, seed in rows) == each),
        planned=len(study),
        made=made,
    )


def _study(task: TuningTask, levels: Sequence[float], scales: Sequence[float], seeds: int) -> Study:
    settings: list[Plain] = [
        {"label": label_of_setting(rho), "richness": rho} for rho in (None, *levels)
    ]
    return Study(
        name="best richness",
        experiment=RichnessTrial,
        base={"task": task_key(task)},
        axes={"setting": settings, "lr_scale": list(scales)},
        seeds=range(seeds),
    )


def task_key(task: TuningTask) -> str:
    """What tells a task from another one: weights, data, optimiser, losses, steps and rates.

    Args:
        task: the task, whose first seed is looked at.
    """
    with task.seeded(0):
        model, optimizer = task.built()
        tensors = [dict(model.state_dict()), task.batch, next(iter(task.batches), None)]
    tensors += [] if callable(task.test) else [task.test]
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    rates = [task.schedule(step) for step in range(task.steps)] if task.schedule else []
    words = (loss_name(task.loss), task.tested_by, type(optimizer).__name__, groups, rates)
    told = f"{digest(tensors)} {words} {task.steps} {task.width}"
    return sha256(told.encode()).hexdigest()[:16]


def digest_of_start(task: TuningTask, seed: int) -> str:
    """What tells the weights and the data of one seed from those of another one.

    Args:
        task: the task.
        seed: seed of its generators.
    """
    with task.seeded(seed):
        model, _ = task.built()
        return digest([dict(model.state_dict()), task.batch, next(iter(task.batches), None)])


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """The user's folder, or one that goes afterwards."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "trainings"


def _run(task: TuningTask, study: Study, store: Store, *, shown: bool) -> int:
    """Run what is not stored, whole seeds first, until Ctrl-C; returns how many were."""
    there = store.keys()
    left = [point for point in study.points() if point.key not in there]
    left.sort(key=lambda point: point.experiment.seed)
    done = len(study) - len(left)
    made = 0
    with Meter(study.name, points=len(study), done=done, shown=shown) as meter:
        try:
            for point in left:
                trial = point.experiment
                assert isinstance(trial, RichnessTrial)
                result = trained(task, trial)
                store.write([(point, result)])
                made += 1
                meter.advance(1, failed=result.status != "finished")
        except KeyboardInterrupt:
            return made
    return made
