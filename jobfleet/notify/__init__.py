"""Notifications about jobs: channels that send them, rules that select them, and their content.

The reaper's notify duty sends them, once per fleet. The process that adds a channel sends nothing.
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
