"""Calls for many jobs of flows at once."""
