from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobfleet.config import (
    SETTINGS,
    JobConfig,
    check_url,
    default_processes,
    mask_url,
)
from jobfleet.errors import ConfigError
from tests.support.each import each

MIB = 1024 * 1024


@each(
    "name, value, expected",
    [
        ("lease", 45, 45.0),
        ("lease", timedelta(minutes=2), 120.0),
        ("lease", " 90 s ", 90.0),
        ("lease", "1h", 3600.0),
        ("grace", "1.5m", 90.0),
        ("dead_ttl", "1h30m", 5400.0),
        ("dead_ttl", " 1d 2h 3m 4.5s ", 93_784.5),
        ("lease", "0m30s", 30.0),
        ("dead_ttl", "30d", 2_592_000.0),
        ("max_payload", "64 KiB", 65_536),
        ("max_payload", "2048B", 2048),
        ("no_color", " True ", True),
        ("queues", "", {}),
        ("queues", ["a", "b", "a"], {"a": 1, "b": 1}),
        ("queue_order", " Round-Robin ", "round-robin"),
        ("lanes", {"mail": "3"}, {"mail": 3}),
        ("lanes", "mail=3,", {"mail": 3}),
        ("app_dir", "a/b", Path("a/b")),
        ("retry_backoff", 3, 3.0),
        ("renew_every", "15s", 15.0),
        ("metrics_port", "None", None),
    ],
)
def test_a_value_is_read_in_all_its_forms(name: str, value: object, expected: object) -> None:
    given: dict[str, Any] = {name: value}

    config = replace(JobConfig(), **given)

    assert asdict(config) == {**asdict(JobConfig()), name: expected}


DURATION_REMEDY = "use seconds, a timedelta, or a text such as '30s', '5m', '1h30m', '24h' or '30d'"
QUEUES_REMEDY = "use names, with weights where wanted, such as 'mail=3,bulk', each 1 to 1000"
LANES_REMEDY = "use queue=lanes pairs, such as 'mail=4,bulk=2', each 1 to 1024"


