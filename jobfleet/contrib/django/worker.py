"""The module that workers of a Django project load: ``manage.py jobfleet worker`` names it.

It sets Django up, imports the modules ``tasks`` and ``jobs`` of all applications, and closes old database
connections around each job.
"""

from __future__ import annotations

import django
from django.db import close_old_connections
from django.utils.module_loading import autodiscover_modules

from jobfleet.contrib.django.connections import closing_old_connections
from jobfleet.functions.registry import REGISTRY

django.setup()
autodiscover_modules("tasks")
autodiscover_modules("jobs")
if closing_old_connections not in REGISTRY.around_call:
    REGISTRY.around_call.append(closing_old_connections)
    REGISTRY.hooks.on_stop(close_old_connections)
