"""A row of the table of settings: the kinds of value, their parsing and formatting, and the types of the attributes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jobfleet.clock import UNITS, read_duration
from jobfleet.config.url import HIDDEN, check_database_url, check_outbox_url, check_url, mask_store, mask_url
from jobfleet.errors import ConfigError

Scope = Literal["all", "producer", "worker", "reaper", "web", "command"]
Duration = float | timedelta | str

DURATION_MOST = 36_500 * 86_400.0  # in µs still exact as a float; numbers in Lua are floats

if TYPE_CHECKING:

    class Seconds:
        """Reads as seconds (float); accepts seconds, a timedelta, or a text such as '5m'."""

        def __get__(self, owner: object, kind: type | None = None) -> float: ...
        def __set__(self, owner: object, value: Duration) -> None: ...

    class OptionalSeconds:
        """Like `Seconds`, or None."""

        def __get__(self, owner: object, kind: type | None = None) -> float | None: ...
        def __set__(self, owner: object, value: Duration | None) -> None: ...

    class Weights:
        """Reads as weights by queue; accepts such a mapping, a list of names, or a text such as 'mail=3,bulk'."""

        def __get__(self, owner: object, kind: type | None = None) -> Mapping[str, int]: ...
        def __set__(self, owner: object, value: Mapping[str, int] | Sequence[str]) -> None: ...

else:
    Weights = Mapping[str, int]
    Seconds = float
    OptionalSeconds = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table of settings.

    Attributes:
        name: The attribute of `JobConfig`, and the key in a file.
        kind: How values are parsed and formatted.
        default: The value if no source gives one. None means *no value*; `derived` describes the consequence.
        help: A description in one line.
        unit: The unit of a bare number.
        scope: The component that reads the setting.
        short: The short flag, without its dash.
        derived: A description of the value that replaces a default of None.
        least: The smallest value.
        most: The largest value.
    """

    name: str
    kind: Kind
    default: object
    help: str
    unit: str
    scope: Scope
    short: str
    derived: str
    least: float | None
    most: float | None

    @property
    def flag(self) -> str:
        """The command line flag; only `jobfleet web` has those of the web, so they need no prefix, but for --url."""
        is_short = self.scope == "web" and self.name != "web_url"
        name = self.name.removeprefix("web_") if is_short else self.name
        return "--" + name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "JOBFLEET_" + self.name.upper()

    @property
    def is_optional(self) -> bool:
        """Whether None, or the text 'none', is a valid value."""
        return self.default is None

    def parse(self, value: object, *, source: str = "") -> Any:
        """Parse a value and check its bounds.

        Args:
            value: The value, in any form that the kind accepts.
            source: The source of the value, for the error message.

        Raises:
            ConfigError: The value is of another kind or out of bounds; the message contains the remedy.
        """
        if self.is_optional and (value is None or (isinstance(value, str) and value.strip().lower() == "none")):
            return None
        try:
            read = self.kind.parse(value)
            self._check_bounds(read)
        except ValueError as error:
            shown = repr(self.kind.show(value)) if self.kind.hides else repr(value)
            origin = f" ({source})" if source else ""
            raise ConfigError(f"{self.name} = {shown}{origin}: {error}.") from None
        return read

    def show(self, value: object) -> str:
        """Write a value as text; passwords are masked."""
        return "none" if value is None else self.kind.show(value)

    def _check_bounds(self, value: object) -> None:
        if isinstance(value, int | float):
            if self.least is not None and value < self.least:
                raise ValueError(f"use {self.kind.show(self.least)} or more")
            if self.most is not None and value > self.most:
                raise ValueError(f"use {self.kind.show(self.most)} or less")


