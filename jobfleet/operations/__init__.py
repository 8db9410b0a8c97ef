"""Every operation on a fleet, written once, as a generator of calls to Redis. No I/O."""
