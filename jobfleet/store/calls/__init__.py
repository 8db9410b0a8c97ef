"""Builders of calls: they convert domain values to a `Call`. No I/O."""
