"""What ``scripts/verify`` checks: every feature of the user's list, on a running installation."""
