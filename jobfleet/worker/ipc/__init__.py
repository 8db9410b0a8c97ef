"""The interface between a supervisor and its children."""
