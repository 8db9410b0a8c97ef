"""Which values the options of a job may have, option by option."""
