"""Flags. Those of settings come from the table of settings; every command accepts the global ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.clock import LONGEST, PAST_REMEDY, past
from jobfleet.config import SETTINGS, Setting
from jobfleet.config.setting import (
    COUNT,
    DATABASE,
    DURATION,
    FILE,
    FLAG,
    HOST,
    KEYRING,
    LANES,
    NAME,
    NETWORKS,
    NOTIFY,
    OUTBOX,
    PATH,
    QUEUES,
    RATIO,
    SECRET,
    SITE,
    SIZE,
    TEXT,
    URL,
    WORDS,
)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

GLOBAL_SETTINGS = ("url", "namespace", "app_dir", "no_color", "verbose", "log_format")
HIDDEN_SETTINGS = (
    "tls_ca_file", "tls_cert_file", "tls_key_file", "tls_check_hostname", "sentinel_username", "sentinel_password",
    "scripts", "keyring", "sign", "encrypt", "redact",
)  # fmt: skip
"""Flags that every command has, too. The help of each command would be half as long again; the reference shows them."""
LONGEST_SENTENCE = 150
"""Most characters of a command's summary in the list of commands."""
FORMS = ("table", "json", "ids")
AS_JSON = "output_json"
"""The name of the flag that stands for ``-o json``, which other tools have."""
COMPLETE = "_JOBFLEET_COMPLETE"
"""The variable with which a shell asks for candidates; its value is the name of the shell."""
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_METAVARS = {
    URL: "URL", HOST: "ADDRESS", NAME: "NAME", PATH: "DIR", COUNT: "N", RATIO: "N", DURATION: "TIME", SIZE: "BYTES",
    QUEUES: "NAMES", FILE: "FILE", TEXT: "TEXT", SECRET: "PASSWORD",
    KEYRING: "FILE", WORDS: "NAMES", NETWORKS: "ADDRESSES", SITE: "URL",
    LANES: "QUEUE=N", DATABASE: "URL", OUTBOX: "URL", NOTIFY: "JSON",
}  # fmt: skip
_BY_NAME = {row.name: row for row in SETTINGS}


class SettingOption(click.Option):
    """A flag whose value goes to `config.load` instead of the command."""


def setting_option(row: Setting, *, is_hidden: bool = False) -> SettingOption:
    """The flag of a setting. One that is on by default can be turned off."""
    is_on = row.kind is FLAG and row.default is True
    flag = f"{row.flag}/--no-{row.flag.removeprefix('--')}" if is_on and is_hidden else row.flag
    names = [flag, row.name] + ([f"-{row.short}"] if row.short else [])
    default = row.derived or row.show(row.default)
    is_shown = bool(default) and row.kind is not FLAG and row.name != "verbose"
    text = f"{row.help} [{f'default {default}; ' if is_shown else ''}{row.variable}]"
    if row.name == "verbose":
        return SettingOption(names, count=True, default=None, help=text)
    if row.kind is FLAG:
        return SettingOption(names, is_flag=True, default=None, help=text, hidden=is_hidden)
    metavar = "|".join(row.kind.words) or _METAVARS[row.kind]
    return SettingOption(names, metavar=metavar, default=None, help=text, hidden=is_hidden)


def global_options() -> list[click.Parameter]:
    """The flags that every command has."""
    settings: list[click.Parameter] = [setting_option(_BY_NAME[name]) for name in GLOBAL_SETTINGS]
    config = SettingOption(
        ["--config"], metavar="FILE", default=None, help="Read the settings from this TOML file. [JOBFLEET_CONFIG]"
    )
    text = "Form of the output. [default table; JOBFLEET_OUTPUT]"
    output = SettingOption(["-o", "--output"], type=click.Choice(FORMS), default=None, help=text)
    as_json = SettingOption(["--json", AS_JSON], is_flag=True, default=None, help="The same as -o json.")
    hidden: list[click.Parameter] = [setting_option(_BY_NAME[name], is_hidden=True) for name in HIDDEN_SETTINGS]
    return [*settings[:2], config, settings[2], output, as_json, *settings[3:], *hidden]


