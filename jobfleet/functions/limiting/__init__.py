"""The limits that functions declare: of their groups and queues, and named ones with circuit breakers. Pure."""
