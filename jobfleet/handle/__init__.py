"""Handles: an enqueued job in the caller's hand, over any client that can look after it."""
