"""Diagnose a fleet."""
