"""Arguments as a text to edit: what is not changed is read back as it was, whatever it is."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobfleet.cli.commands import edit
from jobfleet.cli.commands.edit import Misread
from jobfleet.codec import decode, encode
from tests.properties.test_codec_properties import TEXT_MAPS, VALUES, same

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([one.name for one in edit.TYPES]) | st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=12,
)


@quick
@given(args=st.lists(VALUES, max_size=4), kwargs=TEXT_MAPS)
def test_what_travels_survives_an_edit_of_something_else(args: list[Any], kwargs: dict[str, Any]) -> None:
    args, kwargs = decode(encode([args, kwargs]))  # as a letter has it

    text = edit.shown(args, kwargs)

    assert same(list(edit.read(text)), [args, kwargs])
    assert edit.shown(*edit.read(text)) == text


@quick
@given(args=st.lists(JSON, max_size=3), kwargs=st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_whatever_json_is_written_is_read_or_refused(args: list[Any], kwargs: dict[str, Any]) -> None:
    text = json.dumps({"args": args, "kwargs": kwargs})

    with suppress(Misread):
        assert len(edit.read(text)[0]) == len(args)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
def test_a_float_that_json_lacks_has_a_mark(word: str) -> None:
    text = edit.shown([float(word)], {})

    ((value,), _) = edit.read(text)

    assert f'{{"$float": "{word}"}}' in " ".join(text.split()).replace("{ ", "{").replace(" }", "}")
    assert math.isnan(value) if word == "nan" else value == float(word)


def test_a_dict_that_looks_like_a_mark_is_none() -> None:
    call = ([{"$set": [1]}, {"$x": 1}, {"$set": [1], "more": 2}], {"$tuple": [1]})

    assert edit.read(edit.shown(*call)) == call


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n  "args": [1 2],\n  "kwargs": {}\n}', "Text, line 2, column 14: "),
        ("", "Text, line 1, column 1: "),
        ('{"args": []}', "The text does not have exactly args and kwargs"),
        ("[]", "The text does not have exactly args and kwargs"),
        ('{"args": [NaN], "kwargs": {}}', 'NaN is not JSON; write {"$float": "nan"}.'),
        ('{"args": [-Infinity], "kwargs": {}}', '-Infinity is not JSON; write {"$float": "-inf"}.'),
        ('{"args": [{"a": 1, "a": 2}], "kwargs": {}}', "The key 'a' occurs twice in one object."),
        ('{"args": [{"$x": 1}], "kwargs": {}}', "args[0]: '$x' is none of $datetime"),
        ('{"args": [], "kwargs": {"k": {"$set": [1, 1]}}}', "kwargs['k']: a set holds something twice."),
        ('{"args": [{"$set": [[1]]}], "kwargs": {}}', "args[0]: a set cannot hold lists"),
        ('{"args": [{"$set": 1}], "kwargs": {}}', 'args[0]: $set holds 1; write {"$set": [1, 2]}.'),
        ('{"args": [{"$map": [[1, 2], [1, 3]]}], "kwargs": {}}', "args[0]: a dict holds a key twice."),
        ('{"args": [{"$timedelta": "0.0000001"}], "kwargs": {}}', 'args[0]: $timedelta holds "0.0000001"'),
        ("[" * 100_000, "Text: nested too deep."),
        ("1" * 5_000, "Text: a number is too long"),
    ],
)
def test_what_cannot_be_read_is_refused_with_where_and_why(text: str, line: str) -> None:
    with pytest.raises(Misread) as refused:
        edit.read(text)

    assert str(refused.value).startswith(line)
