"""Notifications: channels that tell people what became of jobs, rules that say which, and what is sent.

The reaper's notify duty does the work, once per fleet; nothing is sent by the process that adds a channel.
"""

from jobfleet.notify.bridge import AppriseNotificationChannel
from jobfleet.notify.channel import DeliveryRefused, LogNotificationChannel, NotDelivered, NotificationChannel
from jobfleet.notify.mail import EmailNotificationChannel
from jobfleet.notify.notice import EVENTS, Notice, Notification
from jobfleet.notify.registry import JobNotificationManager, add_notification_channel
from jobfleet.notify.rule import NotificationRule
from jobfleet.notify.signature import SignatureRefused, verify_webhook
from jobfleet.notify.webhook import WebhookNotificationChannel

__all__ = [
    "EVENTS",
    "AppriseNotificationChannel",
    "DeliveryRefused",
    "EmailNotificationChannel",
    "JobNotificationManager",
    "LogNotificationChannel",
    "NotDelivered",
    "Notice",
    "Notification",
    "NotificationChannel",
    "NotificationRule",
    "SignatureRefused",
    "WebhookNotificationChannel",
    "add_notification_channel",
    "verify_webhook",
]
