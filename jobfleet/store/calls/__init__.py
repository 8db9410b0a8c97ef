"""Builders: domain values in, a `Call` out. No I/O."""
