"""Traces real jobs: ``python -m tests.worker.tracing enqueue|run URL`` prints the calls of functions of the package.

A process of its own, because CPython 3.11 cannot trace a process in which an exception was once set for a thread that
never ran again: the interpreter loops at the entry of the next traced function. Tests of threads leave such a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jobfleet
from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from tests.support.fleet import ROOT
from tests.support.waiting import wait_until

PACKAGE = Path(jobfleet.__file__).parent
CLAIMING = {"Claimer._claim_on", "Claimer._listen"}
PATIENCE = 60.0


class Event(NamedTuple):
    """A call of a function of the package.

    Attributes:
        thread: The name of its thread.
        path: The file of the function.
        name: The qualified name of the function.
        is_claim: Whether it belongs to a claim, and not to the admission of claimed jobs.
    """

    thread: str
    path: str
    name: str
    is_claim: bool


def traced(what: str, url: str) -> list[Event]:
    """The calls of a plain enqueue, or of a worker that runs two plain jobs.

    Args:
        what: ``enqueue`` or ``run``.
        url: The server.
    """
    command = [sys.executable, "-m", "tests.worker.tracing", what, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return [Event(*fields) for fields in json.loads(done.stdout)]


class Trace:
    """Records the calls of functions of the package."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        del argument
        if event == "call" and (path := Path(frame.f_code.co_filename)).is_relative_to(PACKAGE):
            callers = names_of(frame)
            is_claim = bool(CLAIMING & callers) and "Engine.admitted" not in callers
            name = frame.f_code.co_qualname
            thread = threading.current_thread().name
            self.events.append(Event(thread, path.relative_to(PACKAGE).as_posix(), name, is_claim))


def names_of(frame: FrameType | None) -> set[str]:
    names = set[str]()
    while frame is not None:
        names.add(frame.f_code.co_qualname)
        frame = frame.f_back
    return names


def main(what: str, url: str) -> None:
    trace = Trace()
    with Fleet(url, registry=Registry()) as fleet:
        add = fleet.context.registry.register(lambda a, b: a + b, name="test.add", fleet=fleet)
        if what == "enqueue":
            add.enqueue(1, 2)
            add.enqueue(1, 2)
            sys.setprofile(trace)
            add.enqueue(3, 4)
            sys.setprofile(None)
        else:
            stop = threading.Event()
            threading.setprofile(trace)
            worker = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop, "slots": 2})
            worker.start()
            wait_until(fleet.workers, timeout=PATIENCE, why="the worker has sent its first heartbeat")
            for number in range(2):
                assert add.enqueue(number, 1).wait(timeout=PATIENCE).result == number + 1
            stop.set()
            worker.join()
            threading.setprofile(None)
    sys.stdout.write(json.dumps(trace.events))


if __name__ == "__main__":
    main(*sys.argv[1:])
