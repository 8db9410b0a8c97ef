"""Django: the behaviours of its Tasks framework, on Django 6 and on 5.2 with the package django-tasks.

Each Django runs a project of its own in programs: a worker that ``manage.py`` starts, and one that tries everything.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from tests.support.django import DJANGO_6
from tests.support.server import RedisServer
from tests.support.tools import is_missing, tool
from tests.support.waiting import wait_until

SITE = Path(__file__).with_name("django_site")
ROOT = Path(__file__).parents[2]
BEHAVIOURS = re.findall(r"^@behaviour\ndef (\w+)", (SITE / "behaviours.py").read_text(), re.MULTILINE)


HERE = pytest.param("here", marks=() if is_missing("django") else pytest.mark.slow)
"""The Django of this environment; the gate tries one Django."""


@pytest.fixture(scope="module", params=[HERE, pytest.param("django6", marks=tool("django"))])
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """How each behaviour ended, by its name."""
    python = Path(sys.executable) if request.param == "here" else DJANGO_6
    folder = tmp_path_factory.mktemp("shop")
    with RedisServer() as server:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "SHOP_REDIS": server.url,
            "SHOP_DATABASE": str(folder / "shop.sqlite3"), "JOBFLEET_PROCESSES": "1", "JOBFLEET_SLOTS": "1",
        }  # fmt: skip
        manage = [str(python), "manage.py"]
        seed = "from shop.models import Order; Order.objects.bulk_create([Order(number=n) for n in (1, 2)])"
        for words in (["migrate", "--run-syncdb", "-v", "0"], ["shell", "-v", "0", "-c", seed]):
            subprocess.run([*manage, *words], cwd=SITE, env=environment, check=True, timeout=100)
        log = folder / "worker"
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [str(python), str(SITE / "manage.py"), "jobfleet", "worker"],
                cwd=folder,  # it finds the modules beside manage.py
                env=environment,
                stdout=out,
                stderr=out,
            )
        try:
            with Fleet(server.url, "shop", registry=Registry()) as fleet:
                wait_until(
                    lambda: worker.poll() is not None or any(one.queues for one in fleet.workers()),
                    why="the worker is ready",
                )
            tried = [str(python), "behaviours.py"]
            done = subprocess.run(
                tried,
                cwd=SITE,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=None,
                text=True,
                check=False,
                timeout=100,
            )
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
            yield {"worker": log.read_text(), **json.loads(done.stdout)}
        finally:
            worker.kill()
            worker.wait(30)
            sys.stdout.write(log.read_text())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_project_behaves_as_django_documents(name: str, outcomes: Mapping[str, str]) -> None:
    assert outcomes[name] == ""


def test_the_worker_is_the_process_that_was_started_and_complains_of_nothing(outcomes: Mapping[str, str]) -> None:
    log = outcomes["worker"]

    assert "worker.started" in log
    assert "module.empty" not in log
    assert "worker.stopped" in log or "worker.left" in log, log[-2000:]
