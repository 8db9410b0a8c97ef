"""Which errors are passed to the handlers of logs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobfleet.worker.run.failure import is_writable, traceback_text

SURROGATE = "caf\ud8e9"


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


def plain() -> None:
    raise ValueError("café")


def broken_text() -> None:
    raise Mute


def lone_surrogate() -> None:
    raise ValueError(SURROGATE)


def broken_cause() -> None:
    raise ValueError("plain") from Mute()


def broken_context() -> None:
    try:
        raise Mute
    except Mute:
        raise ValueError("plain")  # noqa: B904 - the context is what is tested


def broken_member() -> None:
    raise ExceptionGroup("plain", [ValueError("plain"), ExceptionGroup("plain", [ValueError(SURROGATE)])])


def broken_note() -> None:
    error = ValueError("plain")
    error.add_note(SURROGATE)
    raise error


def circle() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (plain, True),
        (circle, True),
        (broken_text, False),
        (lone_surrogate, False),
        (broken_cause, False),
        (broken_context, False),
        (broken_member, False),
        (broken_note, False),
    ],
)
def test_an_error_is_writable_if_all_texts_of_its_traceback_are(fail: Callable[[], None], *, expected: bool) -> None:
    with pytest.raises(Exception) as raised:
        fail()

    assert is_writable(raised.value) is expected


@pytest.mark.parametrize("most", [0, 3, 4, 5, 100, 101, 102, 103])
def test_a_traceback_is_cut_to_a_size_in_bytes(most: int) -> None:
    text = traceback_text(ValueError("é€𝄞" * 1000), most)

    assert len(text.encode()) <= most
    assert most - len(text.encode()) < 4 or most < 5, "all but a part of a character is used"
    assert "\ufffd" not in text
    if most > 4:
        assert text.startswith("…\n")
    assert traceback_text(ValueError("é"), 10_000) == "ValueError: é\n"
