"""The JSON Schemas that workers publish, and the check of JSON against them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from jobfleet import TypeMismatch
from jobfleet.client.json_form import JsonForm
from jobfleet.codec import decode
from jobfleet.functions.manifest import function_record
from jobfleet.functions.published import check, check_takes, read_takes
from jobfleet.functions.registry import Registry
from jobfleet.functions.typed_call import described
from jobfleet.secret import Redaction
from jobfleet.typed.build import Builder
from jobfleet.typed.converter import Refused
from tests.e2e.apps.typed_kinds import KINDS, Cat, Dog, Order, Point, Struct

WIRE: dict[str, Any] = {"id": "12345678-1234-5678-1234-567812345678", "lines": [], "at": "2026-11-25T14:00:00Z"}
CAT: dict[str, Any] = {"called": "Tom", "born": "2020-01-01", "home": "a", "secret": "x", "raw": "x"}


def bill(order: Order, count: int, *rest: Point, cat: Cat | Dog | None = None, **more: Struct) -> None: ...


@pytest.fixture
def record() -> bytes:
    return function_record(Registry().register(bill, name="app.bill"))


def test_a_plain_parameter_has_the_types_of_json_as_its_schema(record: bytes) -> None:
    fields: Any = decode(record)

    assert fields["schemas"]["count"] == {"type": "integer"}
    assert fields["schemas"].keys() == {"order", "count", "rest", "cat", "more"}
    assert [row[3] for row in fields["takes"]] == [[], ["integer"], [], [], []]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((WIRE, 1), {}),
        ((WIRE | {"parent": WIRE, "color": "blue", "files": {"a": "b"}}, 1, [1, "2020-01-01"]), {}),
        ((WIRE, 1), {"cat": CAT}),
        ((WIRE, 1), {"cat": {"kind": "dog", "friends": [{}]}}),
        ((WIRE, 1), {"cat": None, "s": {"type": "Struct", "id": WIRE["id"], "at": WIRE["at"], "path": "p"}}),
    ],
)
def test_json_that_fits_is_accepted(record: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    taken = read_takes(record)
    assert taken is not None
    check_takes("app.bill", taken, args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((5, 1), {}, "order of app.bill is a whole number; give an object."),
        (({}, 1), {}, "order.id of app.bill is missing."),
        ((WIRE | {"lines": [{"sku": "a", "price": "1"}, {"sku": 1, "price": "1"}]}, 1), {},
         "order.lines[1].sku of app.bill is a whole number; give a text."),
        ((WIRE | {"at": "soon"}, 1), {}, "order.at of app.bill is not an ISO time, such as 2026-11-25T14:00:00Z."),
        ((WIRE | {"id": "7"}, 1), {}, "order.id of app.bill is not a UUID."),
        ((WIRE | {"colour": 1}, 1), {}, "order.colour of app.bill is not a known field."),
        ((WIRE | {"color": "green"}, 1), {}, "order.color of app.bill is not one of 'red', 'blue'."),
        ((WIRE | {"parent": WIRE | {"at": 1}}, 1), {}, "order.parent.at of app.bill is a whole number; give a text."),
        ((WIRE, 1, [1]), {}, "rest[0] of app.bill has 1 items; give at least 2."),
        ((WIRE, 1), {"cat": 5}, "cat of app.bill is a whole number; give an object or null."),
        ((WIRE, 1), {"cat": {"kind": "cow"}}, "cat of app.bill fits none of the types that are permitted here."),
        ((WIRE, 1), {"s": {"type": "Tiny", "id": "", "at": "", "path": ""}},
         "s.type of app.bill is not one of 'Struct'."),
    ],
)  # fmt: skip
def test_json_that_does_not_fit_is_refused_with_its_place(
    record: bytes, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    taken = read_takes(record)
    assert taken is not None

    with pytest.raises(TypeMismatch) as caught:
        check_takes("app.bill", taken, args, kwargs)

    assert str(caught.value) == message
    assert caught.value.field == ("kwargs" if kwargs else "args")
    assert caught.value.path == message.partition(" of ")[0]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"minimum": 1, "maximum": 2}, 1, 3),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, 2, 1),
        ({"multipleOf": 5}, 10, 11),
        ({"minLength": 2, "maxLength": 3}, "ab", "a"),
        ({"maxItems": 1}, [1], [1, 2]),
        ({"const": True}, True, 1),
        ({"allOf": [{"type": "string"}, {"maxLength": 1}]}, "a", "ab"),
        ({"oneOf": [{"type": "null"}, {"type": "number"}]}, 1, "a"),
        ({"contentEncoding": "base64"}, "aGk=", "?"),
        ({"format": "decimal"}, "1.5", "x"),
        ({"format": "time"}, "12:00", "x"),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "b"}),
        ({"pattern": "^a$", "format": "unknown"}, "b", None),
    ],
)
def test_the_words_of_schemas(schema: dict[str, Any], good: Any, bad: Any) -> None:
    check(schema, good)
    if bad is None:
        return
    with pytest.raises(Refused):
        check(schema, bad)


def test_a_schema_that_refers_to_itself_for_ever_ends() -> None:
    check({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_json_form_of_each_kind_fits_its_schema(kind: str) -> None:
    """Two validators agree; the form is that in which the API shows the data."""
    hint, value = KINDS[kind]
    converter = Builder().of(hint)
    schema = described(converter)
    shown = JsonForm(Redaction(())).value(converter.dump(value))

    if kind not in NOT_SHOWN:
        check(schema, shown)
        jsonschema.Draft202012Validator(schema).validate(shown)


NOT_SHOWN = {"pydantic", "dataclass_around_model", "secret", "dataclass", "dataclass_recursive", "list", "optional"}
"""They have a secret, which is shown as another text; or, in pydantic, bytes, which are not base64 there."""
