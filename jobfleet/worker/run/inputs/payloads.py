"""Reads arguments, and the results of parents, from the payload store of the fleet."""

from __future__ import annotations

from jobfleet.errors import BadSignature, ConfigError, EncodingError, PayloadLost, PayloadUnavailable, UnknownKey
from jobfleet.event_loop import in_thread
from jobfleet.outcome import Broken, Outcome, Unrunnable
from jobfleet.payloads.payloads import MARK, Payloads, reference_of
from jobfleet.worker.run.run import ParentEnd

UNAVAILABLE = "payload-unavailable"
LOST = "payload-lost"
NO_STORE = "The payload is in a payload store, and this worker has none: set payload_store."


async def fetched(payloads: Payloads | None, data: bytes) -> bytes | Outcome:
    """An envelope or a record with its body, or the outcome of a run that cannot have it.

    Args:
        payloads: The payload store; None if this worker has none.
        data: The envelope or the record; its body may be in the store.
    """
    if payloads is None:
        return Unrunnable(NO_STORE, failed_as=UNAVAILABLE)
    try:
        return await in_thread(payloads.whole, data)
    except UnknownKey as error:
        return Unrunnable(str(error), failed_as="unknown-key")
    except (PayloadUnavailable, ConfigError) as error:
        return Unrunnable(str(error), failed_as=UNAVAILABLE)
    except PayloadLost as error:
        return Broken(str(error), failed_as=LOST)
    except BadSignature as error:
        return Broken(str(error), failed_as="bad-signature")
    except EncodingError as error:
        return Broken(f"its payload cannot be read: {error}")


async def with_results(payloads: Payloads | None, rows: list[ParentEnd]) -> list[ParentEnd] | Outcome:
    """The ends of parents with their results, or the outcome of a run if the store is away.

    A result that the store does not have any more counts as deleted, as at the end of its time.
    """
    if not any(MARK in value for _, _, value in rows):  # nearly always
        return rows
    found = []
    for parent, status, value in rows:
        line, _, record = value.partition(b"\n")
        if is_stored(record):
            body = await fetched(payloads, record)
            if isinstance(body, Unrunnable):
                return body
            found.append((parent, status, line + b"\n" + body if isinstance(body, bytes) else b""))
        else:
            found.append((parent, status, value))
    return found


def is_stored(record: bytes) -> bool:
    """Whether the value of a record is in a payload store; False for other bytes."""
    if MARK not in record:
        return False
    try:
        return reference_of(record) is not None
    except EncodingError:
        return False
