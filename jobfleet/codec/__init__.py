"""Encoding and decoding of values, envelopes and result records from untrusted bytes.

Pure: no clock, no import by name, no pickle, and no I/O except to read time zones. For any bytes, decoding ends with a
value or an `EncodingError`, in bounded memory.
"""

from jobfleet.codec.frames import (
    FIELD_KEYS,
    HEADER_KEYS,
    OpenedEnvelope,
    amended,
    encode_head,
    header_or_empty,
    is_record,
    is_refused,
    open_envelope,
    open_record,
    read_fields,
    read_header,
    read_record,
    recalled,
    seal,
    seal_call,
    seal_record,
    seal_trusted,
    zones_lost,
)
from jobfleet.codec.values import DEFAULT, Limits, decode, encode

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
