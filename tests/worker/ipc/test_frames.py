"""The pipes between a supervisor and its children."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobfleet.worker.ipc.protocol import Sender, frames

WORDS = st.lists(
    st.one_of(st.integers(-(2**63), 2**63), st.text(), st.binary(), st.floats(allow_nan=False)), max_size=5
)


async def all_frames(descriptor: int) -> list[Any]:
    return [frame async for frame in frames(descriptor)]


@given(st.lists(WORDS, max_size=10))
@settings(deadline=None)
def test_frames_arrive_as_they_were_sent(sent: list[list[Any]]) -> None:
    reading, writing = os.pipe()
    sender = Sender(writing)
    for frame in sent:
        sender.send(*frame)
    sender.close()

    assert asyncio.run(all_frames(reading)) == sent


async def test_a_full_pipe_is_not_waited_for_and_nothing_is_torn() -> None:
    reading, writing = os.pipe()
    sender = Sender(writing)
    for number in range(300):
        sender.send(number, b"x" * 1000)  # far more than a pipe holds
    got: list[int] = []

    async def listen() -> None:
        async for number, _ in frames(reading):
            got.append(number)

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(30):
        while sender._left:
            sender.send(-1, b"")
            await asyncio.sleep(0)
        sender.close()
        await listening

    assert [number for number in got if number >= 0] == list(range(300))


def test_a_peer_that_is_gone_is_not_felt() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sender = Sender(writing)

    sender.send("quiet")
    sender.send("drain", 1.0)
    sender.close()
