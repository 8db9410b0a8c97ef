"""`jobfleet dead triage`: walk through the groups of dead letters, and decide about each."""
