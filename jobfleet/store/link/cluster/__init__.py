"""Links to a Redis Cluster: they know which node serves which slot, and split an exchange by node."""
