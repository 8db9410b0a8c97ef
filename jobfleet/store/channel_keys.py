"""The keys of a notification channel."""

from __future__ import annotations


class ChannelKeys:
    """The key names of one notification channel.

    Attributes:
        gathered: Marks of processed notices.
        windows: Kinds of notice by the end of their window.
        groups: Collected notices.
        due: Deliveries by the time of the next attempt.
        held: Contents of the deliveries.
    """

    __slots__ = ("due", "gathered", "groups", "held", "windows")

    def __init__(self, fleet_tag: str, channel: str) -> None:
        tag = f"{fleet_tag}notify:{channel}:"
        self.gathered: str = f"{tag}gathered"
        self.windows: str = f"{tag}windows"
        self.groups: str = f"{tag}groups"
        self.due: str = f"{tag}due"
        self.held: str = f"{tag}held"
