"""Encoding and decoding of values, envelopes and result records from untrusted bytes.

Pure: no clock, no import by name, no pickle, and no I/O except to read time zones. For any bytes, decoding ends with a
value or an `EncodingError`, in bounded memory.
"""

from jobfleet.codec.envelope import (
    HEADER_KEYS,
    OpenedEnvelope,
    amended,
    encode_head,
    header_or_empty,
    open_envelope,
    read_header,
    recalled,
    seal,
    seal_call,
    zones_lost,
)
from jobfleet.codec.payload import DEFAULT, Limits, decode, encode
from jobfleet.codec.record import (
    FIELD_KEYS,
    is_record,
    is_refused,
    open_record,
    read_fields,
    read_record,
    seal_record,
    seal_trusted,
)

__all__ = [
    "DEFAULT",
    "FIELD_KEYS",
    "HEADER_KEYS",
    "Limits",
    "OpenedEnvelope",
    "amended",
    "decode",
    "encode",
    "encode_head",
    "header_or_empty",
    "is_record",
    "is_refused",
    "open_envelope",
    "open_record",
    "read_fields",
    "read_header",
    "read_record",
    "recalled",
    "seal",
    "seal_call",
    "seal_record",
    "seal_trusted",
    "zones_lost",
]
