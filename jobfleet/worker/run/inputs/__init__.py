"""What a run is given: its arguments, its context, its resources, and the results of its parents."""
