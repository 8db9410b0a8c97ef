"""Calls for dead letters: their names, their groups, and rescues."""
