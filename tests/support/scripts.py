"""Runs a script that starts processes of its own, and lets it end them."""

from __future__ import annotations

import signal
import subprocess

from tests.support.fleet import ROOT
from tests.support.waiting import communicate


def run_script(*command: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a script in the folder of the project.

    Args:
        command: The command.
        timeout: Time limit in seconds, longer on a busy or slow machine. After it, the script is interrupted, so that
            it ends what it has started.

    Raises:
        subprocess.TimeoutExpired: The script took too long.
    """
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = communicate(process, timeout=timeout)
    except BaseException:
        process.send_signal(signal.SIGINT)
        _end(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a script that does not end within half a minute after it was interrupted."""
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
