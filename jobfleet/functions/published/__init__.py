"""How calls are checked against what workers publish about their functions; supervisors do not load it."""
