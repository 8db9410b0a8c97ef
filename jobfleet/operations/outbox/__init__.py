"""Jobs in a transactional outbox: prepare one without Redis, and enqueue those that were committed."""
