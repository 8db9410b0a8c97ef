"""The demo's functions, as a worker loads them: ``jobfleet worker workers.demo``."""

from jobfleet.demo import add, die, fail, flaky, index, sleep, steps

__all__ = ["add", "die", "fail", "flaky", "index", "sleep", "steps"]
