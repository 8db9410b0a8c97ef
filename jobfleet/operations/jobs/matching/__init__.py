"""Find the jobs that match a filter: list them, select them."""
