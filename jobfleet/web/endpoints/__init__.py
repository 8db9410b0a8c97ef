"""The endpoints of HTTP, made of the table of routes."""
