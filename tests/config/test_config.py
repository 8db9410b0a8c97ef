from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from jobfleet.config import SETTINGS, JobConfig, Loaded, Setting, default_processes, load, processors
from jobfleet.config.setting import SECRET
from jobfleet.secret import NAMES
from tests.support.each import each

MIB = 1024 * 1024

DEFAULTS: dict[str, object] = {
    "url": "redis://localhost:6379/0",
    "tls_ca_file": None,
    "tls_cert_file": None,
    "tls_key_file": None,
    "tls_check_hostname": True,
    "sentinel_username": None,
    "sentinel_password": None,
    "scripts": "eval",
    "namespace": "jobfleet",
    "keyring": None,
    **dict.fromkeys(("sign", "encrypt", "bind_namespace"), "off"),
    "redact": NAMES,
    "audit_max": 10_000,
    "buffer": 0,
    "on_full": "raise",
    "durability": "fast",
    "durability_replicas": "all",
    "payload_store": None,
    "payload_threshold": 65_536,
    "payload_max": 64 * MIB,
    "payload_grace": 86_400.0,
    "web_host": "127.0.0.1",
    "web_port": 8765,
    **dict.fromkeys(("web_root_path", "web_url")),
    "web_access": Path(".jobfleet/web.json"),
    "web_open_role": "operator",
    "web_open_access": False,
    "web_viewer_url": None,
    "web_trusted_proxies": (),
    "web_login_header": None,
    "web_proxies": (),
    "web_proxy_header": None,
    "web_streams": 200,
    **dict.fromkeys(("archive_url", "outbox_url")),
    "durability_timeout": None,
    "app_dir": Path(),
    "no_color": False,
    "verbose": 0,
    "log_format": "plain",
    "log_jobs": False,
    "connect_timeout": 5.0,
    "socket_timeout": 5.0,
    "lanes": {},
    "max_queues": 1000,
    "cron_failures": 3,
    "patience": 10.0,
    "busy_poll": 0.0002,
    "max_connections": 32,
    "wait_poll_min": 0.05,
    "wait_poll_max": 1.0,
    "dedupe_window": 600.0,
    "own_id_window": 86_400.0,
    "max_payload": MIB,
    "max_depth": 32,
    "max_retries": 3,
    "retry_delay": 5.0,
    "retry_backoff": 2.0,
    "retry_delay_max": 3600.0,
    "retry_jitter": True,
    "max_crashes": 3,
    "unknown_grace": 3600.0,
    "allow_undecorated": False,
    "queues": {},
    "queue_order": "ordered",
    "priorities": "strict",
    "slots": 10,
    "processes": default_processes(),
    "scale_max": max(16, 8 * processors()),
    "lease": 30.0,
    "renew_every": None,
    "beat": 5.0,
    "gone_after": 20.0,
    "grace": 25.0,
    "hard_grace": 10.0,
    "cancel_grace": 1.0,
    "stop_grace": 5.0,
    "hang_after": 10.0,
    "hang_kill": False,
    "burst": False,
    "max_jobs": None,
    "max_memory": None,
    "max_age": None,
    "spare_processes": 1,
    "suspect_processes": 12,
    "reload": False,
    "job_log_lines": 1000,
    "job_log_bytes": 262_144,
    "stream_chunks": 10_000,
    "stream_bytes": 1_048_576,
    "metrics_port": None,
    "metrics_host": "127.0.0.1",
    "healthy_within": 60.0,
    "with_reaper": False,
    "progress_rate": 10.0,
    "traceback_bytes": 16_384,
    "result_ttl": 86_400.0,
    "keep_args": False,
    "failed_result_ttl": 604_800.0,
    "reap_interval": 1.0,
    "dead_ttl": 2_592_000.0,
    "dead_max": 100_000,
    **dict.fromkeys(("archive_ttl", "archive_failed_ttl")),
    "outbox_poll": 0.2,
    "samples": True,
    "version_label": None,
    "chaos": 0.0,
    "chaos_seed": 0,
    "pod_costs": True,
    "journal_max": 1_000_000,
    "journal_ttl": 86_400.0,
    "web_session": 43_200.0,
    "notify": {},
}

