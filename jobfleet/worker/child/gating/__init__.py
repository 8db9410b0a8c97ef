"""The gates of a child: named limits and circuit breakers, which its runs pass before they start."""
