"""The trail finds what no correct script would have written, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chaos.trail import Trail, follow

TAG = "{jobfleet:default:0}:"
JOB, OTHER = "default.0.aa", "default.0.bb"
T0 = 1_700_000_000_000_000
Step = list[tuple[object, ...]]


def run(token: int, *, child: str = "c.1", at: int = T0, band: int = 2) -> str:
    """The record of a run."""
    return f"{token}|{child}|{at}|000000006000000|{band}|"


def enqueued(job_id: str = JOB, *, due: int = T0, band: int = 2) -> Step:
    return [("MSETNX", f"{TAG}job:{job_id}", "x"), ("ZADD", f"{TAG}ready:{band}", due, job_id)]


def granted(token: int, job_id: str = JOB, *, nonce: int = 1, at: int = T0 + 1, band: int = 2) -> Step:
    return [
        ("ZADD", f"{TAG}lease", at + 6_000_000, job_id),
        ("HSET", f"{TAG}runs", job_id, run(token, at=at, band=band)),
        ("SET", f"{TAG}claim:c.1", f"{nonce} {token} {job_id} {at}"),
        ("ZREM", f"{TAG}ready:{band}", job_id),
    ]


def ended(token: int, job_id: str = JOB, *, by: str = "c.1") -> Step:
    sent: Step = [("SET", f"{TAG}sent:{by}", "1 1 s")] if by else []
    return [
        ("SET", f"{TAG}result:{job_id}", f"completed {T0 + 9} {token}\nrecord"),
        ("ZREM", f"{TAG}lease", job_id),
        ("HDEL", f"{TAG}runs", job_id),
        ("UNLINK", f"{TAG}job:{job_id}"),
        *sent,
    ]


def followed(folder: Path, *steps: Step, caps: dict[str, int] | None = None) -> Trail:
    """Write an append-only file and follow it."""
    out = b"#TS:%d\r\n" % (T0 // 1_000_000)
    for step in steps:
        for command in (("MULTI",), *step, ("EXEC",)):
            words = [str(word).encode() for word in command]
            out += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    path = folder / "server.aof"
    path.write_bytes(out)
    return follow(path, caps=caps)


def invariants(trail: Trail) -> set[int]:
    return {breach.invariant for breach in trail.breaches}


def test_a_job_that_is_run_and_ended_violates_nothing(tmp_path: Path) -> None:
    trail = followed(tmp_path, enqueued(), granted(T0 + 5), ended(T0 + 5))

    assert trail.breaches == []
    assert [(one.event, one.id, one.token) for one in trail.events] == [
        ("enqueued", JOB, 0),
        ("granted", JOB, T0 + 5),
        ("ended", JOB, T0 + 5),
    ]


def test_a_half_written_end_of_the_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "server.aof"
    followed(tmp_path, enqueued(), granted(T0 + 5))
    path.write_bytes(path.read_bytes()[:-20])

    assert [one.event for one in follow(path).events] == ["enqueued"]


RETURNED: Step = [("ZADD", f"{TAG}ready:2", T0, JOB), ("ZREM", f"{TAG}lease", JOB), ("HDEL", f"{TAG}runs", JOB)]
STAYING = RETURNED[:2]


@pytest.mark.parametrize(
    ("invariant", "steps"),
    [
        pytest.param(1, [enqueued(), [("ZADD", f"{TAG}ready:1", T0, JOB)]], id="a job in two bands"),
        pytest.param(1, [enqueued(), [("ZREM", f"{TAG}ready:2", JOB)]], id="a job in no set"),
        pytest.param(1, [enqueued(), granted(T0), ended(T0)[:1]], id="a job that has ended and runs"),
        pytest.param(3, [enqueued(), granted(T0), STAYING], id="an owner without a lease"),
        pytest.param(3, [[("ZADD", f"{TAG}lease", T0, JOB)]], id="a lease that was revived"),
        pytest.param(4, [enqueued(), granted(T0 + 5), RETURNED, granted(T0 + 4, nonce=2)], id="a lower token"),
        pytest.param(5, [enqueued(), enqueued(OTHER), granted(T0), granted(T0, OTHER, nonce=2)], id="a token twice"),
        pytest.param(6, [enqueued(), granted(T0), granted(T0 + 1, nonce=2)], id="a second owner"),
        pytest.param(7, [enqueued(), granted(T0 + 5), ended(T0 + 4)], id="a result of another run"),
        pytest.param(8, [enqueued(), granted(T0), ended(T0), ended(T0)[:1]], id="a second ending"),
        pytest.param(10, [enqueued(), enqueued(OTHER), granted(T0), granted(T0 + 1, OTHER)], id="a nonce twice"),
        pytest.param(13, [enqueued(), granted(T0), RETURNED], id="a reaper that is early"),
        pytest.param(16, [enqueued(due=T0 + 10**7), granted(T0)], id="a job before its time"),
        pytest.param(17, [enqueued(OTHER, band=1), enqueued(), granted(T0)], id="a more urgent job that waits"),
        pytest.param(18, [enqueued(), [("HSET", f"{TAG}conf", "paused", "x")], granted(T0)], id="a paused lane"),
        pytest.param(20, [enqueued(due=9 * 10**15), granted(T0)], id="a blocked job"),
    ],
)
def test_it_finds(tmp_path: Path, invariant: int, steps: list[Step]) -> None:
    assert invariant in invariants(followed(tmp_path, *steps))


def test_a_group_above_its_limit_is_found(tmp_path: Path) -> None:
    held: Step = [("ZADD", f"{TAG}held", 0, f"g\0{JOB}", 0, f"g\0{OTHER}")]

    trail = followed(tmp_path, enqueued(), [*granted(T0), *held], caps={"g": 1})

    assert invariants(trail) == {22}


def test_what_a_supervisor_returns_of_a_buried_child_is_not_early(tmp_path: Path) -> None:
    buried: Step = [("SET", f"{TAG}claim:c.1", "buried\n1")]

    assert invariants(followed(tmp_path, enqueued(), granted(T0), buried, RETURNED)) == set()
