"""Runs the points of a study that are not in its store yet.

One driver takes the points from the study, hands a bounded number of them to an executor, and
writes what comes back; it alone touches the store. What comes back together is one durable commit.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from types import FrameType
from typing import Any

from lazyrich._errors import InputError, WorkerError
from lazyrich.sweeps.describe.description import Point, Study
from lazyrich.sweeps.result import STATUSES, Status
from lazyrich.sweeps.run.executors import Processes, WorkerDiedError
from lazyrich.sweeps.run.progress import Meter, duration
from lazyrich.sweeps.run.work import failed, pack, run_packed
from lazyrich.sweeps.store.codec import Packed, encode
from lazyrich.sweeps.store.store import Store

DEATHS = 3  # processes that may die of a point before it is a failed one
COMMIT_EVERY = 0.05  # seconds that a finished point waits for others at most
AHEAD = 4  # calls per local process: one that runs, and the next ones
IN_FLIGHT = 1024  # calls that another executor is given at a time
GOOD: tuple[Status, ...] = ("fitted", "finished", "diverged")
BREATH = 1000  # finished groups that are passed over before the driver looks at what came back


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a sweep has done.

    Attributes:
        name: of the study.
        folder: of its store.
        points: of the study.
        ran: points that this sweep ran.
        statuses: number of its stored points by status.
        earlier: points of earlier descriptions that the store holds too, see `extend`.
        seconds: that it took.
    """

    name: str
    folder: Path
    points: int
    ran: int
    statuses: Mapping[str, int]
    earlier: int = 0
    seconds: float

    @property
    def sentence(self) -> str:
        """The same in words.

        Example:
            >>> Summary(
            ...     name="scales", folder=Path("out"), points=9, ran=5,
            ...     statuses={"fitted": 8, "diverged": 1}, seconds=70.0,
            ... ).sentence
            'scales: 5 of 9 points ran in 1 min 10 s. Stored: 8 fitted, 1 diverged.'
        """
        stored = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        earlier = f", and {self.earlier} of earlier descriptions" if self.earlier else ""
        return (
            f"{self.name}: {self.ran} of {self.points} points ran in {duration(self.seconds)}. "
            f"Stored: {stored or 'nothing'}{earlier}."
        )


def sweep(
    study: Study,
    out: str | Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    together: int = 1,
    retry_failed: bool = False,
    extend: bool = False,
    progress: bool = True,
) -> Summary:
    """Run the points of a study that are not stored yet, and store them.

    A point that raises or diverges is a result like any other. A point whose worker process dies is
    run again; when three have died of it, it is stored as failed. Ctrl-C and SIGTERM store what is
    finished and end; the same call goes on from there, as it does after a crash.

    Args:
        study: what to run.
        out: folder of the store; made if there is none.
        executor: anything with the interface of `concurrent.futures.Executor`; by default processes
            of this machine. Each of its processes runs one point at a time.
        workers: number of local processes, ≥ 1; by default one per processor.
        together: points that are trained together, by the experiment's `run_together`. The groups
            are consecutive points of the study, whatever is stored already, so that a study that
            was interrupted ends with the same numbers as one that was not. This holds for the same
            `together` and the same study: another value, or values that `extend` puts in front of
            others on an axis, make other groups, whose floats may differ in the last digits.
        retry_failed: run failed points again.
        extend: take a description with more points than the store's.
        progress: show it on stderr.

    Returns:
        What was done and what is stored.

    Raises:
        InputError: if an argument is out of range, or the store is one of another study.
        WorkerError: if the executor cannot run the study.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when all is stored.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> study = Study(
        ...     name="decay",
        ...     experiment="lazyrich.sweeps:Decay",
        ...     axes={"rate": [0.1, 0.5, 3.0]},
        ... )
        >>> with TemporaryDirectory() as out, ThreadPoolExecutor(1) as executor:
        ...     summary = sweep(study, out, executor=executor)
        >>> summary.ran, summary.statuses["diverged"]
        (3, 1)
    """
    _check(study, executor, workers, together)
    start = monotonic()
    with (
        _given(executor, workers) as (pool, limit),
        Store.open(out, study, extend=extend) as store,
    ):
        driver = _Driver(store, study, together, retry_failed)
        with (
            _interruptible(driver.stop),
            Meter(study.name, points=len(study), done=driver.stored, shown=progress) as meter,
        ):
            driver.drive(pool, limit, meter)
        if driver.stopped:
            raise KeyboardInterrupt(
                f"{study.name} was stopped: {meter.done} of {len(study)} points are stored in "
                f"{out}. Run the same again to go on."
            )
        statuses, earlier = _counted(store, study)
    return Summary(
        name=study.name,
        folder=Path(out),
        points=len(study),
        ran=driver.ran,
        statuses=statuses,
        earlier=earlier,
        seconds=monotonic() - start,
    )


def _check(study: Study, executor: Executor | None, workers: int | None, together: int) -> None:
    if not isinstance(study, Study):
        raise InputError(
            f"`study` must be a Study, got {study!r}. Read a file by Study.from_toml(Path(…))."
        )
    if together < 1:
        raise InputError(f"`together` must be at least 1, got {together}. 1 trains one by one.")
    if together > 1 and not hasattr(study.experiment, "run_together"):
        raise InputError(
            f"`together` must be 1 for {study.experiment.__name__}, got {together}. "
            "It has no `run_together`, so its points run one by one."
        )
    if executor is not None and workers is not None:
        raise InputError(
            f"`workers` must be left out where there is an `executor`, got {workers}. "
            "The executor has its own."
        )


