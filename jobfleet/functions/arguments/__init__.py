"""Typed arguments and results of functions."""
