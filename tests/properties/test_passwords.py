"""No password, and no part of one, is shown: whatever it holds, wherever in a URL it stands."""

from __future__ import annotations

import re
import warnings
from urllib.parse import quote

import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from jobfleet import Fleet, JobConfig
from jobfleet.archive.schema import open_engine
from jobfleet.config import SETTINGS, mask_url
from jobfleet.errors import ConfigError
from jobfleet.store.target import target

PIECES = st.from_regex(r"[QXZ][QXZ7]{2,6}", fullmatch=True)
MARKS = st.sampled_from([":", "/", "?", "#", "@", "&", "=", "%", "+", " ", "\\", "[", "]", ";", ",", "℡", "\u0435"])
FORMS = [
    "redis://{0}@host:6379/0", "redis://user:{0}@host:6379/0", "redis://:{0}@host", "rediss://user:{0}@host:abc/0",
    "redis://user:{0}", "redis://:{0}", "redis://host:6379/0?auth={0}", "redis://host/0?password={0}&db=1",
    "redis://host/0?{0}", "redis://user:{0}@host/0?ssl_cert_reqs=none", "redis://user:{0}@host/db/name", "{0}",
    "user:{0}@host", "unix://user:{0}@/run/redis.sock", "sentinel://user:{0}@a:1,b:2/main", "redis://user:12{0}@host",
    "sentinels://{0}@a:1/main", "sentinel://a/main?sentinel_password={0}",
    "postgresql://user:{0}@host/db", "postgresql://{0}@host/db", "postgres://user:{0}@host/db?sslmode=require",
]  # fmt: skip


@st.composite
def passwords(draw: st.DrawFn) -> str:
    """Recognizable pieces with marks between, before and after them."""
    parts = [draw(MARKS) + draw(PIECES) for _ in range(draw(st.integers(1, 4)))]
    return "".join(parts).removeprefix(draw(st.sampled_from(["", *":/?#@&="]))) + draw(st.sampled_from(["", "/", "?"]))


def told(url: str) -> list[str]:
    """All that is said of a URL: shown, refused, or where it would connect to."""
    texts = [mask_url(url)]
    for name in ("url", "archive_url"):
        row = next(row for row in SETTINGS if row.name == name)
        try:
            row.parse(url, source="argument")
        except ConfigError as error:
            texts.append(str(error))
    try:
        texts.append(repr(Fleet(url)))
        texts.append(repr(JobConfig(url=url)))
    except ConfigError as error:
        texts.append(str(error))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            at = target(url, warns=True)
        texts += [str(one.message) for one in caught]
        texts.append(at.shown)
        if at.sentinels is not None:
            texts += [repr(at.sentinels), str(at.sentinels.options.get("db"))]
        else:
            kwargs = redis.ConnectionPool.from_url(at.url).connection_kwargs
            texts += [str(kwargs.get(part)) for part in ("host", "port", "db", "path")]
    except ConfigError as error:
        texts.append(str(error))
    try:
        made = open_engine(url).url
        texts += [str(made.host), str(made.port), str(made.database)]
    except ConfigError as error:
        texts.append(str(error))
    return texts


@pytest.mark.first(7)
@pytest.mark.parametrize("form", FORMS)
@given(password=passwords(), is_escaped=st.booleans())
@example(password="Qab/Zcd", is_escaped=False)
@example(password="QXZ", is_escaped=False)
@example(password="12#QXZ", is_escaped=False)
@example(password="7?QXZ=Z", is_escaped=False)
def test_no_part_of_a_password_is_told(form: str, password: str, is_escaped: bool) -> None:
    if "://{0}@" in form:
        password = password.replace(":", "")  # before a colon there is a user, who is shown
    if "@" not in form:
        password = password.replace("@", "")  # behind it there is a host, which is shown
    url = form.format(quote(password, safe="") if is_escaped else password)

    pieces = re.findall("[QXZ][QXZ7]{2,}", password)
    shown = "\n".join(told(url))

    assert not [piece for piece in pieces if piece in shown], shown
