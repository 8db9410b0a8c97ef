"""Processes of their own for jobs with ``run_in="process"``: how they are kept, bound, and what runs in them."""
