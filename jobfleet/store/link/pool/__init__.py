"""Pools of connections: at most some are open, callers wait for a free one, and idle ones are closed after a while."""

MOST = 32
"""Default for the most connections. A server runs one command at a time, so more do not make it faster."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the idle connections."""
LOOKS = 10
"""Looks after which those connections are closed that were idle at each of them, except one."""
