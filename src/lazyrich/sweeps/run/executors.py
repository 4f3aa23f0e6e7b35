"""Where the points of a study run: worker processes of this machine, or a Dask cluster.

Both have the interface of `concurrent.futures.Executor`. The local processes are spawned when
they are first needed and kept alive; each computes one call at a time, so that the death of a
process names the call that it died of. (A `ProcessPoolExecutor` breaks as a whole when one of its
processes dies.)
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from lazyrich._errors import InputError, MissingExtraError, WorkerError

P = ParamSpec("P")
T = TypeVar("T")

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
GOODBYE = 5.0  # seconds that an idle process has to end
CONNECT = 15  # seconds to reach a scheduler

_environment = Lock()  # held while os.environ is not the user's own


class WorkerDiedError(WorkerError):
    """The process that was computing a call has ended."""


class Processes(Executor):
    """Worker processes of this machine: spawned, kept alive, one BLAS and torch thread each.

    They ignore Ctrl-C, which is for the driver, and end with it, also when it is killed. A call
    whose process dies raises `WorkerDiedError`; the others go on, and a new process takes its
    place.

    Args:
        workers: largest number of processes, ≥ 1; by default one per available processor.

    Raises:
        InputError: if `workers` is below 1.

    Example:
        >>> import math
        >>> with Processes(1) as executor:
        ...     executor.submit(math.hypot, 3, 4).result()
        5.0
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = available() if workers is None else workers
        if self.workers < 1:
            raise InputError(
                f"`workers` must be at least 1, got {workers}. Leave it out for one per processor."
            )
        self._calls: SimpleQueue[tuple[Future[Any], bytes] | None] = SimpleQueue()
        self._lanes: list[Thread] = []
        self._alive: set[_Worker] = set()
        self._lock = Lock()
        self._unfinished = 0
        self._closed = self._killed = False
        atexit.register(self.kill)  # runs before multiprocessing waits for its children

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Compute `fn(*args, **kwargs)` in one of the processes; all of it must be picklable."""
        future: Future[T] = Future()
        request = pickle.dumps((fn, args, kwargs))
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot submit a call after shutdown")
            self._unfinished += 1
            self._calls.put((future, request))
            if len(self._lanes) < min(self._unfinished, self.workers):
                self._lanes.append(Thread(target=self._lane, daemon=True))
                self._lanes[-1].start()
        return future

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
                    call[0].cancel()

    def _lane(self) -> None:
        """One process and what it computes; the thread lives as long as the executor."""
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            future, request = call
            if future.set_running_or_notify_cancel():
                try:
                    worker = self._started() if worker is None else worker
                    _settle(future, worker.ask(request))
                except Exception as error:  # the future must end, whatever it is
                    self._forget(worker)
                    worker = None
                    future.set_exception(error)
            with self._lock:
                self._unfinished -= 1
        if worker is not None:
            worker.close()
            self._forget(worker)

    def _started(self) -> _Worker:
        worker = _Worker()
        with self._lock:
            self._alive.add(worker)
            if self._killed:
                worker.process.kill()
        try:
            worker.wait()
        except WorkerError:
            self._forget(worker)
            raise
        return worker

    def _forget(self, worker: _Worker | None) -> None:
        with self._lock:
            self._alive -= {worker}


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
            f"`scheduler` must be the address of a running Dask scheduler, such as "
            f"tcp://10.0.0.1:8786, got {address!r}: {error}"
        ) from error
    with client:
        yield client.get_executor(pure=False)


class _Worker:
    """The driver's end of one process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        try:
            _block_interrupts()
            self.pipe, theirs = context.Pipe()
        except OSError as error:
            raise _unstarted(error) from error
        self.process = context.Process(target=_serve, args=(theirs,), name="lazyrich-worker")
        with _environment:
            before = {name: os.environ.get(name) for name in ONE_THREAD}
            os.environ.update(ONE_THREAD)
            try:
                self.process.start()
            except OSError as error:
                self.pipe.close()
                theirs.close()
                raise _unstarted(error) from error
            finally:
                for name, value in before.items():
                    if value is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = value
        theirs.close()  # so that the end of the process ends the pipe

    def wait(self) -> None:
        """Wait until it has started."""
        try:
            self.pipe.recv_bytes()
        except (EOFError, OSError):
            raise WorkerError(
                f"A worker process {self._end()} while it started. If a script starts the study, "
                "its last part must be under `if __name__ == '__main__':`."
            ) from None

    def ask(self, request: bytes) -> bytes:
        """The pickled value of a call, or exception that it raised."""
        try:
            self.pipe.send_bytes(request)
            return self.pipe.recv_bytes()
        except (EOFError, OSError):
            raise WorkerDiedError(f"the worker process {self._end()}") from None

    def close(self) -> None:
        """Let an idle process end."""
        self.pipe.close()
        self.process.join(GOODBYE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()

    def _end(self) -> str:
        self.pipe.close()
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was killed by {signal.Signals(-code).name}"


def _block_interrupts() -> None:
    """Block Ctrl-C in this thread and in the processes that it starts, from their first moment."""
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # when it starts, Python 3.11 unblocks Ctrl-C
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _unstarted(error: OSError) -> WorkerError:
    return WorkerError(
        f"A worker process cannot be started: {error}. Raise the limit, or take fewer `workers`."
    )


class _Raised:
    """An exception on its way from a process."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _settle(future: Future[Any], answer: bytes) -> None:
    try:
        outcome = pickle.loads(answer)
    except Exception as error:
        outcome = _Raised(error)
    if isinstance(outcome, _Raised):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)


def _serve(pipe: Connection) -> None:
    """What a worker process does: answer calls until the driver closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_driver, daemon=True).start()
    pipe.send_bytes(b"ready")
    with suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(_answer(pipe.recv_bytes()))


def _end_with_the_driver() -> None:
    """A driver that is killed cannot say goodbye; its workers shall not compute on."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _answer(request: bytes) -> bytes:
    try:
        call, args, kwargs = pickle.loads(request)
        return pickle.dumps(call(*args, **kwargs))
    except BaseException as error:
        try:
            return pickle.dumps(_Raised(error))
        except Exception:
            return pickle.dumps(_Raised(WorkerError(f"{type(error).__name__}: {error}")))
