"""Job modules and pages that are meant to be copied."""
