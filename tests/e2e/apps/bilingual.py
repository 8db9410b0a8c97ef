"""A producer that either revision runs: it enqueues one job of each kind and prints their ids by name."""

from __future__ import annotations

import json
import sys

from jobfleet import Fleet, Flow, Job, Priority


def main(url: str, folder: str) -> None:
    """Enqueue the jobs.

    Args:
        url: The server.
        folder: Where files are that jobs wait for.
    """
    with Fleet(url) as fleet:
        ids: dict[str, str] = {
            "plain": fleet.enqueue(Job("plain", "hist.nap", (0.01,))),
            "thread": fleet.enqueue(Job("thread", "hist.rest", (0.01,), tags=["a"], user="ann", metadata={"n": 1})),
            "urgent": fleet.enqueue(Job("urgent", "hist.urgent", priority=Priority.CRITICAL)),
            "later": fleet.enqueue(Job("later", "hist.nap", (0.01,), delay=0.3)),
            "failed": fleet.enqueue(Job("failed", "hist.raise", ("no", "ValueError"))),
            "retried": fleet.enqueue(Job("retried", "hist.raise", ("again",), max_retries=1, retry_delay=0.1)),
            "unique": fleet.enqueue(Job("unique", "hist.nap", (0.01,), unique="one")),
            "grouped": fleet.enqueue(Job("grouped", "hist.nap", (0.01,), group="g")),
            "own": fleet.enqueue(Job("own", "hist.nap", (0.01,), id="own-id")),
            "expired": fleet.enqueue(Job("expired", "hist.nap", (0.01,), queue="unserved", expires_in=0.2)),
        }
        ids["child"] = fleet.enqueue(Job("child", "hist.nap", (0.01,), depends_on=[ids["plain"], ids["thread"]]))
        flow = Flow("pair")
        first = flow.add(Job("first", "hist.nap", (0.01,)))
        flow.add(Job("second", "hist.nap", (0.01,)), after=[first])
        ids["first"], ids["second"] = (one.id for one in fleet.flows.enqueue(flow).jobs)
        ids["held"] = fleet.enqueue(Job("held", "hist.gate", (f"{folder}/held",)))
        ids["cancelled"] = fleet.enqueue(Job("cancelled", "hist.gate", (f"{folder}/never",)))
    sys.stdout.write(json.dumps(ids))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
