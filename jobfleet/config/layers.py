"""The sources of settings, by precedence: arguments, environment variables, files, defaults."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from jobfleet.config.machine import Foreign, check_own, read_own
from jobfleet.config.table import SETTINGS, JobConfig
from jobfleet.config.url import check_url
from jobfleet.errors import ConfigError, warn

OTHER_VARIABLES: Mapping[str, str] = {
    "JOBFLEET_CONFIG": "The TOML file to read in place of jobfleet.toml.",
    "JOBFLEET_OUTPUT": "The output format of the command line: table, json or ids.",
    "JOBFLEET_SERVER_BIN": "The server that 'jobfleet up', 'demo' and embedded:// start.",
}
"""Variables that are not settings, with their descriptions. JOBFLEET_TEST_* is reserved for the tests."""

CONFIG_FILE = "jobfleet.toml"
PROJECT_FILE = "pyproject.toml"
PROJECT_TABLE = f"[tool.jobfleet] of {PROJECT_FILE}"
UP_FILE = ".jobfleet/up.json"
FOUND = ("default", UP_FILE)
"""The sources of a URL that no setting names."""
ARCHIVE_FILE = ".jobfleet/archive.db"
"""The archive of `init_job_tables()` if no setting names another one."""

_PREFIX = "JOBFLEET_"
_TEST_PREFIX = "JOBFLEET_TEST_"
_SERVICE_HOST = "_SERVICE_HOST"
_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")

_Layer = Mapping[str, tuple[object, str]]  # name → value and its source


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and the source of each.

    Attributes:
        config: The settings.
        sources: By name: "argument", the name of a variable, the name of a file, "[tool.jobfleet] of
            pyproject.toml", ".jobfleet/up.json" (for the URL), ".jobfleet/archive.db" (for the archive) or "default".
    """

    config: JobConfig
    sources: dict[str, str]


def load(
    arguments: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    directory: Path = Path(),
    refuse_unknown: bool = True,
) -> Loaded:
    """Read the settings from arguments, JOBFLEET_*, jobfleet.toml and [tool.jobfleet], in this order of precedence.

    An argument of None and an empty variable count as not given. The text "none" is a value for settings that can be
    unset. If no source sets a URL, the URL of a running `jobfleet up` applies. If no source sets an archive, the one
    that `init_job_tables()` has created in this folder applies.

    Kubernetes adds variables for each service of the namespace to each container, such as JOBFLEET_WEB_SERVICE_HOST and
    JOBFLEET_WEB_PORT=tcp://10.0.0.1:80 for a service "jobfleet-web". They are not settings, and count as not given.

    Args:
        arguments: Values by name. ``config`` names another TOML file, as JOBFLEET_CONFIG does.
        environ: The environment variables.
        directory: The folder of the files.
        refuse_unknown: Whether an unknown JOBFLEET_* variable is an error. Otherwise it is a warning: a producer is a
            program of somebody else, whose environment may be shared with newer programs of jobfleet.

    Raises:
        ConfigError: A value, a name or a file is not valid; the message gives its source.
    """
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    named = given.pop("config", None) or environ.get(_PREFIX + "CONFIG") or None
    layers = (
        _arguments(given),
        _variables(environ, refuse_unknown=refuse_unknown),
        _config_file(directory, None if named is None else str(named)),
        _project_file(directory),
        _running(directory),
        _archived(directory),
    )

    values: dict[str, Any] = {}
    sources = {setting.name: "default" for setting in SETTINGS}
    for setting in SETTINGS:
        for layer in layers:
            if setting.name in layer:
                value, source = layer[setting.name]
                values[setting.name] = setting.parse(value, source=source)
                sources[setting.name] = source
                break
    return Loaded(JobConfig(**values), sources)


def _arguments(given: Mapping[str, object]) -> _Layer:
    return _known(given, "argument")


