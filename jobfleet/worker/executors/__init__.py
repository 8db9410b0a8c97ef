"""Where functions run: on the child's event loop, or in its threads."""
