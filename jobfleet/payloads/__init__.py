"""Stores for arguments and results that are too large for Redis: a folder, or object storage through fsspec."""
