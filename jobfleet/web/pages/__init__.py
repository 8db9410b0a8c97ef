"""The views: each reads what a page shows, or does what a form asks for, through an `AsyncFleet`."""
