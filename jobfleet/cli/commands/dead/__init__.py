"""`jobfleet dead`: dead letters, their groups and rescues."""
