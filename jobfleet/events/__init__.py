"""What happened to jobs, and what is asked of workers, as values and in their form on the wire. Pure."""

from jobfleet.events.control import CancelRequest, Command, NewKind, read_control
from jobfleet.events.wire import Event, read_events

__all__ = ["CancelRequest", "Command", "Event", "NewKind", "read_control", "read_events"]
