"""The waits of a job: it ends its run and continues later; and the context of a test, whose waits are over at once."""
