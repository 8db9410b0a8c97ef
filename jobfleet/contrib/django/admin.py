"""A link to the dashboard in Django's admin, if the setting ``JOBFLEET["DASHBOARD_URL"]`` says where it is."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from jobfleet.contrib.django.apps import dashboard_url
from jobfleet.contrib.django.models import Dashboard


class DashboardAdmin(admin.ModelAdmin):  # type: ignore[misc]  # Django has no types
    """The list of dashboards is the dashboard itself."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002 - Django's
        """Lead to the dashboard, if the user may see it."""
        if not self.has_view_permission(request):
            from django.core.exceptions import PermissionDenied

            raise PermissionDenied
        return HttpResponseRedirect(dashboard_url())

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's
        """Nothing can be added."""
        return False


if dashboard_url():
    admin.site.register(Dashboard, DashboardAdmin)
