"""The control channel, as a supervisor hears it: requests to cancel a running job, passed on at once.

A message may be lost; the request stands in the run's record, and comes with the next renewal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from jobfleet.store.connect import Target
from jobfleet.store.keys import Keyspace
from jobfleet.store.pubsub import AsyncListener
from jobfleet.worker.kin import Kin

PAUSE = 0.05


async def pass_on(at: Target, keys: Keyspace, children: Mapping[int, Kin]) -> None:
    """Listen for ever, and tell the child that is concerned.

    Args:
        at: The server.
        keys: The fleet's keys.
        children: The children by process id, as they come and go.
    """
    listener = AsyncListener(at, (keys.control,))
    try:
        while True:
            message = await listener.get(5.0)
            if message is None:
                await asyncio.sleep(PAUSE)
                continue
            word, *rest = message.split(" ")
            if word == "cancel" and len(rest) == 4 and rest[1].isdecimal():
                job_id, token, child, by = rest
                for kin in children.values():
                    if kin.child == child:
                        kin.cancel(job_id, int(token), by)
    finally:
        await listener.close()
