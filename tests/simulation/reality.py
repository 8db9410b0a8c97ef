"""What a simulated run replaces in this Python process: clocks, randomness, names of hosts and processes.

All functions fall back to the real ones outside a run. The names that modules have imported are replaced in them.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from jobfleet.model import spec
from tests.simulation.loop import PROCESS, SimLoop

_RANDOM: Any = random


class Clocks:
    """The clocks of the machine whose process runs; the world's own code sees virtual time."""

    def __init__(self, loop: SimLoop, machine: Any) -> None:
        self._loop, self._outside = loop, machine

    def _machine(self) -> Any:
        process = PROCESS.get()
        return self._outside if process is None else process.machine

    def monotonic(self) -> float:
        """In place of `time.monotonic`."""
        us: int = self._machine().monotonic_us()
        return us / 1e6

    def monotonic_ns(self) -> int:
        """In place of `time.monotonic_ns`."""
        ns: int = self._machine().monotonic_us() * 1000
        return ns

    def clock_gettime(self, _: int) -> float:
        """In place of `time.clock_gettime`, which only the boot-time clock uses."""
        return self.monotonic()

    def time(self) -> float:
        """In place of `time.time`."""
        us: int = self._machine().wall_us()
        return us / 1e6

    def time_ns(self) -> int:
        """In place of `time.time_ns`."""
        ns: int = self._machine().wall_us() * 1000
        return ns


@contextmanager
def replaced(clocks: Clocks, seed: int) -> Iterator[random.Random]:
    """Replace clocks and randomness within the block; yield the dice of the simulator itself."""
    entropy = random.Random(f"entropy {seed}")
    before = random.getstate()
    real, virtual = time.monotonic, clocks.monotonic
    with ExitStack() as stack:
        for name in ("monotonic_ns", "time", "time_ns", "clock_gettime"):
            stack.enter_context(mock.patch.object(time, name, getattr(clocks, name)))
        stack.enter_context(mock.patch.object(time, "monotonic", virtual))
        _swap(real, virtual)
        stack.enter_context(mock.patch.object(os, "urandom", entropy.randbytes))
        stack.enter_context(mock.patch.object(_RANDOM, "_urandom", entropy.randbytes))
        stack.enter_context(mock.patch.object(os, "getpid", _pid))
        stack.enter_context(mock.patch.object(socket, "gethostname", _host))
        random.seed(f"product {seed}")
        _restart_ids()
        try:
            yield random.Random(f"world {seed}")
        finally:
            _swap(virtual, real)
            random.setstate(before)
    _restart_ids()


def _pid() -> int:
    process = PROCESS.get()
    return 1 if process is None else process.pid


def _host() -> str:
    process = PROCESS.get()
    return "world" if process is None else process.machine.name


def _restart_ids() -> None:
    maker: Any = spec.new_suffix
    maker._last = 0
    maker.reseed()


def _swap(old: Callable[[], float], new: Callable[[], float]) -> None:
    """Replace a function wherever modules of jobfleet have imported it."""
    for module in [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "jobfleet"]:
        names = vars(module)
        for name in [name for name, value in names.items() if value is old]:
            names[name] = new
