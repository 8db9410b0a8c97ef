"""Completion of the command line in shells: their scripts, and the answers to them."""
