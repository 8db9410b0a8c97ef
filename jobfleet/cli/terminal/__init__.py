"""The whole terminal as a screen with keys. Other modules decide what it shows."""
