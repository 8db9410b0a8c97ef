"""Notifications about jobs: channels that send them, rules that select them, and their content.

The reaper's notify duty sends them, once per fleet. The process that adds a channel sends nothing.
"""

from jobfleet.notify.channel import (
    AppriseNotificationChannel,
    DeliveryRefused,
    LogNotificationChannel,
    NotDelivered,
    NotificationChannel,
)
from jobfleet.notify.mail import EmailNotificationChannel
from jobfleet.notify.notice import EVENTS, Notice, Notification
from jobfleet.notify.registry import JobNotificationManager, NotificationRule, add_notification_channel
from jobfleet.notify.webhook import SignatureRefused, WebhookNotificationChannel, verify_webhook

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
