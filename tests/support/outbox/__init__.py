"""The trials of the transactional outbox: crashes at every step, and figures."""
