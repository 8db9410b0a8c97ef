"""Functions to try jobfleet with; tests, the demo and benchmarks use them too.

``workers/demo.py`` is the module to hand to a worker: ``jobfleet worker workers.demo``.
"""

from jobfleet.demo.jobs import add, die, fail, flaky, index, sleep, steps

__all__ = ["add", "die", "fail", "flaky", "index", "sleep", "steps"]
