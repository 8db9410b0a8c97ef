"""Explain the state of a job."""
