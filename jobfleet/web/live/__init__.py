"""Live updates: any number of open pages share one reader per page."""
