"""What happened to jobs, as values, and their form on the wire. Pure."""

from jobfleet.events.wire import Event, read_events

__all__ = ["Event", "read_events"]