@each(
    "values, message",
    [
        ({"lease": 0.5}, "lease = 0.5: use 1s or more."),
        ({"lease": "2h"}, "lease = '2h': use 1h or less."),
        ({"lease": "soon"}, f"lease = 'soon': {DURATION_REMEDY}."),
        ({"lease": float("nan")}, f"lease = nan: {DURATION_REMEDY}."),
        ({"lease": 10**400}, f"lease = {10**400}: {DURATION_REMEDY}."),
        ({"lease": True}, f"lease = True: {DURATION_REMEDY}."),
        ({"lease": "30m1h"}, f"lease = '30m1h': {DURATION_REMEDY}."),
        ({"lease": "1h1h"}, f"lease = '1h1h': {DURATION_REMEDY}."),
        ({"lease": "1h30"}, f"lease = '1h30': {DURATION_REMEDY}."),
        ({"lease": None}, f"lease = None: {DURATION_REMEDY}."),
        ({"grace": -1}, "grace = -1: use 0s or more."),
        ({"dead_ttl": timedelta.max}, f"dead_ttl = {timedelta.max!r}: use 36500d or less."),
        ({"renew_every": 16}, "renew_every = 16.0: use half of lease (30 s) or less."),
        ({"gone_after": 9}, "gone_after = 9.0: use two beats (10 s) or more."),
        ({"retry_delay": "2h"}, "retry_delay_max = 3600.0: use retry_delay (7200 s) or more."),
        ({"wait_poll_min": 2}, "wait_poll_max = 1.0: use wait_poll_min (2 s) or more."),
        (
            {"dedupe_window": 10},
            "dedupe_window = 10.0: use more than patience (10 s), or a retry may enqueue twice.",
        ),
        ({"own_id_window": 1}, "own_id_window = 1.0: use more than patience (10 s), or a retry may enqueue twice."),
        ({"slots": 0}, "slots = 0: use 1 or more."),
        ({"slots": 2.0}, "slots = 2.0: use a whole number."),
        ({"retry_backoff": "x"}, "retry_backoff = 'x': use a number."),
        ({"metrics_port": 70_000}, "metrics_port = 70000: use 65535 or less."),
        ({"max_payload": "1MB"}, "max_payload = '1MB': use bytes, or a text such as '64KiB' or '1MiB'."),
        ({"durability": "eager"}, "durability = 'eager': use fast, replicated or fsync."),
        ({"durability_timeout": 4}, "durability_timeout = 4.0: use three quarters of socket_timeout (3.75 s) or less."),
        ({"max_payload": 1}, "max_payload = 1: use 1KiB or more."),
        ({"burst": "maybe"}, "burst = 'maybe': use true or false."),
        ({"burst": 1}, "burst = 1: use true or false."),
        ({"namespace": "a:b"}, "namespace = 'a:b': use letters, digits, '_', '.' and '-', at most 100."),
        ({"app_dir": ""}, "app_dir = '': use a text."),
        ({"queues": 3}, "queues = 3: use names, such as 'mail,bulk' or a list."),
        ({"queues": ["a b"]}, "queues = ['a b']: use 1 to 32 letters, digits, '_' or '-' for a queue."),
        ({"queues": "a.b"}, "queues = 'a.b': use 1 to 32 letters, digits, '_' or '-' for a queue."),
        ({"lanes": "a.b=2"}, "lanes = 'a.b=2': use 1 to 32 letters, digits, '_' or '-' for a queue."),
        ({"queues": "mail="}, f"queues = 'mail=': {QUEUES_REMEDY}."),
        ({"queues": "mail=0"}, f"queues = 'mail=0': {QUEUES_REMEDY}."),
        ({"queues": {"mail": 1001}}, f"queues = {{'mail': 1001}}: {QUEUES_REMEDY}."),
        ({"queues": "mail=3,bulk"}, "queue_order = 'ordered': use 'weighted', because queues has weights."),
        ({"queue_order": "fair"}, "queue_order = 'fair': use ordered, weighted or round-robin."),
        ({"priorities": True}, "priorities = True: use strict or weighted."),
        ({"lanes": 3}, f"lanes = 3: {LANES_REMEDY}."),
        ({"lanes": "mail"}, f"lanes = 'mail': {LANES_REMEDY}."),
        ({"lanes": {"mail": 0}}, f"lanes = {{'mail': 0}}: {LANES_REMEDY}."),
        ({"lanes": "mail=1,mail=2"}, "lanes = 'mail=1,mail=2': name each queue once."),
        ({"url": 7}, "url = '***': use a text."),
        (
            {"url": "http://u:pw@h"},
            (
                "Unknown scheme 'http' in URL; "
                "use redis, rediss, unix, sentinel, sentinels, cluster, clusters, embedded or memory."
            ),
        ),
    ],
)
def test_a_wrong_value_is_refused_naming_setting_value_and_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(JobConfig(), **values)

    assert str(caught.value) == message


@pytest.mark.parametrize("queues", ["mail=3, bulk", ["mail=3", "bulk=1"], {"mail": "3", "bulk": 1}])
def test_queues_have_weights_where_their_order_is_weighted(queues: Any) -> None:
    config = JobConfig(queues=queues, queue_order="weighted")

    assert list(config.queues.items()) == [("mail", 3), ("bulk", 1)]
    assert next(row for row in SETTINGS if row.name == "queues").show(config.queues) == "mail=3,bulk"


def test_renewal_is_a_third_of_the_lease_unless_it_is_set() -> None:
    assert JobConfig(lease=60).renewal == 20.0
    assert JobConfig(lease=timedelta(minutes=1), renew_every="5s").renewal == 5.0


def test_settings_are_a_value_that_travels_and_hides_its_password() -> None:
    config = JobConfig(url="redis://u:hunter2@h", lanes={"mail": 2})

    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(replace(config)) == hash(config)
    assert "hunter2" not in repr(config)
    assert next(row for row in SETTINGS if row.name == "url").show(config.url) == "redis://u:***@h"


# ------------------------------------------------------------------------------------------ URLs


