"""Processes that run jobs apart from their child."""
