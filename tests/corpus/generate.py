"""Hostile bytes, one case a function of nothing; `python tests/corpus/generate.py` writes them beside itself.

The name of a file begins with who must refuse it: `payload`, `envelope` or `record`.
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgpack

FOLDER = Path(__file__).parent


def ext(code: int, body: bytes) -> bytes:
    return b"\xc9" + struct.pack(">IB", len(body), code) + body


def nested_ext(levels: int) -> bytes:
    data = b"\x90"
    for _ in range(levels):
        data = b"\x91" + ext(7, data)
    return data


def framed(version: int, kind: int, header: bytes, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBI", version, kind, len(header) if length is None else length) + header + body


def colliding_set() -> bytes:
    members = [[-1 if index >> bit & 1 else -2 for bit in range(8)] for index in range(256)]
    packed = b"".join(ext(7, bytes(msgpack.packb(member))) for member in members)
    return ext(8, b"\xdc" + struct.pack(">H", 256) + packed)


PAYLOADS = {
    "empty": b"",
    "never-used-byte": b"\xc1",
    "array32-of-nothing": b"\xdd\xff\xff\xff\xff",
    "map32-of-nothing": b"\xdf\xff\xff\xff\xff",
    "bin32-of-nothing": b"\xc6\x7f\xff\xff\xff",
    "str32-of-nothing": b"\xdb\xff\xff\xff\xff",
    "ext32-of-nothing": b"\xc9\xff\xff\xff\xff\x01",
    "deep-arrays-33": b"\x91" * 32 + b"\x90",
    "deep-arrays-1000": b"\x91" * 1000 + b"\xc0",
    "deep-maps-1000": b"\x81\xa1a" * 1000 + b"\xc0",
    "deep-extensions-40": nested_ext(40),
    "deep-extensions-without-arrays": ext(7, ext(7, ext(7, b"\x90"))),
    "deep-claims-of-a-million": b"\xdd\x00\x0f\x42\x40" * 30 + b"\xc0" * 5000,
    "trailing-byte": b"\xc0\xc0",
    "trailing-in-tuple": ext(7, b"\x90\x90"),
    "not-utf8": b"\xa1\xff",
    "surrogate": b"\xa3\xed\xa0\x80",
    "key-none": b"\x81\xc0\xc0",
    "key-true": b"\x81\xc3\xc0",
    "key-float": b"\x81\xcb" + struct.pack(">d", 1.5) + b"\xc0",
    "key-list": b"\x81\x90\xc0",
    "key-tuple": b"\x81" + ext(7, b"\x90") + b"\xc0",
    "key-int-then-key-list": b"\x82\x01\xc0\x90\xc0",
    "unknown-extension": ext(99, b"x"),
    "unknown-extension-negative": ext(0xFB, b"x"),
    "timestamp-beyond-year-9999": ext(0xFF, struct.pack(">Iq", 0, 2**62)),
    "timestamp-wrong-size": ext(0xFF, b"abc"),
    "datetime-garbage": ext(1, b"yesterday"),
    "datetime-empty": ext(1, b""),
    "datetime-unclosed": ext(1, b"2024-01-01T00:00:00[Europe/Berlin"),
    "date-garbage": ext(2, b"2024-13-01"),
    "time-garbage": ext(3, b"25:00"),
    "time-in-unknown-zone": ext(3, b"12:00:00[Mars/Olympus]"),
    "timedelta-short": ext(4, b"abc"),
    "timedelta-overflow": ext(4, struct.pack(">iII", 2**31 - 1, 0, 0)),
    "decimal-garbage": ext(5, b"one"),
    "decimal-huge-exponent": ext(5, b"1e999999999"),
    "decimal-tiny-exponent": ext(5, b"1e-999999999"),
    "decimal-huge-exponent-in-set": ext(8, b"\x91" + ext(5, b"1e999999999")),
    "decimal-long": ext(5, b"1" * 7000),
    "decimal-not-ascii": ext(5, "\u0661".encode()),
    "decimal-signalling-in-set": ext(8, b"\x91" + ext(5, b"sNaN")),
    "uuid-short": ext(6, b"x" * 15),
    "tuple-of-map": ext(7, b"\x80"),
    "tuple-empty-body": ext(7, b""),
    "set-of-lists": ext(8, b"\x91\x90"),
    "set-of-colliding-tuples": colliding_set(),
    "many-empty-maps": b"\xdd" + struct.pack(">I", 100_001) + b"\x80" * 100_001,
}

CALL = b"\x92\x90\x80"
ENVELOPES = {
    "empty": b"",
    "short": b"\x01\x00\x00\x00",
    "version-0": framed(0, 0, b"\x80", CALL),
    "version-2": framed(2, 0, b"\x80", CALL),
    "algorithm-1": framed(1, 1, b"\x80", CALL),
    "is-a-record": framed(1, 0x52, b"\x80", CALL),
    "header-longer-than-all": framed(1, 0, b"\x80", CALL, length=2**32 - 1),
    "header-is-a-list": framed(1, 0, b"\x90", CALL),
    "header-key-int": framed(1, 0, b"\x81\x01\xc0", CALL),
    "header-key-bytes": framed(1, 0, b"\x81\xc4\x01a\xc0", CALL),
    "body-missing": framed(1, 0, b"\x80", b""),
    "body-is-a-map": framed(1, 0, b"\x80", b"\x80"),
    "body-of-three": framed(1, 0, b"\x80", b"\x93\x90\x80\xc0"),
    "args-is-a-tuple": framed(1, 0, b"\x80", b"\x92" + ext(7, b"\x90") + b"\x80"),
    "kwargs-key-int": framed(1, 0, b"\x80", b"\x92\x90\x81\x01\xc0"),
    "kwargs-is-a-list": framed(1, 0, b"\x80", b"\x92\x90\x90"),
}
RECORDS = {
    "empty": b"",
    "version-2": framed(2, 0x52, b"\x80", b""),
    "is-an-envelope": framed(1, 0, b"\x80", CALL),
    "fields-is-a-list": framed(1, 0x52, b"\x90", b""),
    "value-truncated": framed(1, 0x52, b"\x80", b"\x91"),
    "value-deep": framed(1, 0x52, b"\x80", b"\x91" * 40 + b"\xc0"),
}


def cases() -> dict[str, bytes]:
    """All cases by the name of their file."""
    groups = {"payload": PAYLOADS, "envelope": ENVELOPES, "record": RECORDS}
    return {f"{group}-{name}.bin": data for group, blobs in groups.items() for name, data in blobs.items()}


if __name__ == "__main__":
    for name, data in cases().items():
        FOLDER.joinpath(name).write_bytes(data)
