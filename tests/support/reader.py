"""A reader who follows a page: saves its files, types its commands, and runs its programs.

What is typed as `jobfleet` and `python` is forked (`tests/support/typed.py`), except in a test with the mark `fresh`.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.request import urlopen

from jobfleet import Fleet, StoreUnavailable
from jobfleet.config import load
from jobfleet.config.layers import CONFIG_FILE
from jobfleet.store.calls.presence import attendants
from tests.support.pages import ROOT, SHELL, Block
from tests.support.server import free_port
from tests.support.typed import folder as typed_programs
from tests.support.waiting import communicate, wait_until

DEMO = ROOT / "jobfleet" / "panels" / "demo.py"
LONG = 60.0
STAYS = re.compile(
    r"(jobfleet (up|worker|reaper|web(?! user| token))|streamlit run|python -m jobfleet\.panels|uvicorn"
    r"|flask --app \w+ (run|jobfleet (up|worker))|python manage\.py (runserver|jobfleet (up|worker))"
    r"|celery -A|rq worker|arq|dramatiq|huey_consumer)\b"
)
"""A command that runs until it is ended: a reader gives it a terminal of its own."""
OTHERS = ("celery", "rq", "arq", "dramatiq", "huey")
"""Systems whose commands pages show; a program that imports from a module such as ``celery_shop`` is one of theirs."""
ANSWERS = "y\n" * 20
"""What a reader answers to the questions of commands."""
ASKED = "[y/N]"
"""The end of a question."""

_PORT = re.compile(r"(?:--port|runserver --noreload) (?P<port>\d+)")
"""The port of the web server that a command starts."""
_TYPED = re.compile(r"\b(\w+)\.py\b")
_IMPORTED = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)
_PRINTED = re.compile(r"^print\(.*\)  # (?P<text>.+)$", re.MULTILINE)
_PRINTS = re.compile(r"# prints (?P<text>.+)$", re.MULTILINE)
_PROMPT = re.compile(r"^\$ (?P<command>.+)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(slots=True)
class _Terminal:
    """A terminal in which a command runs until it is ended."""

    line: str
    modules: frozenset[str]
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_worker(self) -> bool:
        return re.search(r"\bjobfleet (up|worker)\b", self.line) is not None


class Reader:
    """Follows one page in a folder of its own.

    Args:
        folder: An empty folder.
        blocks: The blocks of the page.
        programs: The folder with ``python`` and ``jobfleet``; by default those of this environment.
        variables: Further variables of the reader's environment.
        url: The Redis that the reader has; by default none, so that ``jobfleet up`` starts one.
        others: A folder with programs of other systems, and with the ``python`` that has their packages.

    Attributes:
        count: How many blocks it has run.
    """

    def __init__(
        self,
        folder: Path,
        blocks: list[Block],
        programs: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
        *,
        url: str = "",
        others: Path | None = None,
    ) -> None:
        self.count = 0
        self._home = folder / "home"
        self._folder = folder / "clean"
        for made in (self._home, self._folder):
            made.mkdir()
        self._kept = shlex.quote(str(self._home / "variables"))
        self._variables = f"[ ! -f {self._kept} ] || . {self._kept}"
        self._blocks = [block for block in blocks if block.is_run]
        self._terminals: list[_Terminal] = []
        self._environment = {
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TZ": "UTC",  # pages show times of this zone
            "JOBFLEET_PROCESSES": "1",  # as on a machine with one core
            "STREAMLIT_SERVER_HEADLESS": "true",
            "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
            **variables,
            **({"JOBFLEET_URL": url, "REDIS_URL": url} if url else {}),
        }
        typed = typed_programs(self._environment) if programs is None else None
        folders = [typed, programs or Path(sys.executable).parent, others, "/usr/local/bin", "/usr/bin", "/bin"]
        self._environment["PATH"] = ":".join(str(one) for one in folders if one is not None)
        self._given = url
        self._others = others

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._show_logs()
        for terminal in self._terminals:
            _end(terminal)

    def follow(self) -> None:
        """Run all blocks of the page in order."""
        served = _served(self._blocks)
        for block in self._blocks:
            if block.file:
                self._save(block)
                is_program = "/" not in block.file and block.file.removesuffix(".py") not in served
                if block.language == "python" and is_program:
                    self._run_program(block)
            elif block.language == "console":
                self._compare(block)
            else:
                self._type(block)
            self.count += 1
        self._check_flows()

    def deploy(self, url: str, blocks: list[Block]) -> None:
        """Press Ctrl-C in each terminal, and follow further blocks in the same folder with another Redis.

        Args:
            url: The URL of the Redis.
            blocks: The blocks.
        """
        while self._terminals:
            _end(self._terminals.pop())
        self._given = self._environment["JOBFLEET_URL"] = url
        self._blocks = [block for block in blocks if block.is_run]
        self.follow()

    def _check_flows(self) -> None:
        """Let the flows of the page end well: a program that only enqueues one would not show that it fails."""
        url = self._url()
        if not url.startswith("unix:"):  # no server of `jobfleet up`
            return
        with suppress(StoreUnavailable), Fleet(url) as fleet:
            for flow_id, _ in fleet.flows():
                flow = fleet.flows.wait(flow_id, timeout=LONG)
                errors = [f"{job.name}: {job.result.error}" for job in flow.jobs if job.result and job.result.error]
                assert flow.status == "completed", f"the flow {flow.name!r} is {flow.status}: {errors}"

    def _url(self) -> str:
        return load(environ=self._environment, directory=self._folder).config.url

    def _save(self, block: Block) -> None:
        """Save a file, or add to it; a worker that has loaded it is started again, as the page says."""
        path = self._folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"\n\n{block.body}" if file.tell() else block.body)
        if block.file == CONFIG_FILE:
            load(environ={}, directory=self._folder)  # raises if it is not valid
        for terminal in list(self._terminals):
            if block.file.removesuffix(".py") in terminal.modules:
                _end(terminal)
                self._terminals.remove(terminal)
                self._start(terminal.line)

    def _run_program(self, block: Block) -> None:
        is_other = any(f"from {name}_" in block.body for name in OTHERS)
        program = str(self._others / "python") if self._others and is_other else "python"
        printed = self._run([program, block.file], str(block))
        lines = iter(printed.splitlines())
        for found in _PRINTED.finditer(block.body):
            shows = _pattern(found["text"]).fullmatch
            assert any(shows(line.strip()) for line in lines), f"{block} prints {found['text']!r}, not:\n{printed}"

    def _compare(self, block: Block) -> None:
        for found in _PROMPT.finditer(block.body):
            printed = self._run(["sh", "-c", found["command"]], str(block))
            _check_printed(found["output"], printed, block)

    def _type(self, block: Block) -> None:
        lines: list[str] = []
        for line in [*block.body.splitlines(), ""]:
            if lines and (not line or STAYS.match(line)):
                self._type_lines(lines, block)
                lines = []
            if STAYS.match(line):
                self._start(line)
            elif line:
                lines.append(line)

    def _type_lines(self, lines: list[str], block: Block) -> None:
        """Type commands into the terminal that is kept open: its variables stay."""
        script = "\n".join(["set -ea", self._variables, *lines, f"export -p > {self._kept}"])
        printed = self._run(["sh", "-c", script], str(block))
        assert "does not provide the extra" not in printed, f"{block}: {printed}"
        is_alone = len(block.body.splitlines()) == 1
        assert ASKED not in printed or is_alone, f"{block}: who pastes it answers a question with a command: {printed}"
        for found in _PRINTS.finditer("\n".join(lines)):
            _check_printed(found["text"], printed, block)

    def _run(self, command: list[str], where: str) -> str:
        with subprocess.Popen(
            command, cwd=self._folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            try:
                printed, _ = communicate(process, ANSWERS, timeout=LONG)
            except BaseException:
                process.kill()
                raise
        assert process.returncode == 0, f"{where} ended with {process.returncode}:\n{printed}"
        return printed

    def _start(self, line: str) -> None:
        """Run a command in a terminal of its own, until it is ready."""
        words = shlex.split(line, comments=True)
        log = self._home / f"terminal-{len(list(self._home.glob('terminal-*')))}"
        port = free_port()
        command = ["sh", "-c", f"set -a\n{self._variables}\nexec {line}"]
        environment = {**self._environment, "STREAMLIT_SERVER_PORT": str(port)}
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        terminal = _Terminal(line, _modules(line), process, log)
        self._terminals.append(terminal)
        if words[0] == "streamlit" or "jobfleet.panels" in words:
            wait_until(lambda: _is_up(terminal) and _answers(port), timeout=LONG, why=f"{line!r} serves its page")
            self._draw(words[-1] if words[0] == "streamlit" else str(DEMO))
        elif terminal.is_worker:
            wait_until(lambda: _is_up(terminal) and self._has_workers(), timeout=LONG, why=f"{line!r} is ready")
        elif (served := _PORT.search(line)) is not None and words[0] != "jobfleet":
            wait_until(
                lambda: _is_up(terminal) and _listens(int(served["port"])),
                timeout=LONG,
                why=f"{line!r} serves its pages",
            )
        if words[1] == "web" or "--web" in words:
            wait_until(lambda: "The dashboard is at" in log.read_text(), timeout=LONG, why=f"{line!r} serves its pages")

    def _draw(self, page: str) -> None:
        """Run a page of Streamlit once; `tests/panels/test_browser.py` opens pages in a browser."""
        program = f"""if True:
            from streamlit.testing.v1 import AppTest
            drawn = AppTest.from_file({page!r}, default_timeout=30).run()
            assert not drawn.exception, drawn.exception
        """
        self._run(["python", "-c", program], page)

    def _has_workers(self) -> bool:
        """Whether as many workers as were started have loaded their functions, and a reaper is there."""
        url = self._url()
        if not self._given and not url.startswith("unix:"):  # the server of `jobfleet up` is not there yet
            return False
        wanted = sum(terminal.is_worker for terminal in self._terminals)
        with suppress(StoreUnavailable), Fleet(url) as fleet:
            reapers = [one for one in fleet.store.run(attendants(fleet.context.keys)) if one.role == "reaper"]
            return (
                bool(reapers or self._given)
                and sum(bool(one.queues) for one in fleet.workers() if not one.is_gone) >= wanted
            )
        return False

    def _show_logs(self) -> None:
        for terminal in self._terminals:
            sys.stdout.write(f"── {terminal.line}\n{terminal.log.read_text(errors='replace')}\n")


def _served(blocks: list[Block]) -> set[str]:
    """The modules of a page that are loaded or named by something else on the page, and so are no programs."""
    served: set[str] = set()
    for block in blocks:
        if block.language == "python":
            served.update(name for name in _IMPORTED.findall(block.body) if f"{name}.py" != block.file)
        elif block.language in SHELL:
            served.update(_TYPED.findall(block.body))
            served.update(*(_modules(line) for line in block.body.splitlines() if STAYS.match(line)))
    return served


def _modules(line: str) -> frozenset[str]:
    """The modules of this folder that a command loads."""
    words = (word.partition(":")[0] for word in shlex.split(line, comments=True)[1:])
    return frozenset(word for word in words if word.isidentifier())


def _pattern(wanted: str) -> re.Pattern[str]:
    """Output as a page shows it: spaces do not count, and ``…`` is any text."""
    return re.compile(".*".join(re.escape(part) for part in " ".join(wanted.split()).split("…")))


def _check_printed(wanted: str, printed: str, block: Block) -> None:
    """Look for a text in the output."""
    assert _pattern(wanted).search(" ".join(printed.split())), f"{block} prints {wanted!r}, not:\n{printed}"


def _is_up(terminal: _Terminal) -> bool:
    code = terminal.process.poll()
    assert code is None, f"{terminal.line!r} ended with {code}"
    return True


def _answers(port: int) -> bool:
    with suppress(OSError), urlopen(f"http://localhost:{port}/_stcore/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def _end(terminal: _Terminal) -> None:
    """Press Ctrl-C, as a reader does; what does not end then is killed."""
    with suppress(ProcessLookupError):
        os.kill(terminal.process.pid, signal.SIGINT)
    try:
        wait_until(lambda: terminal.process.poll() is not None, timeout=LONG, why=f"{terminal.line!r} has ended")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(terminal.process.pid, signal.SIGKILL)
