"""`jobfleet outbox`: the rows of the transactional outbox."""
