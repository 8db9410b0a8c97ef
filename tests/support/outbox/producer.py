"""A producer of the trial: each order is a row of its own table and a job, in one transaction."""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from jobfleet import Fleet, Job
from jobfleet.contrib import outbox
from jobfleet.outbox.rows import open_engine
from tests.support.outbox.killing import Killer
from tests.support.waiting import wait_until

EVERY_ROLLED_BACK = 5
"""Each order with a number that this divides is rolled back."""


def main(folder: Path, url: str, redis: str, first: int, last: int, seed: int, share: float) -> None:
    """Write the orders from `first` to `last` that are not written yet."""
    killer = Killer(folder, "producer", seed, share)
    engine = create_engine(open_engine(url).url, poolclass=NullPool)
    progress = folder / f"written.{first}"
    with Fleet(redis) as fleet:
        for number in range(int(progress.read_text()) if progress.exists() else first, last + 1):

            def is_decided(number: int = number) -> bool:
                try:
                    with engine.connect() as connection:
                        killer.at("begun")
                        connection.execute(text("INSERT INTO orders (number) VALUES (:number)"), {"number": number})
                        outbox.enqueue(connection, Job("order", "trial.order", (number,), queue="orders"), fleet=fleet)
                        killer.at("written")
                        if number % EVERY_ROLLED_BACK == 0:
                            connection.rollback()
                        else:
                            connection.commit()
                        killer.at("committed")
                except IntegrityError:  # it was committed, although no answer came
                    return True
                except DBAPIError:
                    return False
                return True

            wait_until(is_decided, timeout=120, why=f"order {number} is written")
            kept = progress.with_suffix(f".{first}.new")
            kept.write_text(str(number + 1))
            kept.replace(progress)


if __name__ == "__main__":
    where, url, redis, first, last, seed, share = sys.argv[1:]
    main(Path(where), url, redis, int(first), int(last), int(seed), float(share))
