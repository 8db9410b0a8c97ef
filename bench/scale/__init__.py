"""Simulated workers: the traffic of a thousand workers from one process."""
