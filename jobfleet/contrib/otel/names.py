"""The names of attributes: those of the conventions for messaging, and those of jobfleet within them."""

from __future__ import annotations

from typing import Final

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION_ID: Final = "messaging.message.conversation_id"
ENVELOPE_SIZE: Final = "messaging.message.envelope.size"
BATCH_COUNT: Final = "messaging.batch.message_count"
CLIENT_ID: Final = "messaging.client.id"
ERROR_TYPE: Final = "error.type"

FUNCTION: Final = "messaging.jobfleet.function"
ATTEMPT: Final = "messaging.jobfleet.attempt"
FENCE: Final = "messaging.jobfleet.fence"
FLOW: Final = "messaging.jobfleet.flow.id"
STEP: Final = "messaging.jobfleet.step"
OUTCOME: Final = "messaging.jobfleet.outcome"
REASON: Final = "messaging.jobfleet.reason"
RETRY_DELAY: Final = "messaging.jobfleet.retry_delay"
CREATED: Final = "messaging.jobfleet.created"
LINK: Final = "messaging.jobfleet.link"
"""What a link leads to: ``enqueue``, ``previous_attempt``, ``parent`` or ``batch``."""

JOBFLEET: Final = "jobfleet"
SEND, PROCESS = "send", "process"
"""Types of operations of the conventions; the operations of jobfleet are ``enqueue`` and ``process``."""
ENQUEUE: Final = "enqueue"
