"""The settings of the web dashboard: where it listens, and who may use it."""
# ruff: noqa: RUF009  (`setting` is a `field`)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobfleet.config.kind import COUNT, FILE, FLAG, HOST, NETWORKS, SITE, TEXT, URL, choice
from jobfleet.config.producer import ProducerSettings
from jobfleet.config.setting import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings(ProducerSettings):
    """The settings of the web dashboard; see `JobConfig`, which has the row with a duration."""

    web_host: str = setting(
        HOST, "127.0.0.1", "Address that the dashboard listens on; another machine needs users, tokens or proxies.",
        scope="web",
    )  # fmt: skip
    web_port: int = setting(
        COUNT, 8765, "Port that the dashboard listens on; 0 picks a free one.", scope="web", least=0, most=65_535
    )
    web_root_path: str | None = setting(
        TEXT, None, "Path under which a proxy serves the dashboard, such as /jobs.", scope="web",
        derived="the path of web_url",
    )  # fmt: skip
    web_url: str | None = setting(
        SITE, None, "Address at which browsers open the dashboard through a proxy, such as https://jobs.example.org.",
        scope="web", derived="the address that it listens on",
    )  # fmt: skip
    web_access: Path = setting(
        FILE, ".jobfleet/web.json", "File with the users and tokens of the dashboard.", scope="web"
    )
    web_open_role: str = setting(
        choice("viewer", "producer", "approver", "operator", "admin"),
        "operator",
        "Role of those who use the printed address, or 'web_open_access', as long as there is no user.",
        scope="web",
    )
    web_open_access: bool = setting(
        FLAG, False, "Let everybody on this machine in without the printed address, as long as there is no user.",
        scope="web",
    )  # fmt: skip
    web_viewer_url: str | None = setting(
        URL, None, "URL of the same Redis with a user that can only read; all pages read through it.", scope="web",
        derived="url",
    )  # fmt: skip
    web_trusted_proxies: tuple[str, ...] = setting(
        NETWORKS, (), "Addresses or networks of the proxies whose X-Forwarded-For names the client.", scope="web"
    )
    web_login_header: str | None = setting(
        TEXT, None, "Header in which a trusted proxy names the user; it must remove this header from requests.",
        scope="web", derived="no login by a proxy",
    )  # fmt: skip
    web_proxies: tuple[str, ...] = setting(
        NETWORKS, (), "The former name of web_trusted_proxies; read for one release.", scope="web"
    )
    web_proxy_header: str | None = setting(
        TEXT, None, "The former name of web_login_header; read for one release.", scope="web", derived="none"
    )
    web_streams: int = setting(
        COUNT, 200, "Maximum number of pages that the dashboard updates live at once.", scope="web", unit="pages",
        least=0, most=10_000,
    )  # fmt: skip
