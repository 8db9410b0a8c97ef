"""A run of a job's code in this process, which writes nothing to Redis."""
