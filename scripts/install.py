"""Install the project into this environment with pip, and show what it does: scripts/install.py EXTRA,EXTRA.

Only the standard library is there when it runs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

STEP = re.compile(
    r"(Collecting|Downloading|Using cached|Installing collected packages|Building|Preparing) ?([^\s;<>=!~\[]*)"
)
EVERY_S = 5.0
"""Without a terminal, a line this often."""


def main(extras: str) -> int:
    """Install, and return pip's exit code."""
    started = time.monotonic()
    shown = Progress(started)
    shown.say(f"Installing jobfleet[{extras}] into .venv")
    command = [
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--editable",
        f".[{extras}]",
    ]  # fmt: skip
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            lines.append(line)
            shown.step(line.strip())
    if pip.returncode:
        shown.say("".join(lines[-20:]).rstrip())
        shown.say(f"pip ended with {pip.returncode}; run it again when the cause is gone.")
    else:
        shown.say(f"Installed {shown.count} packages in {time.monotonic() - started:.0f} s")
    return pip.returncode


class Progress:
    """One line that changes on a terminal; elsewhere a line every few seconds."""

    def __init__(self, started: float) -> None:
        self.count = 0
        self._started = self._last = started
        self._is_terminal = sys.stderr.isatty()

    def step(self, line: str) -> None:
        """Take a line of pip's output."""
        found = STEP.match(line)
        if found is None:
            return
        verb, name = found.groups()
        if verb == "Collecting":
            self.count += 1
        is_last = verb.startswith("Installing")
        text = (
            f"  installing {self.count} packages"
            if is_last
            else f"  {self.count} packages, {name.rpartition('/')[2].partition('-')[0]}"
        )
        now = time.monotonic()
        if self._is_terminal:
            sys.stderr.write(f"\r\033[K{text:.70} ({now - self._started:.0f} s)")
            sys.stderr.flush()
        elif is_last or now - self._last >= EVERY_S:
            self._last = now
            self.say(f"{text} ({now - self._started:.0f} s)")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        sys.stderr.write(f"\r\033[K{text}\n" if self._is_terminal else f"{text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
