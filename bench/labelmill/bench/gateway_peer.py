"""The gateway's peer: what one writes without it, a FastAPI route that sends a Celery task."""

from __future__ import annotations

import os
import uuid

from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel

celery_app = Celery(broker=os.environ["LABELMILL_BROKER_URL"])
app = FastAPI()


class Text(BaseModel):
    """What both sides are sent."""

    model: str
    text: str


@app.post("/v1/jobs", status_code=202)
def submit(text: Text) -> dict[str, str]:
    """Send one task; in a thread, as FastAPI does with routes that wait."""
    job_id = str(uuid.uuid4())
    celery_app.send_task(
        "labelmill.classify", kwargs={"text": text.text}, queue=text.model, task_id=job_id
    )
    return {"id": job_id}
