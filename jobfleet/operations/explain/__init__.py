"""Why a job is in the state that it is in."""