def _counted(store: Store, study: Study) -> tuple[dict[str, int], int]:
    """The points of a study that has run by status, and how many others are in its store."""
    every = store.statuses()
    others = sum(every.values()) - len(study)
    if not others:
        return every, 0
    own = {point.key for point in study.points()}
    counts: dict[str, int] = {status: len(own & store.keys(status)) for status in STATUSES}
    return {status: count for status, count in counts.items() if count}, others


@contextmanager
def _given(executor: Executor | None, workers: int | None) -> Iterator[tuple[Executor, int]]:
    """The executor and how many calls it may have at a time."""
    if executor is not None:
        yield executor, IN_FLIGHT
        return
    own = Processes(workers)
    try:
        yield own, AHEAD * own.workers
    finally:
        own.kill()  # idle, or what they compute is no longer wanted


@contextmanager
def _interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop`; the second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@dataclass(kw_only=True, eq=False)
class _Task:
    """Points that run in one call: a group, or one alone."""

    points: tuple[Point, ...]
    wanted: frozenset[str]  # keys that are stored; the rest of a group is there already
    deaths: int = 0
    secluded: bool = False  # runs while nothing else does


Landed = dict[str, tuple[Point, Packed]]


class _Driver:
    """The state of one sweep."""

    def __init__(self, store: Store, study: Study, together: int, retry_failed: bool) -> None:
        self.stopped = self._ending = False
        self.ran = 0
        self._store = store
        self._retry = retry_failed
        self._done = store.keys(*(GOOD if retry_failed else ()))
        self.stored = sum(p.key in self._done for p in study.points()) if self._done else 0
        self._tasks = self._todo(study, together)
        self._again: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._flying: dict[Future[list[Packed]], _Task] = {}
        self._inbox: SimpleQueue[Future[list[Packed]] | None] = SimpleQueue()
        self._calls = count()

    def stop(self) -> None:
        """End soon; a signal handler may call it."""
        self.stopped = True
        self._inbox.put(None)  # wakes the driver

    def drive(self, executor: Executor, limit: int, meter: Meter) -> None:
        """Run what is missing, until the end or `stop`."""
        landed: Landed = {}
        try:
            self._loop(executor, limit, meter, landed)
        except BaseException:
            with suppress(Exception):
                self._finish(meter, landed)
            raise
        self._finish(meter, landed)

    def _loop(self, executor: Executor, limit: int, meter: Meter, landed: Landed) -> None:
        since = monotonic()
        while not self.stopped:
            if not landed:
                since = monotonic()
            launched = len(self._flying) < limit and self._launch(executor)
            if not (launched or self._flying or landed):
                break
            self._land(landed, wait=not launched and not landed)
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

    def _launch(self, executor: Executor) -> bool:
        """Hand one task to the executor, if one may run now."""
        task = self._next()
        if task is None:
            return False
        if not task.wanted:
            return True
        experiments = pack([point.experiment for point in task.points])
        try:
            future = executor.submit(run_packed, experiments, next(self._calls))
        except RuntimeError as error:  # broken, or shut down
            raise _unusable(error) from error
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

    def _land(self, landed: Landed, *, wait: bool) -> None:
        """Add the results of all tasks that have ended."""
        with suppress(Empty):
            future = self._inbox.get(wait)
            while True:
                if future is not None:
                    landed |= self._outcome(future, self._flying.pop(future))
                future = self._inbox.get_nowait()

    def _outcome(self, future: Future[list[Packed]], task: _Task) -> Landed:
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            results = zip(task.points, future.result(), strict=True)
            return {point.key: (point, one) for point, one in results if point.key in task.wanted}
        if self._ending:
            return {}
        if error is None:
            raise _unusable("it cancelled a point")
        if isinstance(error, WorkerDiedError):
            task.deaths += 1
            if task.deaths < DEATHS:
                self._again.append(task)
                return {}
        elif _is_killed_on_dask(error):  # whatever was queued on the worker is suspected
            if not task.secluded:
                task.secluded = True
                self._suspects.append(task)
                return {}
        else:
            raise _unusable(error) from error
        return self._given_up(task, error)

    def _given_up(self, task: _Task, error: BaseException) -> Landed:
        """A group is taken apart; a point alone has failed."""
        if len(task.points) > 1:
            for point in task.points:
                if point.key in task.wanted:
                    self._again.append(_Task(points=(point,), wanted=frozenset({point.key})))
            return {}
        sentence = f"its worker process died each time it ran ({DEATHS} times): {error}"
        return {point.key: (point, encode(failed(sentence))) for point in task.points}

    def _write(self, landed: Landed, meter: Meter) -> None:
        if landed:
            self._store.write(landed.values(), replace_failed=self._retry)
            self.ran += len(landed)
            bad = sum(packed.status == "failed" for _, packed in landed.values())
            meter.advance(len(landed), failed=bad)
            landed.clear()


def _is_killed_on_dask(error: BaseException) -> bool:
    distributed: Any = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def _unusable(reason: object) -> WorkerError:
    if isinstance(reason, WorkerError):  # which says what to do
        return WorkerError(f"{reason} What was finished is stored.")
    told = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else reason
    return WorkerError(
        f"The executor cannot go on with the study ({told}). What was finished is stored: mend it, "
        "for instance by making the experiment's module importable on the workers, and run again."
    )
