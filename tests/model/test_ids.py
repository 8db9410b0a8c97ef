"""Ids: their form, their order, and what can be read from them."""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from typing import Any

import pytest

from jobfleet import InvalidJob, JobNotFound
from jobfleet.model import (
    ID_BYTES,
    Place,
    check_function_name,
    check_queue,
    derived_suffix,
    new_suffix,
    split_id,
    suffix_time_us,
)
from tests.support.each import each

SUFFIX = "0192f0c1a2b37000800012345678abcd"


def test_a_suffix_is_a_uuid_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    suffix = new_suffix()
    after = time.time_ns() // 1_000_000

    read = uuid.UUID(hex=suffix)
    assert suffix == read.hex
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert before <= read.int >> 80 <= after + 1_000


def test_a_suffix_tells_when_it_was_made() -> None:
    suffix = new_suffix()

    assert suffix_time_us(suffix) == (uuid.UUID(hex=suffix).int >> 80) * 1000


@each(
    "suffix",
    ["mine", "0" * 32, SUFFIX.upper(), SUFFIX[:-1], SUFFIX.replace("7000", "4000"), SUFFIX.replace("8000", "c000")],
)
def test_a_suffix_of_the_caller_tells_no_time(suffix: str) -> None:
    assert suffix_time_us(suffix) is None


def test_suffixes_grow_strictly() -> None:
    made = [new_suffix() for _ in range(20_000)]

    assert made == sorted(set(made))


def test_suffixes_of_all_threads_differ_and_grow_within_each() -> None:
    made: list[list[str]] = [[] for _ in range(8)]
    barrier = threading.Barrier(len(made))

    def make(own: list[str]) -> None:
        barrier.wait()
        own.extend(new_suffix() for _ in range(2_000))

    threads = [threading.Thread(target=make, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(own == sorted(own) for own in made)
    assert len({suffix for own in made for suffix in own}) == 16_000


def test_suffixes_grow_while_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([2_000_000_000_000_000_000, 1_000_000_000_000_000_000, 0, 1_999_999_999_999_999_999])
    first = new_suffix()
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks))
    monkeypatch.setattr(new_suffix, "_last", new_suffix._last)  # is put back, or all later suffixes lie in the future

    made = [first, *(new_suffix() for _ in range(4))]

    assert made == sorted(set(made))
    assert {uuid.UUID(hex=suffix).version for suffix in made} == {7}


def test_a_forked_child_does_not_repeat_its_parent() -> None:
    count = 500
    reader, writer = os.pipe()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        fork = os.fork()
    if fork == 0:
        try:
            with os.fdopen(writer, "w") as pipe:
                pipe.writelines(f"{new_suffix()}\n" for _ in range(count))
        finally:
            os._exit(0)
    os.close(writer)
    ours = [new_suffix() for _ in range(count)]
    with os.fdopen(reader) as pipe:
        theirs = pipe.read().split()
    os.waitpid(fork, 0)

    assert len({*ours, *theirs}) == 2 * count
    assert theirs == sorted(theirs)
    assert {suffix[20:] for suffix in ours}.isdisjoint(suffix[20:] for suffix in theirs)


@each(
    "job_id, place",
    [
        (f"mail.0.{SUFFIX}", Place("mail", 0, SUFFIX)),
        ("mail-2_B.1023.x", Place("mail-2_B", 1023, "x")),
        ("mail.0.a.b:c-d_e", Place("mail", 0, "a.b:c-d_e")),
        (f"{'q' * 32}.7.{'s' * 64}", Place("q" * 32, 7, "s" * 64)),
    ],
)
def test_an_id_is_taken_apart(job_id: str, place: Place) -> None:
    assert split_id(job_id) == place
    assert len(job_id.encode()) <= ID_BYTES


@each("job_id", [
        "", "mail", "mail.0", "mail.0.", ".0.x", "mail..x", "mail.x.x", "mail.-1.x", "mail.+1.x", "mail.1_0.x",
        "mail.٣.x", "mail.².x", "ma il.0.x", "mail.0.a b", "mail.0.x\n", "Zoë.0.x", f"{'q' * 33}.0.x",
        f"mail.0.{'s' * 65}", "{mail}.0.x", "mail.0.{x}",
    ])  # fmt: skip
def test_what_has_not_the_form_of_an_id_names_no_job(job_id: str) -> None:
    with pytest.raises(JobNotFound) as caught:
        split_id(job_id)

    assert caught.value.job_id == job_id
    assert (
        str(caught.value) == f"{job_id!r} is not a job id; ids look like mail.0.0192f0c1…; "
        "commands also take its last 4 or more characters."
    )


def test_a_lane_of_absurd_length_names_no_job() -> None:
    with pytest.raises(JobNotFound):
        split_id(f"mail.{'9' * 5_000}.x")


@each("name", ["default", "A", "a-b_c9", "x" * 32])
def test_a_queue_has_a_short_plain_name(name: str) -> None:
    assert check_queue(name) == name


@each("name", ["", "a.b", "a:b", "x" * 33, "a\n", None, 7, b"mail"])
def test_another_queue_is_refused(name: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        check_queue(name)

    assert caught.value.field == "queue"
    length = "; it has 33" if name == "x" * 33 else ""
    assert str(caught.value) == f"queue is {name!r}; use 1 to 32 letters, digits, '_' or '-'{length}."


@each("name", ["f", "mail.send", "app:f-2_x", "x" * 128])
def test_a_function_has_a_plain_name(name: str) -> None:
    assert check_function_name(name) == name


@each("name", ["", "mail send", "<lambda>", "x" * 129, "f\n", None, 7])
def test_another_function_is_refused(name: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        check_function_name(name, field="name")

    assert caught.value.field == "name"
    assert str(caught.value) == f"name is {name!r}; use 1 to 128 letters, digits, '_', '.', ':' or '-'."


def test_a_derived_suffix_is_the_same_for_the_same_and_for_nothing_else() -> None:
    pairs = [(job_id, queue) for job_id in ("mail.0.a", "mail.1.a", "bulk.0.a") for queue in ("x", "y")]

    derived = [derived_suffix(*pair) for pair in pairs]

    assert derived == [derived_suffix(*pair) for pair in pairs]
    assert len(set(derived)) == len(pairs)
    assert all(one.startswith("a.") for one in derived)


@each("length", [1, 32, 53, 54, 64])
def test_a_derived_suffix_is_a_suffix_however_often_it_is_derived(length: int) -> None:
    job_id = f"mail.0.{'s' * length}"
    seen = {job_id}
    for _ in range(5):
        job_id = f"mail.0.{derived_suffix(job_id, 'bulk')}"
        assert split_id(job_id).suffix  # it has the form
        assert len(job_id) <= len("mail.0.") + 64
        seen.add(job_id)
    assert len(seen) == 6
