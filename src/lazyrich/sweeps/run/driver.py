"""Hands the missing points of a study to an executor and stores what comes back.

A bounded number of points is under way at a time; what comes back together is one durable commit.
The driver alone touches the store.
"""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pickle import PicklingError
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from lazyrich._errors import InputError, StoreWarning, WorkerError
from lazyrich.sweeps.describe.description import Point, Study
from lazyrich.sweeps.describe.source import mixed_devices
from lazyrich.sweeps.result import Status
from lazyrich.sweeps.run.executors import Processes, deserted
from lazyrich.sweeps.run.process import TimeLimitError, WorkerDiedError
from lazyrich.sweeps.run.progress import Meter, duration
from lazyrich.sweeps.run.work import failed, pack, run_packed, run_points
from lazyrich.sweeps.store.codec import Packed, decode, encode
from lazyrich.sweeps.store.rows import Row
from lazyrich.sweeps.store.store import Store, packed_of

DEATHS = 3  # processes that may die of a point before it is a failed one
SHORTAGES = 2  # processes that may lack memory for it: one after others, and a new one
COMMIT_EVERY = 0.05  # seconds that a finished point waits for others at most
LOOKED_AT = 100  # stored points, for one that says what it was computed on
GOOD: tuple[Status, ...] = ("fitted", "finished", "diverged")
BREATH = 1000  # finished groups that are passed over before the driver looks at what came back
SILENCE = 10.0  # seconds without a result before the driver looks whether workers are left
DESERTED = 30.0  # seconds without a worker after which the driver says so
PATIENCE = 3600.0  # seconds without a worker, after there were some, that end the sweep


Landed = dict[str, tuple[Point, Packed]]
"""Points that have ended, by their keys, with their results in bytes."""


@dataclass(kw_only=True, eq=False)
class _Task:
    """Points that run in one call: a group, or one alone."""

    points: tuple[Point, ...]
    wanted: frozenset[str]  # keys that are stored; the rest of a group is there already
    tries: int = 0
    secluded: bool = False  # runs while nothing else does


class Driver:
    """The state of one sweep; `limit` is the number of calls that may be under way."""

    def __init__(
        self,
        store: Store,
        study: Study,
        executor: Executor,
        limit: int,
        together: int,
        timeout: float | None,
        retry_failed: bool,
        environment: Mapping[str, str],
    ) -> None:
        self.stopped = self._ending = False
        self.ran = 0
        self._store, self._executor = store, executor
        self._limit, self._timeout, self._retry = limit, timeout, retry_failed
        self._environment = dict(environment)
        self._computed_on = _computed_on(store)
        self._done = store.keys(*(GOOD if retry_failed else ()))
        self.stored = sum(p.key in self._done for p in study.points()) if self._done else 0
        self._tasks = self._todo(study, together)
        self._again: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._flying: dict[Future[list[Packed]], _Task] = {}
        self._inbox: SimpleQueue[Future[list[Packed]] | None] = SimpleQueue()
        self._calls = count()
        self._vigil = _Vigil()

    def stop(self) -> None:
        """End soon; a signal handler may call it."""
        self.stopped = True
        self._inbox.put(None)  # wakes the driver

    def drive(self, meter: Meter) -> None:
        """Run what is missing, until the end or `stop`."""
        landed: Landed = {}
        try:
            self._loop(meter, landed)
        except BaseException:
            with suppress(Exception):
                self._finish(meter, landed)
            raise
        self._finish(meter, landed)

    def _loop(self, meter: Meter, landed: Landed) -> None:
        since = monotonic()
        while not self.stopped:
            if not landed:
                since = monotonic()
            launched = len(self._flying) < self._limit and self._launch()
            if not (launched or self._flying or landed):
                break
            wait = not launched and not landed
            if self._land(landed, wait=wait):
                self._vigil.heard()
            elif wait:
                self._vigil.look(self._executor, len(self._flying), meter)
            if landed and (not launched or monotonic() - since > COMMIT_EVERY):
                self._write(landed, meter)

    def _finish(self, meter: Meter, landed: Landed) -> None:
        """Store what has ended and forget what has not."""
        self._ending = True
        for future in tuple(self._flying):
            future.cancel()
        self._land(landed, wait=False)
        self._write(landed, meter)

    def _todo(self, study: Study, together: int) -> Iterator[_Task]:
        """The groups of the full study in which points are missing."""
        points = study.points()
        skipped = 0
        while group := tuple(islice(points, together)):
            wanted = frozenset(point.key for point in group if point.key not in self._done)
            skipped += not wanted
            if wanted or skipped % BREATH == 0:
                yield _Task(points=group, wanted=wanted)

    def _launch(self) -> bool:
        """Hand one task to the executor, if one may run now."""
        task = self._next()
        if task is None:
            return False
        if not task.wanted:
            return True
        experiments = [point.experiment for point in task.points]
        try:
            if isinstance(self._executor, Processes):
                seconds = self._timeout and self._timeout * len(experiments)
                fresh = task.tries > 0  # what it lacked may have been taken by others before it
                future = self._executor.within(
                    seconds, fresh, run_points, experiments, self._environment
                )
            else:
                packed = pack(experiments, self._environment)
                future = self._executor.submit(run_packed, packed, next(self._calls))
        except RuntimeError as error:  # broken, or shut down
            raise _unusable(error) from error
        except (TypeError, AttributeError, PicklingError) as error:
            raise InputError(
                f"a point must be picklable to go to a worker, got {experiments[0]!r:.200}: "
                f"{error}. Keep what is not picklable out of the experiment's fields."
            ) from error
        self._flying[future] = task
        future.add_done_callback(self._inbox.put)
        return True

    def _next(self) -> _Task | None:
        if self._again:
            return self._again.popleft()
        if any(task.secluded for task in self._flying.values()):
            return None
        if self._suspects:
            return None if self._flying else self._suspects.popleft()
        return next(self._tasks, None)

    def _land(self, landed: Landed, *, wait: bool) -> bool:
        """Add the results of all tasks that have ended; whether there were any."""
        some = False
        with suppress(Empty):
            future = self._inbox.get(wait, SILENCE)
            while True:
                some = True
                if future is not None:
                    landed |= self._outcome(future, self._flying.pop(future))
                future = self._inbox.get_nowait()
        return some

    def _outcome(self, future: Future[list[Packed]], task: _Task) -> Landed:
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            results = zip(task.points, future.result(), strict=True)
            return {point.key: (point, one) for point, one in results if point.key in task.wanted}
        if self._ending:
            return {}
        told = str(error) or type(error).__name__
        if isinstance(error, MemoryError | WorkerDiedError) or _is_lost_on_dask(error):
            task.tries += 1
            lacking = isinstance(error, MemoryError)
            if task.tries < (SHORTAGES if lacking else DEATHS):
                self._again.append(task)
                return {}
            if not lacking:
                told = f"its worker process died each time it ran ({DEATHS} times): {error}"
        elif _is_killed_on_dask(error):  # whatever was queued on the worker is suspected
            if not task.secluded:
                task.secluded = True
                self._suspects.append(task)
                return {}
        elif not isinstance(error, TimeLimitError):
            raise _unusable(error or "it cancelled a point") from error
        return self._given_up(task, told, "\n".join(getattr(error, "__notes__", ())))

    def _given_up(self, task: _Task, told: str, trace: str = "") -> Landed:
        """A group is taken apart; a point alone has failed."""
        if len(task.points) > 1:
            for point in task.points:
                if point.key in task.wanted:
                    self._again.append(_Task(points=(point,), wanted=frozenset({point.key})))
            return {}
        return {point.key: (point, encode(failed(told, trace))) for point in task.points}

    def _write(self, landed: Landed, meter: Meter) -> None:
        if landed:
            self._store.write(landed.values(), replace_failed=self._retry)
            self._compare_devices(landed)
            self.ran += len(landed)
            bad = sum(packed.status == "failed" for _, packed in landed.values())
            meter.advance(len(landed), failed=bad)
            landed.clear()

    def _compare_devices(self, landed: Landed) -> None:
        """Warn once, at the first new point, if those before it were computed on another device."""
        good = (packed for _, packed in landed.values() if packed.status != "failed")
        first = next(good, None) if self._computed_on else None
        if first is not None:
            now, was = decode(first).computed_on, self._computed_on
            self._computed_on = ""
            if now and now != was:
                warnings.warn(mixed_devices([was, now]), StoreWarning, stacklevel=5)


