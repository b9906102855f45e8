"""Values as JSON come back as they were, whatever msgpack can hold."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from recollectd.cli.tagging import TagError, from_json, to_json

TAGS = ("$bytes", "$int", "$float", "$time", "$ext", "$map")
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | TIMES
    | st.sampled_from(TAGS)
    | st.builds(Ext, st.integers(-128, 127).filter(lambda code: code != -1), st.binary())
)
KEYS = st.text() | st.sampled_from(TAGS) | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def there_and_back(value: Any) -> Any:
    text = msgspec.json.encode(to_json(value))
    assert msgspec.json.decode(text) == json.loads(text), "any reader of JSON sees the same"
    return from_json(msgspec.json.decode(text))


@given(VALUES)
def test_every_value_comes_back_to_the_byte(value: Any) -> None:
    assert msgspec.msgpack.encode(there_and_back(value)) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x00\x01\x02", '{"$bytes":"AAEC"}'),
        (2**53 - 1, "9007199254740991"),
        (2**53, '{"$int":"9007199254740992"}'),
        (-(2**63), '{"$int":"-9223372036854775808"}'),
        (math.nan, '{"$float":"nan"}'),
        (-math.inf, '{"$float":"-inf"}'),
        (1.0, "1.0"),
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), '{"$time":"2026-01-31T12:00:00Z"}'),
        (Ext(5, b"\x00"), '{"$ext":[5,"AA=="]}'),
        ({1: "one"}, '{"$map":[[1,"one"]]}'),
        ({"$bytes": "AAEC"}, '{"$map":[["$bytes","AAEC"]]}'),
        ({"$ref": "x"}, '{"$ref":"x"}'),
        ({"$bytes": "AAEC", "more": 1}, '{"$bytes":"AAEC","more":1}'),
    ],
)
def test_the_tags_are_these(value: Any, text: str) -> None:
    """Do not change: exported files hold them."""
    assert msgspec.json.encode(to_json(value)).decode() == text
    assert msgspec.msgpack.encode(from_json(json.loads(text))) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    "tagged",
    [
        {"$bytes": 5},
        {"$bytes": "not base64!"},
        {"$int": "12x"},
        {"$int": str(2**64)},
        {"$int": 5},
        {"$float": "1.5"},
        {"$time": "yesterday"},
        {"$time": "2026-01-31T12:00:00"},
        {"$ext": [-1, "AA=="]},
        {"$ext": [200, "AA=="]},
        {"$ext": "AA=="},
        {"$map": [[1, 2, 3]]},
        {"$map": [[1, 2], [1, 3]]},
        {"$map": 5},
        {"$map": [[{"a": 1}, 2]]},
        2**64,
        [-(2**63) - 1],
    ],
)
def test_what_a_tag_cannot_hold_is_refused(tagged: Any) -> None:
    with pytest.raises(TagError):
        from_json(tagged)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        to_json({"x": [1j]})
