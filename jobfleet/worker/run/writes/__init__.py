"""What a run writes: its job's progress, logs and steps, its log lines and its metrics."""
