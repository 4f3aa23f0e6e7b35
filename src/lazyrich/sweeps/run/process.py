"""One worker process: the driver's end of it, and what it does.

Driver and process talk over a pipe of their own. A request is the number of a call and the pickled
call; the answer is the same number, whether the call has raised, and the value or exception,
pickled. An empty message says that the process has started or, where a call has a limit of time,
that it has imported what the call needs.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from math import inf
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from threading import Lock, Thread
from time import monotonic
from typing import Any

from lazyrich._errors import WorkerError

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
ONE_THREAD = dict.fromkeys([f"{name}_NUM_THREADS" for name in LIBRARIES], "1")
ONE_THREAD["VECLIB_MAXIMUM_THREADS"] = "1"
GOODBYE = 5.0  # seconds that a process has to end by itself
LOOK = 1.0  # seconds between looks whether the other end is still there
NUMBER = 8  # bytes of the number of a call
NO_MEMORY = pickle.dumps((True, MemoryError("MemoryError")))  # an answer that needs none

_environment = Lock()  # held while os.environ is not the user's own


class WorkerDiedError(WorkerError):
    """The process that was computing a call has ended."""


class TimeLimitError(WorkerError):
    """A call took longer than it may, and its process was ended."""


class PendingCall:
    """A call on its way to a process."""

    def __init__(
        self, number: int, seconds: float | None, fresh: bool, call: tuple[Any, ...]
    ) -> None:
        self.number = number.to_bytes(NUMBER)
        self.seconds = seconds
        self.fresh = fresh
        self.request = self.number + pickle.dumps((seconds is not None, *call))
        self.future: Future[Any] = Future()


class Worker:
    """The driver's end of one process."""

    def __init__(self) -> None:
        self.calls = 0
        context = multiprocessing.get_context("spawn")
        try:
            _block_interrupts()
            self._pipe, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs,), name="lazyrich-worker")
            with theirs, _one_thread():  # closed, so that the end of the process ends the pipe
                self.process.start()
        except OSError as error:
            raise WorkerError(
                f"A worker process cannot be started: {error}. Raise the limit, or take fewer "
                "`workers`."
            ) from error

    def started(self) -> bool:
        """Wait until the process has started; False if it was killed meanwhile.

        Raises:
            WorkerError: if it ended by itself.
        """
        with suppress(EOFError, OSError):
            self._receive()
            return True
        self._await_end()
        ending = self.ending()
        self.end()
        if (self.process.exitcode or 0) < 0:
            return False
        raise WorkerError(
            f"A worker process {ending} while it started. If a script starts the study, its last "
            "part must be under `if __name__ == '__main__':`."
        )

    def ask(self, call: PendingCall) -> tuple[bool, Any]:
        """Whether a call has raised, and its exception or value.

        Raises:
            WorkerDiedError: if the process ended.
            TimeLimitError: if it is late.
        """
        self.calls += 1
        until = inf
        try:
            self._pipe.send_bytes(call.request)
            while True:
                answer = self._receive(until)
                if not answer and call.seconds is not None:
                    until = monotonic() + call.seconds
                elif answer[:NUMBER] == call.number:
                    return _unpickled(answer[NUMBER:])
        except (EOFError, OSError):
            self._await_end()
            raise WorkerDiedError(f"the worker process {self.ending()}") from None
        except TimeLimitError:
            raise TimeLimitError(f"took longer than {call.seconds:g} s") from None

    def ending(self) -> str:
        """How the process ended, in words."""
        code = self.process.exitcode
        if code is None:
            return "closed its pipe"
        if code >= 0:
            return f"ended with exit code {code}"
        names = {int(entry): entry.name for entry in signal.Signals}
        name = names.get(-code, f"signal {-code}")
        advice = ", as where memory is short: try fewer workers" if name == "SIGKILL" else ""
        return f"was killed by {name}{advice}"

    def end(self, *, gently: bool = False) -> None:
        """End the process."""
        self._pipe.close()
        if gently:
            self._await_end()
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()

    def _receive(self, until: float = inf) -> bytes:
        while not self._pipe.poll(min(LOOK, max(0.0, until - monotonic()))):
            if self.process.exitcode is not None and not self._pipe.poll():
                raise EOFError  # it is dead, and a child of it holds the pipe open
            if monotonic() >= until:
                raise TimeLimitError
        return self._pipe.recv_bytes()

    def _await_end(self) -> None:
        until = monotonic() + GOODBYE
        while self.process.exitcode is None and monotonic() < until:
            self.process.join(0.01)  # in vain if a child of it holds its sentinel open


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started meanwhile have one BLAS thread, from their first import on."""
    with _environment:
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _block_interrupts() -> None:
    """Block Ctrl-C in this thread and in the processes that it starts, from their first moment."""
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # when it starts, Python 3.11 unblocks Ctrl-C
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _unpickled(answer: bytes) -> tuple[bool, Any]:
    try:
        return pickle.loads(answer)
    except BaseException as error:
        return True, error


def _serve(pipe: Connection) -> None:
    """What a process does: answer calls until the driver closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_driver, args=(os.getppid(),), daemon=True).start()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=pipe.close)  # a child must not answer, nor hold it open
    mine = os.getpid()
    with suppress(EOFError, OSError):
        pipe.send_bytes(b"")
        while True:
            request = pipe.recv_bytes()
            answer = _answer(request[NUMBER:], pipe)
            if os.getpid() != mine:
                os._exit(0)  # the child of a call that forked; its parent answers
            pipe.send_bytes(request[:NUMBER] + answer)


def _end_with_the_driver(parent: int) -> None:
    """A driver that is killed cannot say goodbye; its workers shall not compute on."""
    driver = multiprocessing.parent_process()
    while driver is not None and driver.is_alive() and os.getppid() == parent:
        driver.join(LOOK)  # in vain if a child of the driver holds its sentinel open
    os._exit(1)


def _answer(request: bytes, pipe: Connection) -> bytes:
    try:
        timed, call, args, kwargs = pickle.loads(request)
        if timed:
            pipe.send_bytes(b"")
        return pickle.dumps((False, call(*args, **kwargs)))
    except BaseException as error:
        try:
            return pickle.dumps((True, error))
        except MemoryError:
            return NO_MEMORY
        except BaseException:
            return pickle.dumps((True, WorkerError(traceback.format_exc())))
