"""The process that starts children, renews their leases and recovers from their deaths."""
