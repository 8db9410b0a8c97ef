"""`Fleet` and `AsyncFleet`: the clients, with a worker in the calling process and the default fleet."""
