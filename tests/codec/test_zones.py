"""Time zones in payloads that this machine does not know: each is read, and few cost a look into files."""

from __future__ import annotations

import subprocess
import sys

from tests.support.fleet import ROOT

LOOKS = """
import sys
from datetime import datetime
from zoneinfo import ZoneInfo
from jobfleet.codec import decode, encode

berlin = encode(datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")))
payloads = [berlin.replace(b"Europe/Berlin", b"Nowhere/%05d" % number) for number in range(20_000)]
tokyo = encode(datetime(2026, 7, 1, tzinfo=ZoneInfo("Asia/Tokyo")))
opened = 0

def count(event, arguments):
    global opened
    opened += event == "open"

sys.addaudithook(count)
offsets = {decode(one).utcoffset() for one in payloads}
first, opened = opened, 0
offsets |= {decode(one).utcoffset() for one in payloads}
print(len(offsets), first, opened, decode(tokyo).tzinfo)
"""


def test_thousands_of_unknown_zones_cost_no_look_each() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOOKS], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    offsets, first, again, known = run.stdout.split()
    assert (offsets, again, known) == ("1", "0", "Asia/Tokyo")
    assert int(first) < 5_000  # the first few looks, and one search through the list of all zones