# name → the value as a variable's text, as TOML, and as it is read; never the default
OTHERS: dict[str, tuple[str, str, object]] = {
    "url": ("rediss://h:1/2", '"rediss://h:1/2"', "rediss://h:1/2"),
    "tls_ca_file": ("/etc/ca.pem", '"/etc/ca.pem"', Path("/etc/ca.pem")),
    "tls_cert_file": ("me.pem", '"me.pem"', Path("me.pem")),
    "tls_key_file": ("me.key", '"me.key"', Path("me.key")),
    "tls_check_hostname": ("false", "false", False),
    "sentinel_username": ("sam", '"sam"', "sam"),
    "sentinel_password": ("pw", '"pw"', "pw"),
    "scripts": ("functions", '"functions"', "functions"),
    "keyring": ("keys.toml", '"keys.toml"', "keys.toml"),
    "sign": ("send", '"send"', "send"),
    "encrypt": ("require", "true", "require"),
    "bind_namespace": ("send", '"send"', "send"),
    "redact": ("pin,card", '["pin", "card"]', ("pin", "card")),
    "namespace": ("shop", '"shop"', "shop"),
    "buffer": ("500", "500", 500),
    "on_full": ("drop", '"drop"', "drop"),
    "payload_store": ("s3://b/p", '"s3://b/p"', "s3://b/p"),
    "payload_threshold": ("32KiB", "32768", 32_768),
    "payload_max": ("128MiB", '"128MiB"', 128 * MIB),
    "payload_grace": ("2h", '"2h"', 7200.0),
    "app_dir": ("src", '"src"', Path("src")),
    "no_color": ("1", "true", True),
    "verbose": ("2", "2", 2),
    "log_format": ("json", '"json"', "json"),
    "log_jobs": ("1", "true", True),
    "connect_timeout": ("2s", "2", 2.0),
    "socket_timeout": ("1.5", "1.5", 1.5),
    "lanes": ("mail=4,bulk=2", "{ mail = 4, bulk = 2 }", {"mail": 4, "bulk": 2}),
    "max_queues": ("5", "5", 5),
    "cron_failures": ("5", "5", 5),
    "patience": ("3s", '"3s"', 3.0),
    "busy_poll": ("0.1ms", '"0.1ms"', 0.0001),
    "max_connections": ("8", "8", 8),
    "wait_poll_min": ("20ms", "0.02", 0.02),
    "wait_poll_max": ("2", "2", 2.0),
    "dedupe_window": ("5m", '"5m"', 300.0),
    "own_id_window": ("48h", '"2d"', 172_800.0),
    "durability": ("fsync", '"fsync"', "fsync"),
    "durability_replicas": ("2", "2", 2),
    "web_host": ("::1", '"::1"', "::1"),
    "web_port": ("0", "0", 0),
    "web_root_path": ("/jobs", '"/jobs"', "/jobs"),
    "web_access": ("web.json", '"web.json"', Path("web.json")),
    "web_open_role": ("viewer", '"viewer"', "viewer"),
    "web_viewer_url": ("redis://h/1", '"redis://h/1"', "redis://h/1"),
    "web_url": ("HTTPS://Jobs.example.org/", '"https://jobs.example.org"', "https://jobs.example.org"),
    "web_open_access": ("yes", "true", True),
    "web_trusted_proxies": ("10.0.0.0/8,::1", '["10.0.0.0/8", "::1"]', ("10.0.0.0/8", "::1")),
    "web_login_header": ("X-Name", '"X-Name"', "X-Name"),
    "web_proxies": ("192.0.2.1", '["192.0.2.1"]', ("192.0.2.1",)),
    "web_proxy_header": ("X-Name", '"X-Name"', "X-Name"),
    "web_streams": ("9", "9", 9),
    "durability_timeout": ("500ms", '"500ms"', 0.5),
    "max_payload": ("2MiB", "2097152", 2 * MIB),
    "max_depth": ("16", "16", 16),
    "max_retries": ("0", "0", 0),
    "retry_delay": ("1m", '"1m"', 60.0),
    "retry_backoff": ("1.5", "1.5", 1.5),
    "retry_delay_max": ("2h", '"2h"', 7200.0),
    "retry_jitter": ("off", "false", False),
    "max_crashes": ("5", "5", 5),
    "unknown_grace": ("10m", '"10m"', 600.0),
    "allow_undecorated": ("yes", "true", True),
    "queues": ("mail, bulk", '["mail", "bulk"]', {"mail": 1, "bulk": 1}),
    "queue_order": ("Weighted", '"weighted"', "weighted"),
    "priorities": ("weighted", '"weighted"', "weighted"),
    "slots": ("4", "4", 4),
    "processes": ("11", "11", 11),
    "scale_max": ("400", "400", 400),
    "lease": ("60", "60", 60.0),
    "renew_every": ("5s", "5", 5.0),
    "beat": ("2s", "2", 2.0),
    "gone_after": ("1m", '"1m"', 60.0),
    "grace": ("0", "0", 0.0),
    "hard_grace": ("5s", "5", 5.0),
    "cancel_grace": ("2s", "2", 2.0),
    "stop_grace": ("1s", "1", 1.0),
    "hang_after": ("20s", "20", 20.0),
    "hang_kill": ("yes", "true", True),
    "burst": ("yes", "true", True),
    "max_jobs": ("100", "100", 100),
    "max_memory": ("512MiB", "536870912", 536_870_912),
    "max_age": ("1h", "3600", 3600.0),
    "spare_processes": ("0", "0", 0),
    "suspect_processes": ("0", "0", 0),
    "reload": ("yes", "true", True),
    "job_log_lines": ("10", "10", 10),
    "job_log_bytes": ("1KiB", "1024", 1024),
    "stream_chunks": ("10", "10", 10),
    "stream_bytes": ("64KiB", "65536", 65_536),
    "metrics_port": ("9090", "9090", 9090),
    "metrics_host": ("0.0.0.0", '"0.0.0.0"', "0.0.0.0"),
    "healthy_within": ("90s", "90", 90.0),
    "with_reaper": ("on", "true", True),
    "progress_rate": ("2.5", "2.5", 2.5),
    "traceback_bytes": ("4096", "4096", 4096),
    "result_ttl": ("1h", '"1h"', 3600.0),
    "keep_args": ("on", "true", True),
    "failed_result_ttl": ("1d", '"1d"', 86_400.0),
    "reap_interval": ("500ms", "0.5", 0.5),
    "dead_ttl": ("7d", '"7d"', 604_800.0),
    "dead_max": ("10", "10", 10),
    "archive_url": ("sqlite:///a.db", '"sqlite:///a.db"', "sqlite:///a.db"),
    "outbox_url": ("mysql+pymysql://h/a", '"mysql+pymysql://h/a"', "mysql+pymysql://h/a"),
    "outbox_poll": ("1s", '"1s"', 1.0),
    "archive_ttl": ("90d", '"90d"', 7_776_000.0),
    "archive_failed_ttl": ("365d", '"365d"', 31_536_000.0),
    "samples": ("off", "false", False),
    "pod_costs": ("off", "false", False),
    "version_label": ("a1b2c3", '"a1b2c3"', "a1b2c3"),
    "chaos": ("1%", '"1%"', 0.01),
    "chaos_seed": ("7", "7", 7),
    "journal_max": ("1000", "1000", 1000),
    "journal_ttl": ("2h", '"2h"', 7200.0),
    "web_session": ("1h", '"1h"', 3600.0),
    "audit_max": ("500", "500", 500),
    "notify": ('{"rules": [{}]}', "{ rules = [{}] }", {"rules": [{}]}),
}

