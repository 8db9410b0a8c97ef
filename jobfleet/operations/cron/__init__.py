"""Recurring jobs of a fleet."""