def setting(
    kind: Kind,
    default: object,
    help: str,
    *,
    scope: Scope,
    unit: str = "",
    short: str = "",
    derived: str = "",
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare an attribute of `JobConfig` as a row of the table; `SETTINGS` fills in the name."""
    if kind is DURATION:
        unit, least, most = "s", 0.0 if least is None else least, DURATION_MOST if most is None else most
    elif kind is SIZE:
        unit = "B"
    row = Setting(
        name="",
        kind=kind,
        default=default,
        help=help,
        unit=unit,
        scope=scope,
        short=short,
        derived=derived,
        least=least,
        most=most,
    )
    # A value that may contain a password is not in the repr. A dict has no hash.
    return field(
        default=default,
        repr=not kind.hides,
        hash=kind not in (LANES, NOTIFY, QUEUES),
        metadata={"setting": row},
    )


T = TypeVar("T", int, float)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_NAME_RULE = "use letters, digits, '_', '.' and '-', at most 100"
_SIZE = re.compile(r"(.*?)\s*(B|KiB|MiB|GiB)?", re.DOTALL)
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_WEIGHT_MOST = 1000
_REPLICAS_MOST = 100
ALL_REPLICAS = "all"
"""In place of a number of replicas: all that may take over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of value.

    Attributes:
        name: Its name in the reference.
        parse: Reads a value; raises `ValueError` with the remedy.
        show: Writes a value as text that `parse` can read. It masks the password of a URL.
        words: All possible values, if there are only a few.
        hides: Whether a value may contain a secret; only `show` masks it.
    """

    name: str
    parse: Callable[[object], object]
    show: Callable[[object], str] = str
    words: tuple[str, ...] = ()
    hides: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("use a text")
    return value.strip()


def _url(value: object) -> str:
    return check_url(_text(value))


def _database(value: object) -> str:
    try:
        return check_database_url(_text(value))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _outbox(value: object) -> str:
    try:
        return check_outbox_url(_text(value))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _store(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"file:///.+|(?!file:)[a-z][a-z0-9+.-]*://.+", text):
        raise ValueError("use a URL with the whole path, such as 'file:///srv/payloads' or 's3://bucket/prefix'")
    return text


_SITE = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?(/[A-Za-z0-9_.~-]+)*/?")


def _site(value: object) -> str:
    scheme, _, rest = _text(value).partition("://")
    host, slash, path = rest.partition("/")
    site = f"{scheme.lower()}://{host.lower()}{slash}{path}"
    if not _SITE.fullmatch(site):
        raise ValueError("use the address in the browser, such as https://jobs.example.org or https://example.org/jobs")
    return site.rstrip("/")


def _networks(value: object) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        try:
            ip_network(word.strip("[]"), strict=False)
        except ValueError:
            raise ValueError(f"{word!r}: use an address or a network, such as 10.0.0.7 or 10.42.0.0/16") from None
    return words


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value.strip()):
        raise ValueError(_NAME_RULE)
    return value.strip()


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value))


def _queue(value: object) -> str:
    """Check a queue's name against the same rule as a job's `queue` option."""
    from jobfleet.model.names import QUEUE_RULE  # most commands name no queues in their settings

    if not isinstance(value, str) or not QUEUE_RULE.fullmatch(value.strip()):
        raise ValueError("use 1 to 32 letters, digits, '_' or '-' for a queue")
    return value.strip()


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError("use true or false")


def _level(value: object) -> str:
    """Read how far something is introduced; true means require, and false off."""
    word = str(value).strip().lower() if isinstance(value, bool | str) else ""
    word = {"true": "require", "false": "off"}.get(word, word)
    if word not in {"off", "send", "require"}:
        raise ValueError("use off, send or require")
    return word


def _number_of(value: object, number: type[T], remedy: str) -> T:
    """Read a finite number from a number or a text; a bool is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, str) if number is int else (int, float, str)):
        raise ValueError(remedy)
    try:
        read = number(value)
    except (ValueError, OverflowError):
        raise ValueError(remedy) from None
    if not math.isfinite(read):
        raise ValueError(remedy)
    return read


def _count(value: object) -> int:
    return _number_of(value, int, "use a whole number")


def _ratio(value: object) -> float:
    if isinstance(value, str) and value.endswith("%"):
        return _ratio(value[:-1]) / 100
    return _number_of(value, float, "use a number")


def _split(pattern: re.Pattern[str], value: str) -> tuple[str, str | None]:
    found = pattern.fullmatch(value.strip())
    return (found[1], found[2]) if found else (value, None)


def _size(value: object) -> int:
    remedy = "use bytes, or a text such as '64KiB' or '1MiB'"
    if not isinstance(value, str):
        return _number_of(value, int, remedy)
    number, unit = _split(_SIZE, value)
    return _number_of(number, int, remedy) * _SIZE_UNITS[unit or "B"]


def _words(value: object) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("use names, such as 'password,token' or a list")
    return tuple(word.strip() for word in words if word.strip())


