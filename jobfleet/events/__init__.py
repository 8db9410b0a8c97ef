"""What happened to jobs, and what is asked of workers, as values and in their form on the wire. Pure."""

from jobfleet.events.control import CancelRequest, Command, read_control
from jobfleet.events.wire import Event, read_events

__all__ = ["CancelRequest", "Command", "Event", "read_control", "read_events"]