_GLOBAL_NAMES = {option.name for option in global_options()}


def settings(*names: str) -> Callable[[Decorated], Decorated]:
    """Add the flags of these settings to a command."""

    def decorate(function: Decorated) -> Decorated:
        for name in reversed(names):
            function.__dict__.setdefault("__click_params__", []).append(setting_option(_BY_NAME[name]))
        return function

    return decorate


def absorb(command: click.Command, ctx: click.Context) -> None:
    """Move the values of settings from the command's parameters into the invocation; a later value wins."""
    invocation = ctx.ensure_object(Invocation)
    for option in command.params:
        if isinstance(option, SettingOption) and option.name is not None:
            value = ctx.params.pop(option.name, None)
            if value is not None and option.name == AS_JSON:
                _use_json(invocation, ctx)
            elif value is not None:
                invocation.given[option.name] = value


def _use_json(invocation: Invocation, ctx: click.Context) -> None:
    """Take ``--json`` as ``-o json``.

    Raises:
        click.UsageError: ``-o`` asks for another form.
    """
    if invocation.given.setdefault("output", "json") != "json":
        raise click.UsageError(f"--json and -o {invocation.given['output']} are both given; give one.", ctx)


class _Global(click.Command):
    """A command or a group that accepts the global flags."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        extra.setdefault("context_settings", HELP)
        super().__init__(*args, **extra)
        self.params.extend(global_options())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or the named one of the group, with its settings in the invocation."""
        absorb(self, ctx)
        return super().invoke(ctx)


class Command(_Global):
    """A command that accepts the global flags."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own flags; only `jobfleet -h` lists the global ones."""
        records = [
            record
            for option in self.get_params(ctx)
            if isinstance(option, click.Option)
            and option.name not in _GLOBAL_NAMES
            and (record := option.get_help_record(ctx))
        ]
        with formatter.section("Options"):
            formatter.write_dl(records)
        formatter.write_paragraph()
        formatter.write_text("And the global options; see 'jobfleet -h'.")


class Chooser(click.Group):
    """A group that suggests a command for an unknown name, and lists its commands with whole sentences."""

    sections: ClassVar[Mapping[str, Iterable[str]]] = {}
    """The commands by title, in the order of the help; if empty, there is one section with all commands."""

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Names that other tools have, with the command that does the same."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section. Unlike click, break long sentences and do not cut them."""
        for title, names in (self.sections or {"Commands": self.list_commands(ctx)}).items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [(name, command.get_short_help_str(LONGEST_SENTENCE)) for name, command in commands if command]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the named command; suggest a similar name if there is none."""
        meant = self.elsewhere.get(args[0])
        if meant is not None:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {meant!r}?")
        close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        if close and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


class Group(_Global, Chooser):
    """A group that accepts the global flags, as do its commands."""

    command_class = Command
    group_class = type

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; only `jobfleet -h` lists the global flags."""
        self.format_commands(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text("And the global options; see 'jobfleet -h'.")


class DurationType(click.ParamType[float]):
    """Seconds, or a text such as '5m'."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a time as the settings do."""
        try:
            read = DURATION.parse(value)
        except ValueError:
            self.fail(f"{value!r}: use seconds, or a text such as '30s', '5m', '1h30m' or '30d'.", param, ctx)
        if not isinstance(read, float) or not 0 <= read <= LONGEST:
            self.fail(f"{value!r}: use 0 or more, and at most 100 years.", param, ctx)
        return read


def read_past(_ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    """Read a time of the past: '24h' for 24 hours ago, or an ISO time. A time without an offset is local."""
    if text is None:
        return None
    try:
        return past(text).astimezone(UTC)
    except (ValueError, OverflowError):  # not a time, or one outside the calendar
        raise click.UsageError(f"{param.opts[0]} {text!r}: {PAST_REMEDY}.") from None


TIME = DurationType()
by_option = click.option("--by", metavar="WHO", default=None, help="Your name, for the record.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
