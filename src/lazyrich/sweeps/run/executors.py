"""Where the points of a study run: worker processes of this machine, or a Dask cluster.

Both have the interface of `concurrent.futures.Executor`. The local processes are spawned when they
are first needed and kept alive; each computes one call at a time over a pipe of its own, so that
the death of a process names the call that it died of and harms no other. (A `ProcessPoolExecutor`
breaks as a whole then; the processes of pebble's pool share one pipe and its locks.)
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from lazyrich._errors import InputError, MissingExtraError, WorkerError
from lazyrich.sweeps.run.process import PendingCall, Worker

P = ParamSpec("P")
T = TypeVar("T")

STARTS = 10  # processes in a row that may be killed while they start
CONNECT = 15  # seconds to reach a scheduler


class Processes(Executor):
    """Worker processes of this machine: spawned, kept alive, one BLAS and torch thread each.

    They ignore Ctrl-C, which is for the driver, and end with it, also when it is killed. A call
    whose process dies raises `WorkerDiedError`; the others go on, and a new process takes its
    place, as it does after a `MemoryError`.

    Args:
        workers: largest number of processes, ≥ 1; by default one per available processor.
        recycle: calls after which a process is replaced by a new one, ≥ 1; by default never.

    Raises:
        InputError: if `workers` or `recycle` is below 1.

    Example:
        >>> import math
        >>> with Processes(1) as executor:
        ...     executor.submit(math.hypot, 3, 4).result()
        5.0
    """

    def __init__(self, workers: int | None = None, *, recycle: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(
                f"`workers` must be at least 1, got {workers}. Leave it out for one per processor."
            )
        if recycle is not None and recycle < 1:
            raise InputError(
                f"`recycle` must be at least 1, got {recycle}. Leave it out for never."
            )
        self.workers = workers or available()
        self._recycle = recycle
        self._calls: SimpleQueue[PendingCall | None] = SimpleQueue()
        self._lanes: list[Thread] = []
        self._alive: set[Worker] = set()
        self._lock = Lock()
        self._numbers = count()
        self._unfinished = 0
        self._closed = self._killed = False
        self._process = os.getpid()
        atexit.register(self.kill)  # runs before multiprocessing waits for its children

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Compute `fn(*args, **kwargs)` in one of the processes; all of it must be picklable."""
        return self.within(None, False, fn, *args, **kwargs)

    def within(
        self,
        seconds: float | None,
        fresh: bool,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Future[T]:
        """Like `submit`; a call that takes longer raises `TimeLimitError`, its process is replaced.

        The clock starts when the process has imported what the call needs. A `fresh` call runs in
        a process that has computed nothing before it.
        """
        call = PendingCall(next(self._numbers), seconds, fresh, (fn, args, kwargs))
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot submit a call after shutdown")
            self._unfinished += 1
            self._calls.put(call)
            if len(self._lanes) < min(self._unfinished, self.workers):
                self._lanes.append(Thread(target=self._lane, daemon=True))
                self._lanes[-1].start()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the processes after the last one."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                self._cancel()
            for _ in self._lanes:
                self._calls.put(None)
        if wait:
            for lane in self._lanes:
                lane.join()
        atexit.unregister(self.kill)

    def kill(self) -> None:
        """End the processes at once, whatever they compute."""
        if os.getpid() != self._process:  # a child of the driver that ends
            return
        with self._lock:
            self._closed = self._killed = True
            self._cancel()
            for worker in self._alive:
                worker.process.kill()
        self.shutdown()

    def _cancel(self) -> None:
        with suppress(Empty):
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    call.future.cancel()

    def _lane(self) -> None:
        """One process and what it computes; the thread lives as long as the executor."""
        worker: Worker | None = None
        while (call := self._calls.get()) is not None:
            if call.future.set_running_or_notify_cancel():
                worker = self._computed(call, worker)
            with self._lock:
                self._unfinished -= 1
        self._end(worker, gently=True)

    def _computed(self, call: PendingCall, worker: Worker | None) -> Worker | None:
        """Settle the future of a call; the process, if it can take another one."""
        try:
            if worker is not None and call.fresh and worker.calls:
                self._end(worker, gently=True)
                worker = None
            if worker is None or worker.process.exitcode is not None:  # killed while it was idle
                self._end(worker)
                worker = self._started()
            raised, value = worker.ask(call)
            broken = isinstance(value, MemoryError)
        except BaseException as error:  # the future must end, whatever it is
            raised, value, broken = True, error, True
        (call.future.set_exception if raised else call.future.set_result)(value)
        if worker is not None and not broken and worker.calls != self._recycle:
            return worker
        self._end(worker, gently=not broken)
        return None

    def _started(self) -> Worker:
        for _ in range(STARTS):
            worker = Worker()
            with self._lock:
                self._alive.add(worker)
                if self._killed:
                    worker.process.kill()
            if worker.started():
                return worker
            self._end(worker)
            if self._killed:
                break
        raise WorkerError(
            f"{STARTS} worker processes were killed while they started. See what kills processes "
            "here, for instance a limit of memory."
        )

    def _end(self, worker: Worker | None, *, gently: bool = False) -> None:
        if worker is not None:
            worker.end(gently=gently)
            with self._lock:
                self._alive.discard(worker)


def available() -> int:
    """Processors that this process may use.

    Example:
        >>> available() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """The executor of a running Dask cluster.

    Args:
        address: where its scheduler listens, `tcp://host:port`.

    Yields:
        An executor; `sweep` can use it.

    Raises:
        MissingExtraError: if `distributed` is not installed.
        InputError: if there is no scheduler at the address.

    Example:
        >>> with dask_cluster("tcp://localhost"):  # doctest: +SKIP
        ...     pass
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise MissingExtraError("Dask", "dask") from error
    try:
        client: Any = Client(address, timeout=CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(
            "`scheduler` must be the address of a running Dask scheduler, such as "
            f"tcp://10.0.0.1:8786, got {address!r}: {error}. The command dask scheduler starts one "
            "and prints its address"
        ) from error
    with client:
        yield client.get_executor(pure=False)


def deserted(executor: Executor) -> bool:
    """Whether it is a Dask cluster, and no worker is left.

    Example:
        >>> deserted(Executor())
        False
    """
    distributed: Any = sys.modules.get("distributed")
    client: Any = getattr(executor, "_client", None)
    if distributed is None or not isinstance(client, distributed.Client):
        return False
    try:
        return not client.nthreads(callback_timeout=CONNECT)
    except (OSError, TimeoutError):  # the scheduler does not answer either
        return True
