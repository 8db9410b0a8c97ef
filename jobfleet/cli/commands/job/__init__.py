"""The commands for jobs: enqueue them, show them, and change them."""
