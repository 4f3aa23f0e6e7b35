"""Worker processes where the system gives no more."""

import errno
import multiprocessing
import os

import pytest

from lazyrich._errors import WorkerError
from lazyrich.sweeps.run.executors import Processes


def failing(code):
    def call(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("part", ["Pipe", "Process.start"])
def test_a_call_ends_when_no_process_can_be_started(monkeypatch, part):
    context = multiprocessing.get_context("spawn")
    if part == "Pipe":
        monkeypatch.setattr(type(context), part, failing(errno.EMFILE))
    else:
        monkeypatch.setattr(context.Process, "start", failing(errno.EMFILE))
    with Processes(1) as executor:
        calls = [executor.submit(abs, -1) for _ in range(2)]
        for call in calls:
            with pytest.raises(WorkerError, match=r"cannot be started: .*Too many open files.*few"):
                call.result(20)
        monkeypatch.undo()
        assert executor.submit(abs, -1).result(60) == 1