def _variables(environ: Mapping[str, str], *, refuse_unknown: bool) -> _Layer:
    by_variable = {setting.variable: setting.name for setting in SETTINGS}
    services = [name.removesuffix(_SERVICE_HOST) for name in environ if name.endswith(_SERVICE_HOST)]
    layer: dict[str, tuple[object, str]] = {}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or variable.startswith(_TEST_PREFIX) or variable in OTHER_VARIABLES:
            continue
        is_setting = variable in by_variable
        if services and _is_service_link(variable, services) and (not is_setting or _ADDRESS.match(text)):
            continue
        if not is_setting:
            error = _unknown("variable", variable, "", [*by_variable, *OTHER_VARIABLES])
            if refuse_unknown:
                raise error
            warn(f"{error} It has no effect.")
        elif text.strip():
            layer[by_variable[variable]] = (text, variable)
    return layer


def _is_service_link(variable: str, services: Sequence[str]) -> bool:
    """Tell whether Kubernetes has set a variable for one of these services."""
    return any(
        variable.startswith(service) and _LINK.fullmatch(variable, len(service)) is not None for service in services
    )


def _config_file(directory: Path, named: str | None) -> _Layer:
    document = _toml(directory / (named or CONFIG_FILE), shown=named or CONFIG_FILE, must_exist=named is not None)
    return _known(document, named or CONFIG_FILE)


def _project_file(directory: Path) -> _Layer:
    tool = _toml(directory / PROJECT_FILE, shown=PROJECT_FILE, must_exist=False).get("tool", {})
    table = tool.get("jobfleet", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"tool.jobfleet in {PROJECT_FILE} is not a table; write [tool.jobfleet] and keys below it.")
    return _known(table, PROJECT_TABLE)


def _running(directory: Path) -> _Layer:
    url = running_url(directory)
    return {} if url is None else {"url": (url, UP_FILE)}


def running_url(directory: Path) -> str | None:
    """Return the URL of a running `jobfleet up`; None without one. A broken or outdated file is ignored.

    A file of another user is ignored with a warning, because it would choose the server that this user connects to.
    """
    try:
        noted = json.loads(read_own(directory / UP_FILE))
        url = check_url(noted["url"])
        pid = noted.get("pid")
        if pid is not None and not _is_alive(pid):
            return None
    except Foreign as error:
        warn(f"{UP_FILE} is not used: {error}")
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, ConfigError):
        return None
    return url


def _archived(directory: Path) -> _Layer:
    """Return the URL of the archive in this folder, if there is one. Another user's file is ignored with a warning."""
    path = directory / ARCHIVE_FILE
    try:
        check_own(path)
    except Foreign as error:
        warn(f"{ARCHIVE_FILE} is not used: {error}")
        return {}
    except OSError:
        return {}
    return {"archive_url": (archive_at(path), ARCHIVE_FILE)}


def archive_at(path: Path) -> str:
    """The URL of an archive in a file."""
    return f"sqlite:///{path.resolve()}"


def _is_alive(pid: int) -> bool:
    if pid <= 0:  # os.kill would signal a process group
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _toml(path: Path, *, shown: str, must_exist: bool) -> dict[str, Any]:
    try:
        return _document(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"No settings file {shown}; correct --config / JOBFLEET_CONFIG.") from None
        return {}
    except OSError as error:
        raise ConfigError(f"Cannot read {shown}: {error.strerror}.") from error
    except ValueError as error:  # TOML syntax or encoding
        raise ConfigError(f"Cannot read {shown}: {error}; correct the TOML.") from error


@lru_cache(maxsize=8)
def _document(text: str) -> dict[str, Any]:
    """Parse TOML; the result must not be changed. A program may make thousands of fleets, each of which reads files."""
    return tomllib.loads(text)


def _known(values: Mapping[str, object], source: str) -> _Layer:
    names = [setting.name for setting in SETTINGS]
    for name in values:
        if name not in names:
            raise _unknown("setting", name, source, names)
    return {name: (value, source) for name, value in values.items()}


def _unknown(what: str, name: str, source: str, known: list[str]) -> ConfigError:
    close = get_close_matches(name, known, n=1) or get_close_matches(name.replace("-", "_").lower(), known, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else "'jobfleet config show' lists them all."
    return ConfigError(f"Unknown {what} {name!r}{f' ({source})' if source else ''}; {remedy}")
