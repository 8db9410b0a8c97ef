"""The lanes that a child serves: their order, their waits, and those whose node does not reply."""
