"""With encryption on, nothing that a job works with is in clear text in Redis or in the archive."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job, JobContext, JobStatus
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.errors import UnknownKey
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.trust.conftest import OLD, FleetWith, spelled

MARK = "Zyx9marker"


def everything(ctx: JobContext, text: str, *, named: str) -> dict[str, str]:
    assert MARK in text
    assert MARK in named
    ctx.progress(0.5, f"at {MARK}", {"key": MARK})
    ctx.log.warning("a line with %s", MARK)
    ctx.emit_sync(f"a chunk with {MARK}")
    kept = ctx.step_sync("first", lambda: f"step {MARK}")
    ctx.checkpoint_sync("place", f"checkpoint {MARK}")
    return {"kept": kept, "result": MARK}


def adding(ctx: JobContext, text: str) -> None:
    more = Flow("more")
    for _ in range(2):
        more.add(Job("more", "app.everything", (text,), {"named": text}))
    ctx.flow.add_sync(more)


def failing(text: str) -> None:
    raise RuntimeError(f"cannot do {text}")


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(everything, name="app.everything", keep_args=True)
    registry.register(adding, name="app.adding")
    registry.register(failing, name="app.failing", max_retries=1, retry_delay=0.01)
    return registry


def dumped(raw: Any) -> bytes:
    """All keys with all that they hold, as the server would save it, without compression."""
    found = []
    for key in raw.scan_iter(count=1000):
        kind = raw.type(key)
        readers: dict[bytes, Any] = {
            b"string": raw.get,
            b"hash": raw.hgetall,
            b"list": lambda name: raw.lrange(name, 0, -1),
            b"zset": lambda name: raw.zrange(name, 0, -1, withscores=True),
            b"stream": raw.xrange,
            b"set": raw.smembers,
        }
        value = readers[kind](key)
        found.append(repr((key, value)).encode())
    return b"\n".join(found)


def saved(raw: Any) -> bytes:
    """The file that the server saves."""
    raw.config_set("rdbcompression", "no")
    raw.save()
    return Path(raw.config_get("dir")["dir"], raw.config_get("dbfilename")["dbfilename"]).read_bytes()


def use(fleet: Fleet) -> tuple[str, str]:
    """Enqueue jobs with the marker in every way; return one that completes and one that fails."""
    done = fleet.enqueue(Job("all", "app.everything", (MARK,), {"named": MARK}))
    failed = fleet.enqueue(Job("fails", "app.failing", (MARK,)))
    fleet.enqueue(Job("later", "app.everything", (MARK,), {"named": MARK}, delay=3600))
    fleet.enqueue(Job("edited", "app.everything", (MARK,), {"named": "x"}, delay=3600, id="edited"))
    fleet.edit("default.0.edited", kwargs={"named": MARK})
    fleet.enqueue(Job("child", "app.everything", (MARK,), {"named": MARK}, depends_on=[done]))
    fleet.cron.add("tick", "0 0 1 1 *", Job("tick", "app.everything", (MARK,), {"named": MARK}))
    fleet.cron.run("tick")
    flow = Flow("flow")
    for _ in range(2):
        flow.add(Job("same", "app.everything", (MARK,), {"named": MARK}))
    flow.add(Job("adds", "app.adding", (MARK,)))
    fleet.flows.enqueue(flow)
    unique = Job("unique", "app.everything", (MARK,), {"named": MARK}, unique="u", delay=60, on_conflict="debounce")
    fleet.enqueue(unique)
    fleet.enqueue(
        Job("again", "app.everything", (MARK,), {"named": MARK}, unique="u", delay=60, on_conflict="debounce")
    )
    moved = fleet.enqueue(Job("moved", "app.everything", (MARK,), {"named": MARK}, delay=0.5))
    fleet.move(moved, "other")
    return done, failed


def test_nothing_is_in_clear_text(fleet_with: FleetWith, raw: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    init_job_tables(url)
    settings = {"keyring": spelled(old=OLD), "encrypt": "require", "archive_url": url}
    fleet_with().enqueue(Job("plain", "app.everything", (MARK,)))
    assert MARK.encode() in dumped(raw)  # so this test would notice
    assert MARK.encode() in saved(raw)
    raw.flushall()
    fleet = fleet_with(**settings)
    stop = threading.Event()
    thread = threading.Thread(
        target=fleet.run_worker, kwargs={"stop": stop, "with_reaper": True, "queues": ["default", "other"]}
    )
    thread.start()
    try:
        wait_until(lambda: raw.exists(fleet.context.keys.consumers), why="the archive follows")
        done, failed = use(fleet)
        wait_until(lambda: fleet.poll(failed).status is JobStatus.FAILED, why="it has failed")
        wait_until(lambda: fleet.poll(done).status is JobStatus.COMPLETED, why="it has completed")
        wait_until(
            lambda: all(not queue.queued and not queue.running for queue in fleet.queues()), why="nothing is left to do"
        )
        with JobRepository(url) as closed:
            wait_until(lambda: _has_ended(closed, failed) and _has_ended(closed, done), why="the archive has both")
    finally:
        stop.set()
        thread.join(60)
    held = dumped(raw)
    assert b"app.everything" in held
    assert MARK.encode() not in held
    assert MARK.encode() not in saved(raw)

    for file in tmp_path.iterdir():
        assert MARK.encode() not in file.read_bytes(), file

    result = fleet.poll(done)
    assert result.result == {"kept": f"step {MARK}", "result": MARK}
    assert (result.progress_message, result.progress_details) == (f"at {MARK}", {"key": MARK})
    assert [line.text for line in fleet.logs(done)] == [f"a line with {MARK}"]
    assert [chunk.value for chunk in fleet.stream(done)] == [f"a chunk with {MARK}"]
    assert fleet.details(done).job.result == result.result
    assert MARK in (fleet.poll(failed).error or "")
    assert MARK in (fleet.poll(failed).traceback or "")
    (letter,) = fleet.dead()
    assert MARK in (letter.error or "")
    assert fleet.letter(failed).args == (MARK,)

    with JobRepository(url) as closed:  # without keys
        row = closed.get(done)
        assert row is not None
        assert (row.status, row.result) == (JobStatus.COMPLETED, None)
    raw.flushall()
    archived = fleet.poll(done)
    assert archived.result == result.result
    assert MARK in (fleet.poll(failed).error or "")
    assert MARK in (fleet.poll(failed).traceback or "")


def _has_ended(archive: JobRepository, job_id: str) -> bool:
    row = archive.get(job_id)
    return row is not None and row.status.is_final


def test_without_keys_a_reader_gets_the_state_and_no_content(fleet_with: FleetWith) -> None:
    fleet = fleet_with(keyring=spelled(old=OLD), encrypt="require")
    done = fleet.enqueue(Job("all", "app.everything", (MARK,), {"named": MARK}, tags=["seen"]))
    fleet.run_worker(burst=True)
    reader = fleet_with()
    (row,) = reader.jobs(tags=["seen"]).jobs
    assert (row.id, row.status, row.function, row.result) == (done, JobStatus.COMPLETED, "app.everything", None)
    with pytest.raises(UnknownKey, match="'old'"):
        reader.poll(done)