@each(
    "url, masked",
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("rediss://ann:p/w@x@h:1/0", "rediss://ann:***@h:1/0"),
        ("rediss://ann:p/w@x?y@h:1/0", "rediss://***"),
        ("redis://ann:12#ab@h:1/0", "redis://***"),
        ("redis://h:6379/0?auth=pw", "redis://h:6379/0?auth=***"),
        ("redis://h/0?pw", "redis://h/0?***"),
        ("redis://h:6379/0?ssl_cert_reqs=none", "redis://h:6379/0?ssl_cert_reqs=none"),
        ("redis://ann:pw", "redis://ann:***"),
        ("redis://:pw/0", "redis://:***"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("pw", "***"),
        ("redis://pw@h", "redis://***@h"),
        ("redis://ann://p@h", "redis://ann:***@h"),
        ("sentinel://:pw@a:26379,b:26379/main", "sentinel://:***@a:26379,b:26379/main"),
        ("cluster://u:p@a,u:q@b", "cluster://u:***@b"),
        ("redis://h/0?password=a@b&db=1", "redis://h/0?password=***&db=1"),
        ("sentinel://h/m?x=1&sentinel_password=pw", "sentinel://h/m?***&sentinel_password=***"),
        ("unix://u:pw@/run/redis.sock", "unix://u:***@/run/redis.sock"),
        ("unix:///run/a:b@c.sock", "unix:///run/a:b@c.sock"),
        ("u:pw@h", "***"),
        ("embedded://data", "embedded://data"),
        ("memory://", "memory://"),
    ],
)
def test_passwords_are_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@each(
    "scheme", ["redis", "rediss", "unix", "sentinel", "sentinels", "cluster", "clusters", "embedded", "memory", "REDIS"]
)
def test_known_schemes_pass_unchanged(scheme: str) -> None:
    assert check_url(f"{scheme}://x") == f"{scheme}://x"


@pytest.mark.parametrize("url", ["localhost:6379", "u:pw@h", ""])
def test_a_url_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url)

    assert str(caught.value) == "The URL has no scheme; write it as redis://HOST:6379/0."


@pytest.mark.parametrize(("url", "scheme"), [("http://h", "http"), ("redi://h", "redi")])
def test_an_unknown_scheme_is_refused(url: str, scheme: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url)

    known = "use redis, rediss, unix, sentinel, sentinels, cluster, clusters, embedded or memory."
    expected = f"Unknown scheme {scheme!r} in URL; {known}"
    assert str(caught.value) == expected


# ------------------------------------------------------------------------------------ processors


@each(
    "affinity, membership, files, expected",
    [
        (4, None, {}, 4),
        (64, None, {}, 8),
        (4, "0::/\n", {"cpu.max": "250000 100000"}, 2),
        (4, "0::/\n", {"cpu.max": "50000 100000"}, 1),
        (4, "0::/\n", {"cpu.max": "max 100000"}, 4),
        (4, "0::/\n", {"cpu.max": "nonsense"}, 4),
        (4, "0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        (4, "0::/../../x\n", {"x/cpu.max": "100000 100000"}, 1),
        (
            4,
            "5:memory:/a\n4:cpu,cpuacct:/a\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
        (4, "4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        (4, "4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, 4),
    ],
)
def test_processes_follow_affinity_and_quota(
    affinity: int,
    membership: str | None,
    files: Mapping[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(affinity)))
    member = tmp_path / "membership"
    if membership is not None:
        member.write_text(membership)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert default_processes(cgroups=tmp_path, membership=member) == expected


def test_where_there_is_no_affinity_the_machine_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)

    assert default_processes(cgroups=tmp_path, membership=tmp_path / "none") == 3


@each(
    "url, shown",
    [
        ("s3://AKIA123:secret@bucket/prefix", "s3://***@bucket/prefix"),
        ("s3://AKIA123@bucket/prefix", "s3://***@bucket/prefix"),
        ("s3://bucket/prefix?secret=x", "s3://bucket/prefix?secret=***"),
        ("file:///srv/payloads", "file:///srv/payloads"),
    ],
)
def test_the_id_of_an_access_key_is_masked(url: str, shown: str) -> None:
    assert next(row for row in SETTINGS if row.name == "payload_store").show(url) == shown


@each("value", ["0", 0, 101, "some", True, 1.5])
def test_a_number_of_replicas_is_all_or_a_number(value: object) -> None:
    with pytest.raises(ConfigError, match=r"durability_replicas .* use 'all', or a whole number"):
        JobConfig(durability_replicas=value)  # type: ignore[arg-type]  # that is the point
