"""Redis users with the least privilege: what each role may do, derived from the scripts that it runs."""
