"""`WebhookNotificationChannel`: a signed POST of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jobfleet.clock import wall_us
from jobfleet.errors import ConfigError
from jobfleet.notify.address import Resolver, system_resolver
from jobfleet.notify.channel import DeliveryRefused, NotDelivered, NotificationChannel, check_timeout
from jobfleet.notify.notice import Notification
from jobfleet.notify.post import Post, check_headers, endpoint_of
from jobfleet.notify.signature import key_of, sign
from jobfleet.notify.text import as_data, one_line
from jobfleet.version import VERSION

RETRY_AFTER_MOST = 3600.0
_OWN_HEADERS = {"content-length", "content-type", "connection", "host", "transfer-encoding", "user-agent"}


class WebhookNotificationChannel(NotificationChannel):
    """POSTs notifications as JSON. A response of 2xx is a success, 410 gives up, any other is tried again.

    The body has a field ``text``, so that chat hooks (Slack, Mattermost, Rocket.Chat) accept it. A repetition has the
    same header ``webhook-id``.

    Args:
        url: The URL. It may contain a secret; only its host is ever shown.
        secret: Secret to sign the body with (HMAC-SHA256, 16 bytes or more); default no signature.
        name: Name of the channel; default ``webhook``.
        headers: Further headers, such as ``Authorization``.
        timeout: Longest time for the whole exchange, in seconds; default 10.
        allow_http: Whether a URL without TLS is allowed; default no.
        allow_private: Whether a private, loopback or link-local host is allowed; default no.
        ca_file: Certificates to trust in place of the system's.
        text_field: Name of the field ``text``, for example ``content`` for Discord.
        text_only: Whether to send only that field, for hooks that refuse unknown fields (Google Chat).
        body: Returns another body for a `Notification`, as plain data.
        resolver: Returns the addresses of a host and port; default the system's.

    Raises:
        ConfigError: The URL, the secret or a header is not valid.

    Example:
        >>> add_notification_channel(WebhookNotificationChannel("https://hooks.example.org/x", secret=SECRET))
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        name: str = "webhook",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        allow_http: bool = False,
        allow_private: bool = False,
        ca_file: str | None = None,
        text_field: str = "text",
        text_only: bool = False,
        body: Callable[[Notification], Any] | None = None,
        resolver: Resolver = system_resolver,
    ) -> None:
        self.name = name
        self.timeout: float = (
            check_timeout(timeout) + 5.0
        )  # so that the exchange times out before its thread is abandoned
        self._endpoint = endpoint_of(url, allow_http=allow_http)
        self._key = None if secret is None else key_of(secret)
        self._headers = dict(headers or {})
        check_headers(self._headers)
        for header in self._headers:
            if header.lower() in _OWN_HEADERS or header.lower().startswith("webhook-"):
                raise ConfigError(f"The channel sets the header {header!r} itself; leave it out.")
        self._text_field = text_field
        self._text_only = text_only
        self._body = body
        self._post = Post(
            self._endpoint, timeout=timeout, allow_private=allow_private, ca_file=ca_file, resolver=resolver
        )

    def describe(self) -> str:
        """Return the host, and whether the body is signed."""
        scheme = "https" if self._endpoint.is_secure else "http"
        return f"{scheme}://{self._endpoint.authority}/…{'' if self._key is None else ', signed'}"

    def send(self, notification: Notification) -> None:
        """POST a notification.

        Args:
            notification: The notification.

        Raises:
            NotDelivered: There was no response, or one other than 2xx and 410.
            DeliveryRefused: The server answered 410: the hook no longer exists.
        """
        body = json.dumps(self._content(notification), ensure_ascii=False, default=str).encode("utf-8", "replace")
        timestamp = wall_us() // 1_000_000
        headers = {
            "User-Agent": f"jobfleet/{VERSION}",
            "Content-Type": "application/json; charset=utf-8",
            **self._headers,
            "webhook-id": notification.id,
            "webhook-timestamp": str(timestamp),
        }
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, id=notification.id, timestamp=timestamp, body=body)
        answer = self._post.send(headers, body)
        if 200 <= answer.status < 300:
            return
        outcome = f"{self._endpoint.host} answered {answer.status}"
        if answer.status == 410:
            raise DeliveryRefused(f"{outcome}: the hook no longer exists.")
        if answer.status < 400:
            raise NotDelivered(f"{outcome}; redirects are not followed: set the URL that it redirects to.")
        excerpt = one_line(answer.excerpt)
        retry_after = min(answer.retry_after, RETRY_AFTER_MOST)
        raise NotDelivered(f"{outcome}{f': {excerpt}' if excerpt else ''}.", retry_after=retry_after)

    def _content(self, notification: Notification) -> Any:
        if self._body is not None:
            return self._body(notification)
        data = as_data(notification)
        text = {self._text_field: data.pop("text")}
        return text if self._text_only else text | data
