"""A Flask application with jobs, as a factory."""

from __future__ import annotations

import os
import threading
from typing import Any

from flask import Flask, current_app, g

from jobfleet import job
from jobfleet.contrib.flask import Jobfleet

jobfleet = Jobfleet()
popped: list[int] = []
"""The threads in which contexts of jobs have ended."""


def create_app() -> Flask:
    """Make the application."""
    app = Flask("shop")
    app.config.update(JOBFLEET_URL=os.environ["SHOP_REDIS"], JOBFLEET_NAMESPACE="shop", CITY="Berlin")
    jobfleet.init_app(app)

    @app.teardown_appcontext
    def note(error: BaseException | None) -> None:
        popped.append(threading.get_ident())

    @app.post("/orders/<int:number>")
    def order(number: int) -> dict[str, str]:
        return {"id": ship.enqueue(number).id}

    @app.get("/jobs/<job_id>")
    def state(job_id: str) -> dict[str, Any]:
        return {"status": jobfleet.fleet.poll(job_id).status}

    return app


@job(queue="orders")
def ship(number: int) -> dict[str, Any]:
    """What this job finds in its context, and what the job before it has left."""
    before, g.number = g.get("number"), number
    thread = threading.get_ident()
    return {"city": current_app.config["CITY"], "before": before, "popped": popped.count(thread), "number": g.number}


@job
async def ship_awaited(number: int) -> str:
    return f"{number} from {current_app.config['CITY']}"
