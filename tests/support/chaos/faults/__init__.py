"""Faults by kind; importing a module registers its faults."""