def _lanes(value: object) -> dict[str, int]:
    from jobfleet.model.names import LANES_MOST

    remedy = f"use queue=lanes pairs, such as 'mail=4,bulk=2', each 1 to {LANES_MOST}"
    if isinstance(value, Mapping):
        pairs: list[tuple[object, object]] = list(value.items())
    elif isinstance(value, str):
        pairs = [(queue, count) for queue, _, count in (pair.partition("=") for pair in value.split(",") if pair)]
    else:
        raise ValueError(remedy)
    lanes = {_queue(queue): _number_of(count, int, remedy) for queue, count in pairs}
    if len(lanes) < len(pairs):
        raise ValueError("name each queue once")
    if not all(1 <= count <= LANES_MOST for count in lanes.values()):
        raise ValueError(remedy)
    return lanes


def _queues(value: object) -> dict[str, int]:
    """Read queues in order, each with its weight. If a name occurs twice, the first occurrence counts."""
    remedy = f"use names, with weights where wanted, such as 'mail=3,bulk', each 1 to {_WEIGHT_MOST}"
    if isinstance(value, Mapping):
        pairs: list[tuple[object, object]] = list(value.items())
    else:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, (list, tuple)):
            raise ValueError("use names, such as 'mail,bulk' or a list")
        pairs = [
            (word.partition("=")[0], word.partition("=")[2]) if isinstance(word, str) and "=" in word else (word, 1)
            for word in words
            if word != ""
        ]
    queues: dict[str, int] = {}
    for name, weight in pairs:
        queues.setdefault(_queue(name), _number_of(weight, int, remedy))
    if not all(1 <= weight <= _WEIGHT_MOST for weight in queues.values()):
        raise ValueError(remedy)
    return queues


def _notify(value: object) -> dict[str, object]:
    if isinstance(value, str | Mapping) and not value:
        return {}

    return read_notify(value)


def _show_notify(value: object) -> str:

    return show_notify(value)


def _show_queues(value: object) -> str:
    return ",".join(name if weight == 1 else f"{name}={weight}" for name, weight in _queues(value).items())


def _show_unit(value: float, units: Mapping[str, float], least: str) -> str:
    for unit, factor in reversed(list(units.items())):
        count = round(value / factor)
        if count and count * factor == value:
            return f"{count}{unit}"
    return f"{value:g}{least}" if float(f"{value:g}") == value else f"{value!r}{least}"


def _show_duration(value: object) -> str:
    return _show_unit(read_duration(value), UNITS, "s")


def _show_size(value: object) -> str:
    return _show_unit(_size(value), _SIZE_UNITS, "B")


def _replicas(value: object) -> int | str:
    if isinstance(value, str) and value.strip().lower() == ALL_REPLICAS:
        return ALL_REPLICAS
    count = _number_of(value, int, "use 'all', or a whole number")
    if not 1 <= count <= _REPLICAS_MOST:
        raise ValueError(f"use 'all', or a whole number from 1 to {_REPLICAS_MOST}")
    return count


def choice(*words: str) -> Kind:
    """Make a kind whose values are a fixed set of words."""

    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else value
        if word not in words:
            raise ValueError(f"use {', '.join(words[:-1])} or {words[-1]}")
        return str(word)

    return Kind(name=" or ".join(words), parse=parse, words=words)


