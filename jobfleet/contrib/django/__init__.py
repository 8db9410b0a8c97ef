"""Django: a backend of its Tasks framework, connections around jobs, ``manage.py jobfleet`` and a link in the admin.

Extra ``django``. Add ``"jobfleet.contrib.django"`` to `INSTALLED_APPS`; the setting `JOBFLEET` is a dictionary of the
settings of jobfleet, such as ``{"URL": "redis://…"}``.
"""

from jobfleet.contrib.django.backend import JobfleetBackend
from jobfleet.contrib.django.connections import enqueue_on_commit

__all__ = ["JobfleetBackend", "enqueue_on_commit"]
