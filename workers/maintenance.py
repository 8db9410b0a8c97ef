"""Jobs that look after the fleet itself, for a worker of their own: ``jobfleet worker workers.maintenance``.

Every worker knows them; with this module one may be set apart for them, say on a queue of its own.
"""

from jobfleet.maintenance import cleanup

__all__ = ["cleanup"]