BY_NAME = {setting.name: setting for setting in SETTINGS}


every_setting = each("setting", SETTINGS, show=attrgetter("name"))


def read(directory: Path, environ: Mapping[str, str] | None = None, **arguments: Any) -> Loaded:
    return load(arguments, environ=environ or {}, directory=directory)


def moved(loaded: Loaded) -> dict[str, tuple[object, str]]:
    """All that is not as by default: value and source."""
    values = asdict(loaded.config)
    assert values.keys() == loaded.sources.keys()
    return {
        name: (value, loaded.sources[name])
        for name, value in values.items()
        if value != DEFAULTS[name] or loaded.sources[name] != "default"
    }


# ------------------------------------------------------------------------------------- the table


def test_defaults_are_those_of_the_contract() -> None:
    assert asdict(JobConfig()) == DEFAULTS
    assert list(DEFAULTS) == [setting.name for setting in SETTINGS]


def test_one_row_generates_flag_variable_and_key() -> None:
    row = BY_NAME["max_jobs"]

    assert (row.flag, row.variable, row.name, row.is_optional) == ("--max-jobs", "JOBFLEET_MAX_JOBS", "max_jobs", True)
    shorts = {s.short: s.name for s in SETTINGS if s.short}
    assert shorts == {"Q": "queues", "c": "slots", "p": "processes", "v": "verbose"}


