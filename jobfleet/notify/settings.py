"""Makes channels and rules from the section ``[notify]`` of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from jobfleet.config.setting import DURATION, variable_of
from jobfleet.errors import ConfigError
from jobfleet.notify.bridge import AppriseNotificationChannel
from jobfleet.notify.channel import LogNotificationChannel, NotificationChannel
from jobfleet.notify.mail import EmailNotificationChannel
from jobfleet.notify.registry import Channels
from jobfleet.notify.rule import NotificationRule
from jobfleet.notify.webhook import WebhookNotificationChannel

_TEXT, _FLAG, _NUMBER, _SECONDS, _TEXTS, _TABLE = "a text", "true or false", "a number", "a time", "texts", "a table"
_COMMON = {"give_up_after": _SECONDS, "most": _NUMBER}
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "log": {"logger": _TEXT},
    "email": {
        "host": _TEXT, "port": _NUMBER, "sender": _TEXT, "to": _TEXTS, "security": _TEXT, "username": _TEXT,
        "password": _TEXT, "subject_prefix": _TEXT, "timeout": _SECONDS, "ca_file": _TEXT,
    },
    "webhook": {
        "url": _TEXT, "secret": _TEXT, "headers": _TABLE, "timeout": _SECONDS, "allow_http": _FLAG,
        "allow_private": _FLAG, "ca_file": _TEXT, "text_field": _TEXT, "text_only": _FLAG,
    },
    "apprise": {"urls": _TEXTS, "timeout": _SECONDS},
}  # fmt: skip
_NEEDED = {"email": ("host", "sender", "to"), "webhook": ("url",), "apprise": ("urls",), "log": ()}
_RULE = {"channels": _TEXTS, "events": _TEXTS, "queues": _TEXTS, "functions": _TEXTS, "tags": _TEXTS, "users": _TEXTS,
         "errors": _TEXTS, "window": _SECONDS}  # fmt: skip


def configured(table: Mapping[str, Any], environ: Mapping[str, str]) -> Channels:
    """Make the channels and rules of a section. Without rules, each channel has the default rule.

    Args:
        table: The section, `JobConfig.notify`.
        environ: The environment, for values such as ``{ env = "NAME" }``.

    Raises:
        ConfigError: An option is unknown, missing or not valid. The message names its place and shows no secret.
    """
    channels = Channels()
    for name, options in table.get("channels", {}).items():
        with _placed(f"notify.channels.{name}"):
            channels.add_channel(_channel(name, options, environ))
    rules = table.get("rules", [])
    for number, rule in enumerate(rules, 1):
        with _placed(f"notify.rules[{number}]"):
            for one in _rules(rule, channels):
                channels.add_rule(one)
    if not rules:
        for name in channels.channels:
            channels.add_rule(NotificationRule(channel=name))
    return channels


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Add the place to the message of an error."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _channel(name: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> NotificationChannel:
    options = dict(given)
    kind = options.pop("type", None)
    if kind not in _OPTIONS:
        raise ConfigError(f"type = {kind!r}: use {', '.join(_OPTIONS)}.")
    allowed = {**_OPTIONS[kind], **_COMMON}
    read = {option: _read(option, value, allowed, environ) for option, value in options.items()}
    for needed in _NEEDED[kind]:
        if needed not in read:
            raise ConfigError(f"{needed} is missing.")
    common = {option: read.pop(option) for option in _COMMON if option in read}
    channel = _made(kind, name, read)
    for option, value in common.items():
        setattr(channel, option, value)
    return channel


def _made(kind: str, name: str, read: dict[str, Any]) -> NotificationChannel:
    match kind:
        case "log":
            return LogNotificationChannel(**read, name=name)
        case "email":
            return EmailNotificationChannel(read.pop("host"), **read, name=name)
        case "webhook":
            return WebhookNotificationChannel(read.pop("url"), **read, name=name)
        case _:
            return AppriseNotificationChannel(*read.pop("urls"), **read, name=name)


def _rules(given: Mapping[str, Any], known: Channels) -> Sequence[NotificationRule]:
    read = {option: _read(option, value, _RULE, {}) for option, value in given.items()}
    names = read.pop("channels", [*known.channels])
    return [NotificationRule(channel=channel, **read) for channel in names]


def _read(option: str, value: Any, allowed: Mapping[str, str], environ: Mapping[str, str]) -> Any:
    if option not in allowed:
        close = get_close_matches(option, allowed, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"use {', '.join(allowed)}."
        raise ConfigError(f"Unknown option {option!r}; {remedy}")
    kind = allowed[option]
    match kind, value:
        case ("a text", str()) | ("true or false", bool()):
            return value
        case ("a number", int()) if not isinstance(value, bool):
            return value
        case ("texts", str()):
            return [value]
        case ("texts", list()):
            return [_text(option, one, environ) for one in value]
        case ("a table", dict()) if variable_of(value) is None:
            return {str(name): _text(f"{option}.{name}", one, environ) for name, one in value.items()}
        case ("a time", _):
            return _seconds(option, value)
    if kind in {_TEXT, _TEXTS} and variable_of(value) is not None:
        text = _text(option, value, environ)
        return text if kind == _TEXT else [text]
    raise ConfigError(f"{option}: use {kind}.")


def _text(option: str, value: Any, environ: Mapping[str, str]) -> str:
    """A text, or the value of the environment variable that it names."""
    variable = variable_of(value)
    if variable is not None:
        if not environ.get(variable):
            raise ConfigError(f"{option}: the variable {variable} is not set.")
        return environ[variable]
    if not isinstance(value, str):
        raise ConfigError(f'{option}: use a text, or {{ env = "NAME" }}.')
    return value


def _seconds(option: str, value: Any) -> float:
    try:
        seconds = DURATION.parse(value)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}.") from None
    if not isinstance(seconds, float) or seconds < 0:
        raise ConfigError(f"{option}: use 0 or more.")
    return seconds
