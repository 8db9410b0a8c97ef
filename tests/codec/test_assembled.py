"""A value that is assembled from encoded parts has the bytes of the whole value."""

from __future__ import annotations

import pytest

from jobfleet.codec import Limits, encode
from jobfleet.codec.values import encode_row, list_of, map_of
from jobfleet.errors import EncodingError

LIMITS = Limits(max_bytes=1 << 20, setting="")


@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_a_list_of_encoded_values_is_the_encoded_list(count: int) -> None:
    rows = [["id", number, [], ["cancel"]] for number in range(count)]

    assert list_of([encode_row(row, what="flow") for row in rows]) == encode(
        rows, limits=Limits(max_bytes=1 << 24, max_containers=1 << 20)
    )


@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_map_of_encoded_values_is_the_encoded_map(count: int) -> None:
    fields = {f"field{number}": [number] for number in range(count)}
    parts = {name: encode(value) for name, value in fields.items()}

    assert map_of(parts, limits=LIMITS, what="flow") == encode(fields)


def test_a_map_that_is_too_large_is_refused() -> None:
    with pytest.raises(EncodingError, match=r"^flow: 1,048,579 bytes, the limit is 1,048,576"):
        map_of({"a": b"x" * (1 << 20)}, limits=LIMITS, what="flow")


def test_what_cannot_be_encoded_in_a_row_is_named() -> None:
    with pytest.raises(EncodingError) as caught:
        encode_row(["id", object()], what="flow")

    assert caught.value.path == "flow[1]"
