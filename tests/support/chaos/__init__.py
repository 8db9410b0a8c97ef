"""Chaos runs: load under faults, the history of it, and a checker that judges the history."""
