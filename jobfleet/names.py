"""The characters of which names and the parts of ids consist."""

from __future__ import annotations

import re

QUEUE_RULE = re.compile(r"[A-Za-z0-9_-]{1,32}")
SUFFIX_RULE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
LANE_RULE = re.compile(r"[0-9]{1,4}")
LANES_MOST = 1024
"""Maximum number of lanes of a queue, in settings and as stored."""
