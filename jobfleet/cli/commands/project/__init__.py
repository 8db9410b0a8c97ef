"""The commands for a project: start one, run a job of it locally, complete commands in a shell."""
