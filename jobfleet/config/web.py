"""The settings of the web dashboard: where it listens, and who may use it."""
# ruff: noqa: RUF009  (`setting` is a `field`)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobfleet.config.kind import COUNT, FILE, HOST, TEXT, URL, WORDS, choice
from jobfleet.config.producer import ProducerSettings
from jobfleet.config.setting import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings(ProducerSettings):
    """The settings of the web dashboard; see `JobConfig`, which has the row with a duration."""

    web_host: str = setting(
        HOST, "127.0.0.1", "Address that the dashboard listens on; another machine needs users or proxies.", scope="web"
    )
    web_port: int = setting(
        COUNT, 8765, "Port that the dashboard listens on; 0 picks a free one.", scope="web", least=0, most=65_535
    )
    web_root_path: str | None = setting(
        TEXT, None, "Path under which a proxy serves the dashboard, such as /jobs.", scope="web", derived="the root"
    )
    web_access: Path = setting(
        FILE, ".jobfleet/web.json", "File with the users and tokens of the dashboard.", scope="web"
    )
    web_open_role: str = setting(
        choice("viewer", "producer", "approver", "operator", "admin"),
        "operator",
        "Role of everybody on this machine as long as there is neither a user nor a proxy.",
        scope="web",
    )
    web_viewer_url: str | None = setting(
        URL, None, "URL of the same Redis with a user that can only read; all pages read through it.", scope="web",
        derived="url",
    )  # fmt: skip
    web_proxies: tuple[str, ...] = setting(
        WORDS, (), "Addresses of the proxies whose header names the user.", scope="web"
    )
    web_proxy_header: str = setting(
        TEXT, "X-Forwarded-User", "Header in which such a proxy names the user.", scope="web"
    )
    web_streams: int = setting(
        COUNT, 200, "Maximum number of pages that the dashboard updates live at once.", scope="web", unit="pages",
        least=0, most=10_000,
    )  # fmt: skip
