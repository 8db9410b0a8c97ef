"""The commands of `jobfleet`. `main` imports the module of a command when it is called."""
