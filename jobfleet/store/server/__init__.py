"""The Redis server: how to connect to it, whether it may be used, its clock, and the embedded one."""