class _Vigil:
    """Watches a cluster that sends nothing: is there a worker left?"""

    def __init__(self) -> None:
        self.heard()
        self._seen = False

    def heard(self) -> None:
        """There is a worker."""
        self._seen, self._since, self._told = True, monotonic(), False

    def look(self, executor: Executor, waiting: int, meter: Meter) -> None:
        """Say that no worker is left, and end the sweep when none has come for long.

        A cluster may wait for its first worker as long as it likes: its jobs may be in a queue.
        """
        if not deserted(executor):
            self.heard()
            return
        silent = monotonic() - self._since
        if silent > DESERTED and not self._told:
            self._told = True
            meter.say(
                f"the cluster has no worker. {waiting} points or groups wait for one; they go on "
                "when it comes. Ctrl-C ends the sweep; what is finished is stored."
            )
        if self._seen and silent > PATIENCE:
            raise WorkerError(
                f"The cluster has had no worker for {duration(silent)}. What was finished is "
                "stored: start workers, and run the same again."
            )


def _computed_on(store: Store) -> str:
    """Device and precision of the first stored point that did not fail; "" if unknown."""
    some = islice(store.rows(), LOOKED_AT)
    good = (row for row in some if isinstance(row, Row) and row.status != "failed")
    first = next(good, None)
    return "" if first is None else decode(packed_of(first)).computed_on


def _is_killed_on_dask(error: BaseException | None) -> bool:
    distributed: Any = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def _is_lost_on_dask(error: BaseException | None) -> bool:
    """Whether a worker left just when its result came: Dask then takes the result for an error."""
    trace = error.__traceback__ if isinstance(error, ValueError | AttributeError) else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"] == "distributed.cfexecutor"


def _unusable(reason: object) -> WorkerError:
    if isinstance(reason, WorkerError):  # which says what to do
        return WorkerError(f"{reason} What was finished is stored.")
    told = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else reason
    return WorkerError(
        f"The executor cannot go on with the study ({told}). What was finished is stored: mend it, "
        "for instance by making the experiment's module importable on the workers, and run again."
    )
