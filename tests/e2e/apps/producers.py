"""A producer process: enqueues one job after the other, all with one unique key, once it is told to begin."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import cast

from jobfleet import Fleet, Job, Receipt
from jobfleet.model.option_types import OnConflict
from tests.support.waiting import wait_until


def main(url: str, gate: str, threads: int, mode: OnConflict) -> None:
    """Print a line a receipt: whether it was created, and the id.

    Args:
        url: The server.
        gate: Wait until a file of this name is there.
        threads: How many enqueue at once.
        mode: What a conflict brings.
    """
    receipts: list[Receipt] = []
    with Fleet(url) as fleet:
        fleet.queues()  # connected before the gate opens
        begins = threading.Event()

        def produce() -> None:
            begins.wait()
            job = Job("gate", "hist.gate", (f"{gate}.end",), unique="gate-{0}", on_conflict=mode)
            receipts.append(fleet.submit(job))

        producers = [threading.Thread(target=produce) for _ in range(threads)]
        for producer in producers:
            producer.start()
        Path(f"{gate}.{os.getpid()}.ready").touch()
        wait_until(Path(gate).exists, timeout=120, why="the gate is open")
        begins.set()
        for producer in producers:
            producer.join()
    for receipt in receipts:
        sys.stdout.write(f"{int(receipt.created)} {receipt.id}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), cast("OnConflict", sys.argv[4]))
