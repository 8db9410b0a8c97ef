"""Events of jobs and commands to workers, as values and in their wire format. Pure."""

from jobfleet.events.control import CancelRequest, Command, NewKind, read_control
from jobfleet.events.wire import Event, read_events

__all__ = ["CancelRequest", "Command", "Event", "NewKind", "read_control", "read_events"]
