"""The types of the settings as arguments: ``Fleet(url, lease="30s")``. A test proves them equal to the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from jobfleet.config.setting import Duration
from jobfleet.model.option_types import Durability, Items


class FleetSettings(TypedDict, total=False):
    """What `Fleet`, `AsyncFleet` and `configure` take besides the URL and the namespace.

    A setting of None is not given. ``config`` names a TOML file. The reference of settings describes the others.
    """

    config: str | Path | None
    tls_ca_file: str | Path | None
    tls_cert_file: str | Path | None
    tls_key_file: str | Path | None
    tls_check_hostname: bool | None
    sentinel_username: str | None
    sentinel_password: str | None
    scripts: Literal["eval", "functions"] | None
    keyring: str | Path | None
    sign: Literal["off", "send", "require"] | bool | None
    encrypt: Literal["off", "send", "require"] | bool | None
    bind_namespace: Literal["off", "send", "require"] | bool | None
    redact: Items[str] | str | None
    audit_max: int | None
    buffer: int | None
    on_full: Literal["raise", "drop"] | None
    payload_store: str | None
    payload_threshold: int | str | None
    payload_max: int | str | None
    payload_grace: Duration | None
    app_dir: str | Path | None
    no_color: bool | None
    verbose: int | None
    log_format: Literal["plain", "json"] | None
    log_jobs: bool | None
    connect_timeout: Duration | None
    socket_timeout: Duration | None
    lanes: Mapping[str, int] | str | None
    max_queues: int | None
    cron_failures: int | None
    patience: Duration | None
    busy_poll: Duration | None
    max_connections: int | None
    wait_poll_min: Duration | None
    wait_poll_max: Duration | None
    dedupe_window: Duration | None
    own_id_window: Duration | None
    web_host: str | None
    web_port: int | None
    web_root_path: str | None
    web_url: str | None
    web_access: str | Path | None
    web_open_role: Literal["viewer", "producer", "approver", "operator", "admin"] | None
    web_open_access: bool | None
    web_trusted_proxies: Items[str] | str | None
    web_login_header: str | None
    web_proxies: Items[str] | str | None
    web_proxy_header: str | None
    web_session: Duration | None
    web_streams: int | None
    web_viewer_url: str | None
    durability: Durability | None
    durability_replicas: int | Literal["all"] | None
    durability_timeout: Duration | None
    max_payload: int | str | None
    max_depth: int | None
    max_retries: int | None
    retry_delay: Duration | None
    retry_backoff: float | None
    retry_delay_max: Duration | None
    retry_jitter: bool | None
    max_crashes: int | None
    unknown_grace: Duration | None
    allow_undecorated: bool | None
    queues: Mapping[str, int] | Items[str] | str | None
    queue_order: Literal["ordered", "weighted", "round-robin"] | None
    priorities: Literal["strict", "weighted"] | None
    slots: int | None
    processes: int | None
    scale_max: int | None
    lease: Duration | None
    renew_every: Duration | None
    beat: Duration | None
    gone_after: Duration | None
    grace: Duration | None
    hard_grace: Duration | None
    cancel_grace: Duration | None
    stop_grace: Duration | None
    hang_after: Duration | None
    hang_kill: bool | None
    burst: bool | None
    max_jobs: int | None
    max_memory: int | str | None
    max_age: Duration | None
    spare_processes: int | None
    suspect_processes: int | None
    reload: bool | None
    job_log_lines: int | None
    job_log_bytes: int | str | None
    stream_chunks: int | None
    stream_bytes: int | str | None
    metrics_port: int | None
    metrics_host: str | None
    healthy_within: Duration | None
    with_reaper: bool | None
    progress_rate: float | None
    traceback_bytes: int | str | None
    result_ttl: Duration | None
    keep_args: bool | None
    failed_result_ttl: Duration | None
    reap_interval: Duration | None
    dead_ttl: Duration | None
    dead_max: int | None
    archive_url: str | None
    archive_ttl: Duration | None
    archive_failed_ttl: Duration | None
    outbox_url: str | None
    outbox_poll: Duration | None
    samples: bool | None
    version_label: str | None
    chaos: float | None
    chaos_seed: int | None
    pod_costs: bool | None
    journal_max: int | None
    journal_ttl: Duration | None
    notify: Mapping[str, Any] | str | None
