"""`jobfleet top`: samples of a fleet, the state of the screen, what keys change, and how it is drawn."""