URL = Kind(name="URL", parse=_url, show=lambda value: mask_url(str(value)), hides=True)
DATABASE = Kind(name="URL of a database", parse=_database, show=lambda value: mask_url(str(value)), hides=True)
OUTBOX = Kind(name="URL of a database", parse=_outbox, show=lambda value: mask_url(str(value)), hides=True)
STORE = Kind(name="URL of a store", parse=_store, show=lambda value: mask_store(str(value)), hides=True)
HOST = Kind(name="address", parse=_text)
NAME = Kind(name="name", parse=_name)
TEXT = Kind(name="text", parse=_text)
SECRET = Kind(name="password", parse=_text, show=lambda _: HIDDEN, hides=True)
KEYRING = Kind(
    name="file, or keys",
    parse=lambda value: str(value) if isinstance(value, Path) else _text(value),
    show=lambda value: f"keys:{HIDDEN}" if str(value).startswith("keys:") else str(value),
    hides=True,
)
LEVEL = Kind(name="off, send or require", parse=_level, words=("off", "send", "require"))
PATH = Kind(name="folder", parse=_path)
FILE = Kind(name="file", parse=_path)
FLAG = Kind(name="true or false", parse=_flag, show=lambda value: str(value).lower())
COUNT = Kind(name="whole number", parse=_count)
REPLICAS = Kind(name="all, or whole number", parse=_replicas)
RATIO = Kind(name="number", parse=_ratio)
DURATION = Kind(name="duration", parse=read_duration, show=_show_duration)
SIZE = Kind(name="size", parse=_size, show=_show_size)
WORDS = Kind(name="names", parse=_words, show=lambda value: ",".join(_words(value)))
SITE = Kind(name="URL of a page", parse=_site)
NETWORKS = Kind(name="addresses or networks", parse=_networks, show=lambda value: ",".join(_words(value)))
QUEUES = Kind(name="names", parse=_queues, show=_show_queues)
LANES = Kind(
    name="queue=lanes pairs",
    parse=_lanes,
    show=lambda value: ",".join(f"{queue}={count}" for queue, count in _lanes(value).items()),
)
NOTIFY = Kind(name="table, or JSON", parse=_notify, show=_show_notify, hides=True)


# The shape of the section ``[notify]``, and its display without secrets; `jobfleet.notify` interprets it.


SECRETS = ("secret", "password")
"""Options whose value must be the name of an environment variable."""

HIDDEN_KEYS = ("url", "urls", "headers")
"""Options that may contain a secret, so that their values are masked."""

_KEYS = ("channels", "rules")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_notify(value: object) -> dict[str, object]:
    """Read the section from a table or from JSON.

    Raises:
        ValueError: The section has another shape. The message is the remedy and contains no value.
    """
    table = _of_json(value) if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        raise ValueError("use a table with channels and rules")
    for key in table:
        if key not in _KEYS:
            close = get_close_matches(str(key), _KEYS, n=1)
            raise ValueError(f"{key} is unknown; {f'did you mean {close[0]}' if close else 'use channels and rules'}")
    channels, rules = table.get("channels", {}), table.get("rules", [])
    if not isinstance(channels, Mapping) or not all(isinstance(one, Mapping) for one in channels.values()):
        raise ValueError("write channels as tables: [notify.channels.NAME]")
    if not isinstance(rules, list | tuple) or not all(isinstance(one, Mapping) for one in rules):
        raise ValueError("write rules as a list of tables: [[notify.rules]]")
    for name, options in channels.items():
        for option, given in options.items():
            _check_secret(f"channels.{name}.{option}", option, given)
    read: dict[str, object] = {}
    if channels:
        read["channels"] = {str(name): dict(options) for name, options in channels.items()}
    if rules:
        read["rules"] = [dict(rule) for rule in rules]
    return read


def _of_json(text: str) -> object:
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("use a table of a TOML file, or JSON") from None


def variable_of(given: object) -> str | None:
    """Return the variable that a value refers to (``{ env = "NAME" }``), or None if it is a literal value."""
    if isinstance(given, Mapping) and set(given) == {"env"} and isinstance(given["env"], str):
        return given["env"]
    return None


def _check_secret(place: str, option: str, given: object) -> None:
    named = variable_of(given)
    if option in SECRETS and named is None:
        raise ValueError(f'{place} must not be in a file; name a variable instead: {{ env = "NAME" }}')
    if named is not None and (not _VARIABLE.fullmatch(named) or named.startswith("JOBFLEET_")):
        raise ValueError(f"{place} does not name a usable variable; use a name that does not begin with JOBFLEET_")


def show_notify(value: object) -> str:
    """Write the section as JSON with possible secrets masked."""
    try:
        table = read_notify(value)
    except ValueError:
        return "…"
    return json.dumps({key: _shown(part) for key, part in table.items()}, ensure_ascii=False) if table else ""


def _shown(part: object, *, hide: bool = False) -> object:
    if variable_of(part) is not None:
        return part
    if isinstance(part, Mapping):
        return {key: _shown(one, hide=hide or key in HIDDEN_KEYS) for key, one in part.items()}
    if isinstance(part, list | tuple):
        return [_shown(one, hide=hide) for one in part]
    return "***" if hide else part
