"""The module that workers of a Flask application load: ``flask jobfleet worker`` names it. It makes the application."""

from __future__ import annotations

import os

from flask import Flask
from flask.cli import ScriptInfo

from jobfleet.errors import ConfigError

app: Flask = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
"""The application whose context jobs have."""
if "jobfleet" not in app.extensions:
    raise ConfigError(f"The application {app.name!r} has no jobfleet: call Jobfleet(app) or init_app(app).")
