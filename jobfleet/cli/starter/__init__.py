"""The starter project that `jobfleet init` writes: `files/` has its templates, with ``$module`` and ``$name``."""
