"""The samples of a fleet's counters: histograms, points in time, and the chunks in which they are stored. Pure."""
