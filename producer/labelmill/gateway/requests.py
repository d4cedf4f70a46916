"""The requests: what comes in, with examples."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from labelmill.core.job import Id, ImageName, Priority, TopK, Uri

MAX_JOBS = 1000

ONE_EXAMPLE: dict[str, JsonValue] = {"model": "topics", "text": "The parcel never came."}
MANY_EXAMPLE: dict[str, JsonValue] = {
    "model": "topics",
    "jobs": [{"text": "The parcel never came."}, {"text": "Goal!", "id": "ticket-17"}],
}

_IN = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("no such time") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with a zone, in UTC afterwards."""

_Strict = Field(strict=True)


class ImageIn(BaseModel):
    """An image: a uri that the workers can read, or the file itself, up to 1 MiB; one of them."""

    model_config = _IN

    uri: Uri | None = None
    base64: str | None = None
    name: ImageName | None = Field(
        None, description="What people call it, such as its file's name; it is not found by it."
    )


class JobIn(BaseModel):
    """One of many jobs: a text or an image, exactly one of them."""

    model_config = _IN | ConfigDict(
        json_schema_extra={"examples": [{"text": "The parcel never came."}]}
    )

    text: str | None = None
    image: ImageIn | None = None
    id: Id | None = Field(None, description="Yours; by default one is made.")
    top_k: Annotated[TopK, _Strict] | None = Field(
        None, description="How many labels to keep; or the model's own."
    )


class OneJob(JobIn):
    """One job."""

    model_config = _IN | ConfigDict(json_schema_extra={"examples": [ONE_EXAMPLE]})

    model: str = Field(description="The model's name, which is its queue.")
    run: Id | None = Field(None, description="Marks the job, to find it with others.")
    priority: Annotated[Priority, _Strict] = Field(0, description="0 is the most urgent.")
    eta: Moment | None = Field(None, description="Not to be started before.")
    expires: Moment | None = Field(None, description="Not to be started after.")


class ManyJobs(BaseModel):
    """Many jobs of one model, as one run."""

    model_config = _IN | ConfigDict(json_schema_extra={"examples": [MANY_EXAMPLE]})

    model: str = Field(description="The model's name, which is its queue.")
    run: Id | None = Field(None, description="The run's id; by default one is made.")
    jobs: Annotated[list[JobIn], Field(min_length=1, max_length=MAX_JOBS)]
