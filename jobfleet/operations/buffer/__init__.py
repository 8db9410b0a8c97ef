"""The local buffer of a producer: prepare jobs without Redis, and enqueue them when it is back."""
