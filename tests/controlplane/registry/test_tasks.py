"""What Celery is asked for must exist."""

from __future__ import annotations

from controlplane.celery import app
from controlplane.registry.import_jobs.services import RUN_TASK


def test_every_task_that_is_asked_for_by_name_is_known() -> None:
    app.loader.import_default_modules()

    asked_for = {entry["task"] for entry in app.conf.beat_schedule.values()} | {RUN_TASK}

    assert asked_for <= set(app.tasks)
