"""Every operation on a fleet, once, as a generator of calls to Redis. No I/O."""
