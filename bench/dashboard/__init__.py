"""What the pages of the dashboard cost on a fleet with very many jobs, dead letters and sampled series."""
