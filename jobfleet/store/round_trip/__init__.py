"""One round trip to the server: what it sends, how it reads replies and errors, and what it waits for."""
