"""A project with an application `shop`; the environment names its files and its Redis."""

import os
from importlib.util import find_spec
from typing import Any

SECRET_KEY = "of a test"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    *(["django_tasks"] if find_spec("django.tasks") is None else []),
    "jobfleet.contrib.django",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"], "CONN_MAX_AGE": 0}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
JOBFLEET = {"URL": os.environ["SHOP_REDIS"], "NAMESPACE": "shop", "DASHBOARD_URL": "https://jobs.example/"}
TASKS = {
    "default": {
        "BACKEND": "jobfleet.contrib.django.JobfleetBackend",
        "QUEUES": ["default", "mail", "bulk"],
        "OPTIONS": {"max_retries": 1, "RETRY_DELAY": 0},
    },
    "once": {"BACKEND": "jobfleet.contrib.django.JobfleetBackend", "OPTIONS": {"max_retries": 0}},
    "patient": {"BACKEND": "jobfleet.contrib.django.JobfleetBackend", "OPTIONS": {"max_retries": 2, "retry_delay": 0}},
}
