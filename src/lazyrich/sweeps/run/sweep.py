"""Runs the points of a study that are not in its store yet."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType

from lazyrich._errors import InputError, StoreError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.result import STATUSES
from lazyrich.sweeps.run.driver import Driver
from lazyrich.sweeps.run.executors import Processes
from lazyrich.sweeps.run.progress import Meter, duration
from lazyrich.sweeps.run.work import NOTHING, EndedAtOnceError
from lazyrich.sweeps.store.store import Store

AHEAD = 4  # calls per local process: one that runs, and the next ones
IN_FLIGHT = 1024  # calls that another executor is given at a time


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a sweep has done.

    Attributes:
        name: name of the study.
        folder: folder of its store.
        points: points of the study.
        ran: points that this sweep ran.
        statuses: number of its stored points by status.
        earlier: points of earlier descriptions that the store holds too, see `extend`.
        seconds: the seconds that it took.
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
    timeout: float | None = None,
    recycle: int | None = None,
    retry_failed: bool = False,
    extend: bool = False,
    environment: Mapping[str, str] = NOTHING,
    progress: bool = True,
) -> Summary:
    """Run the points of a study that are not stored yet, and store them.

    A point that raises or diverges is a result like any other. A point whose worker process dies is
    run again; when three have died of it, it is stored as failed, as is a point for which the
    memory does not suffice in a new process either. Ctrl-C and SIGTERM store what is finished and
    end; the same call goes on from there, as it does after a crash.

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
        timeout: seconds that a point may take on local processes, > 0, a group so much for each of
            its points; one that takes longer is stored as failed. By default without a limit.
        recycle: points after which a local process is replaced by a new one, ≥ 1; by default never.
        retry_failed: run failed points again.
        extend: take a description with more points than the store's.
        environment: variables that every point finds in its environment, on whatever machine. They
            are no part of the study: `lazyrich.study.Compute(device="cuda").environment`, say.
        progress: show it on stderr.

    Returns:
        What was done and what is stored.

    Raises:
        InputError: if an argument is out of range, or the store is one of another study.
        StoreError: if the store cannot be written, or has not what was written to it.
        WorkerError: if the executor cannot run the study.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when all is stored.

    Warns:
        StoreWarning: if stored points were computed by other code, or on another device.

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
    _check(study, executor, workers, together, timeout, recycle)
    start = monotonic()
    calls = recycle and max(1, recycle // together)
    with _interruptible(study.name) as stops:
        with (
            _given(executor, workers, calls) as (pool, limit),
            Store.open(out, study, extend=extend) as store,
        ):
            driver = Driver(store, study, pool, limit, together, timeout, retry_failed, environment)
            stops.append(driver.stop)
            with Meter(study.name, points=len(study), done=driver.stored, shown=progress) as meter:
                driver.drive(meter)
        statuses, earlier = _counted(Path(out), study, whole=not driver.stopped)
    found = sum(statuses.values())
    if driver.stopped:
        raise KeyboardInterrupt(
            f"{study.name} was stopped: {found} of {len(study)} points are stored in {out}. Run "
            "the same again to go on."
        )
    if found < len(study):
        raise StoreError(
            f"the store {out} must hold {len(study)} points now, and holds {found}. It was changed "
            "while the sweep wrote to it: run the same again."
        )
    return Summary(
        name=study.name,
        folder=Path(out),
        points=len(study),
        ran=driver.ran,
        statuses=statuses,
        earlier=earlier,
        seconds=monotonic() - start,
    )


def _check(
    study: Study,
    executor: Executor | None,
    workers: int | None,
    together: int,
    timeout: float | None,
    recycle: int | None,
) -> None:
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
    if timeout is not None and not timeout > 0:
        raise InputError(f"`timeout` must be above 0 s, got {timeout}. Leave it out for no limit.")
    for name, value in (("workers", workers), ("recycle", recycle)):
        if executor is not None and value is not None:
            raise InputError(
                f"`{name}` must be left out where there is an `executor`, got {value}. "
                "The executor has its own."
            )
    if timeout is not None and not isinstance(executor, Processes | None):
        raise InputError(
            f"`timeout` is for processes of this machine, got {timeout} and an `executor` that is "
            f"{type(executor).__name__}. Leave one of them out."
        )


def _counted(folder: Path, study: Study, *, whole: bool) -> tuple[dict[str, int], int]:
    """The points of a study in its store by status, and how many others are there."""
    try:
        with Store.read_only(folder) as store:
            every = store.statuses()
            if whole and sum(every.values()) == len(study):
                return every, 0
            keys = {status: store.keys(status) for status in STATUSES}
    except InputError as error:
        raise StoreError(
            f"the store {folder} was removed while the sweep wrote to it. Run the same again."
        ) from error
    found = Counter(
        status for point in study.points() for status in keys if point.key in keys[status]
    )
    others = sum(map(len, keys.values())) - found.total()
    return {status: found[status] for status in STATUSES if found[status]}, others


@contextmanager
def _given(
    executor: Executor | None, workers: int | None, recycle: int | None
) -> Iterator[tuple[Executor, int]]:
    """The executor and how many calls it may have at a time."""
    if executor is not None:
        yield executor, IN_FLIGHT
        return
    own = Processes(workers, recycle=recycle)
    try:
        yield own, AHEAD * own.workers
    finally:
        own.kill()  # idle, or what they compute is no longer wanted


@contextmanager
def _interruptible(name: str) -> Iterator[list[Callable[[], None]]]:
    """Ctrl-C and SIGTERM call what is in the list; the second one, or an early one, raises."""
    stops: list[Callable[[], None]] = []
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping or not stops:
            raise EndedAtOnceError(
                f"{name} was ended at once: what was being stored may be missing. Run the same "
                "again to go on."
            )
        stopping = True
        for stop in stops:
            stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