@every_setting
def test_every_row_is_complete(setting: Setting) -> None:
    assert setting.help.endswith(".")
    assert "\n" not in setting.help
    assert bool(setting.derived) == setting.is_optional
    assert setting.scope in {"all", "producer", "worker", "reaper", "web", "command"}


@every_setting
def test_what_is_shown_can_be_read_again(setting: Setting) -> None:
    if setting.kind is SECRET:
        assert setting.show(OTHERS[setting.name][2]) == "***"
        return
    for value in (setting.parse(setting.default), OTHERS[setting.name][2]):
        assert setting.parse(setting.show(value)) == value


# ------------------------------------------------------------------------------------ the layers


@every_setting
def test_every_setting_is_reached_from_every_layer(setting: Setting, tmp_path: Path) -> None:
    name, (text, toml, value) = setting.name, OTHERS[setting.name]
    assert value != DEFAULTS[name]
    folder = tmp_path / name
    folder.mkdir()

    assert moved(load({name: value}, environ={}, directory=folder)) == {name: (value, "argument")}
    assert moved(load({name: text}, environ={}, directory=folder)) == {name: (value, "argument")}
    assert moved(read(folder, {setting.variable: text})) == {name: (value, setting.variable)}

    (folder / "pyproject.toml").write_text(f"[tool.jobfleet]\n{name} = {toml}\n")
    assert moved(read(folder)) == {name: (value, "[tool.jobfleet] of pyproject.toml")}

    (folder / "jobfleet.toml").write_text(f"{name} = {toml}\n")
    assert moved(read(folder)) == {name: (value, "jobfleet.toml")}


def test_the_higher_layer_wins_setting_by_setting(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.jobfleet]\nslots = 1\ngrace = 1\nlease = 10\nbeat = 1\n")
    (tmp_path / "jobfleet.toml").write_text("slots = 2\ngrace = 2\nlease = 20\n")

    loaded = read(tmp_path, {"JOBFLEET_SLOTS": "3", "JOBFLEET_GRACE": "3"}, slots=4)

    assert moved(loaded) == {
        "slots": (4, "argument"),
        "grace": (3.0, "JOBFLEET_GRACE"),
        "lease": (20.0, "jobfleet.toml"),
        "beat": (1.0, "[tool.jobfleet] of pyproject.toml"),
    }


def test_none_and_an_empty_variable_are_not_given_but_the_word_none_is(tmp_path: Path) -> None:
    (tmp_path / "jobfleet.toml").write_text("max_jobs = 7\nslots = 2\n")

    assert moved(read(tmp_path, {"JOBFLEET_SLOTS": ""}, max_jobs=None)) == {
        "max_jobs": (7, "jobfleet.toml"),
        "slots": (2, "jobfleet.toml"),
    }
    assert moved(read(tmp_path, max_jobs="none", slots=3)) == {
        "max_jobs": (None, "argument"),
        "slots": (3, "argument"),
    }


def test_another_file_is_named_by_argument_or_variable(tmp_path: Path) -> None:
    (tmp_path / "jobfleet.toml").write_text("slots = 2\n")
    (tmp_path / "a.toml").write_text("slots = 3\n")
    (tmp_path / "b.toml").write_text("slots = 4\n")

    assert moved(read(tmp_path, {"JOBFLEET_CONFIG": "a.toml"})) == {"slots": (3, "a.toml")}
    assert moved(read(tmp_path, {"JOBFLEET_CONFIG": "a.toml"}, config=Path("b.toml"))) == {"slots": (4, "b.toml")}


def test_variables_that_are_no_settings_are_let_through(tmp_path: Path) -> None:
    environ = {
        "JOBFLEET_SERVER_BIN": "/usr/bin/valkey-server",
        "JOBFLEET_TEST_SERVER": "wheel",
        "JOBFLEET_CONFIG": "",
        "PATH": "/bin",
    }

    assert moved(read(tmp_path, environ)) == {}


def test_files_of_other_tools_are_none_of_our_business(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('tool = "x"\n')

    assert moved(read(tmp_path)) == {}


def test_without_arguments_the_process_itself_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("JOBFLEET_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("JOBFLEET_SLOTS", "6")

    assert moved(load()) == {"slots": (6, "JOBFLEET_SLOTS")}
