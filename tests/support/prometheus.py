"""A real Prometheus for tests, with the configuration that stands in deploy/prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.support.fleet import LONG, ROOT
from tests.support.scraping import tool
from tests.support.server import free_port
from tests.support.waiting import wait_until

DEPLOYED = ROOT / "deploy" / "prometheus"


class Prometheus:
    """Scrapes workers and reapers once a second, in a folder of its own, until closed.

    Args:
        folder: Where its data goes.
        workers: The ports of workers.
        reapers: The ports of reapers.
    """

    def __init__(self, folder: Path, *, workers: list[int], reapers: list[int]) -> None:
        text = (DEPLOYED / "prometheus.yml").read_text()
        for targets, ports in (
            ('"worker-1:9100", "worker-2:9100"', workers),
            ('"reaper-1:9101", "reaper-2:9101"', reapers),
        ):
            assert targets in text
            text = text.replace(targets, ", ".join(f'"127.0.0.1:{port}"' for port in ports))
        text = re.sub(r"_interval: \w+", "_interval: 1s", text).replace("- rules.yml", f"- {DEPLOYED / 'rules.yml'}")
        folder.mkdir()
        (folder / "prometheus.yml").write_text(text)
        self._log = folder / "log"
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Self:
        wait_until(self._is_ready, timeout=LONG, why="Prometheus is ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=20) as answer:
            told = json.loads(answer.read())
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """The values of an expression now, by the values of its labels in their order; by nothing for one without."""
        rows = self.get("query", query=expression)["result"]
        return {
            tuple(value for label, value in sorted(row["metric"].items()) if label != "__name__"): float(
                row["value"][1]
            )
            for row in rows
        }
