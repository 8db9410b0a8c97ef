"""The duties of a reaper, and their parts. A worker runs some of them if the fleet has no reaper."""
