"""Kill a victim at a step, by a plan that a seed decides. Used inside the processes of the trial."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

SERVERS = ("postgres", "redis")


class Killer:
    """Kills this process or a server at steps.

    Args:
        folder: Has a file per server with its process id; gets a line per kill.
        me: What this process is: producer or relay.
        seed: Of the plan; each process of the trial has its own.
        share: The probability of a kill per step.
    """

    def __init__(self, folder: Path, me: str, seed: int, share: float) -> None:
        self._folder = folder
        self._me = me
        self._random = random.Random(f"{seed} {me}")
        self._share = share

    def at(self, step: str) -> None:
        """Perhaps kill, at a step."""
        if (self._folder / "calm").exists() or self._random.random() >= self._share:
            return
        victim = self._random.choice((self._me, self._me, *SERVERS))
        pid = os.getpid() if victim == self._me else self._pid_of(victim)
        if pid is None:
            return
        with (self._folder / "kills").open("a") as kills:
            kills.write(f"{victim} {self._me}:{step}\n")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _pid_of(self, server: str) -> int | None:
        """The process of a server; None while it is being started again. Each process is killed once."""
        try:
            taken = self._folder / f"{server}.pid"
            pid = int(taken.read_text())
            taken.unlink()
        except (FileNotFoundError, ValueError):
            return None
        return pid
