"""The errors of Labelmill.

Every error that Labelmill raises on purpose is one of these, so a caller can catch the family::

    LabelmillError
    ├── ConfigurationError       a setting, models.toml or a command line that cannot be used
    ├── ServiceUnavailable       something Labelmill needs does not answer
    │   ├── BrokerUnavailable        Redis
    │   ├── DatabaseUnavailable      the results database
    │   └── UploadStoreUnavailable   the folder or object store of uploads
    ├── SchemaOutOfDate          the database has not been migrated to this version
    ├── SourceError              an input file or folder that cannot be read
    ├── EmbeddedServerError      a server of our own cannot be found or does not start
    ├── DuplicateJob             a job of that id was submitted before
    ├── UnknownJob               the ledger has no job of that id
    ├── InvalidSignature         a webhook that is not from whom it says, or is too old
    ├── WaitTimeout              no result arrived within the time given
    ├── ModelLoadError           a checkpoint that cannot be loaded or is not a classifier
    ├── DeviceLost               a device that answers nothing more
    └── JobError                 one job that cannot be done; becomes a failed row, never a crash

The message of each says what to do next. A :class:`JobError` also has a ``code`` (see
:class:`ErrorCode`), which is what stands in ``results.error_code``.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a job failed: the stable values of ``results.error_code``."""

    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TASK = "unknown_task"
    INVALID_JOB = "invalid_job"
    UNSUPPORTED_VERSION = "unsupported_version"
    WRONG_INPUT_KIND = "wrong_input_kind"
    TEXT_TOO_LARGE = "text_too_large"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_UNREADABLE = "image_unreadable"
    IMAGE_FORBIDDEN = "image_forbidden"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_UNAVAILABLE = "image_unavailable"
    NON_FINITE = "non_finite"
    MODEL_FAILED = "model_failed"
    OUT_OF_MEMORY = "out_of_memory"
    UNSTORABLE = "unstorable"
    EXPIRED = "expired"
    REVOKED = "revoked"
    POISONED = "poisoned"

    @property
    def advice(self) -> str:
        """What to do about it: one sentence or two, for the page, reports and the docs."""
        return _ADVICE[self]


_ADVICE = {
    ErrorCode.INVALID_MESSAGE: "Send it with Celery's JSON serializer, uncompressed.",
    ErrorCode.UNKNOWN_TASK: "Another task's message lies in this model's queue: send it to a queue"
    " of its own.",
    ErrorCode.INVALID_JOB: "An argument is missing, unknown or of the wrong type: correct it and"
    " send it anew.",
    ErrorCode.UNSUPPORTED_VERSION: "Client and worker are of different versions: upgrade the older"
    " one.",
    ErrorCode.WRONG_INPUT_KIND: "A text went to an image model, or the reverse: choose the right"
    " model.",
    ErrorCode.TEXT_TOO_LARGE: "A text may have 256 KiB of UTF-8: split it.",
    ErrorCode.IMAGE_TOO_LARGE: "Scale the image down or crop it, or raise"
    " LABELMILL_MAX_IMAGE_BYTES or LABELMILL_MAX_IMAGE_PIXELS.",
    ErrorCode.IMAGE_UNREADABLE: "Open the file yourself: it may be damaged. JPEG and PNG are read"
    " by all models.",
    ErrorCode.IMAGE_FORBIDDEN: "Workers may not read from there: upload the image, or allow it with"
    " LABELMILL_IMAGE_ROOT, LABELMILL_IMAGE_SCHEMES or LABELMILL_IMAGE_HOSTS.",
    ErrorCode.IMAGE_NOT_FOUND: "There is no such file or object any more: check its address, or"
    " upload it.",
    ErrorCode.IMAGE_UNAVAILABLE: "The image's host did not answer, or only with an error of its"
    " own: submit the job again later.",
    ErrorCode.NON_FINITE: 'The model gave a score that is no number: try dtype = "float32".',
    ErrorCode.MODEL_FAILED: "The model raised for this job alone: the worker's log says where.",
    ErrorCode.OUT_OF_MEMORY: "The device has too little memory for this job alone: use a larger"
    " device.",
    ErrorCode.UNSTORABLE: "The database refused this job's row, in the words of the message. It is"
    " kept among the dead letters: replay it (labelmill dead replay) once the cause is mended.",
    ErrorCode.EXPIRED: "Its time had passed before a worker was free: add workers, or allow more"
    " time.",
    ErrorCode.REVOKED: "It was revoked before it was started: send it again if it is wanted after"
    " all.",
    ErrorCode.POISONED: "Its worker died each time it was in hand. It is kept among the dead"
    " letters: look at it (labelmill dead show), and replay it once the cause is mended.",
}


class LabelmillError(Exception):
    """Base of every error that Labelmill raises on purpose."""


class ConfigurationError(LabelmillError):
    """A setting, ``models.toml`` or a command line that cannot be used."""


class ServiceUnavailable(LabelmillError):
    """Something Labelmill needs does not answer."""


class BrokerUnavailable(ServiceUnavailable):
    """Redis does not answer."""


class DatabaseUnavailable(ServiceUnavailable):
    """The results database does not answer."""


class UploadStoreUnavailable(ServiceUnavailable):
    """The folder or object store of uploads cannot be written."""


class SchemaOutOfDate(LabelmillError):
    """The database has not been migrated to this version; run ``labelmill db upgrade``."""


class SourceError(LabelmillError):
    """An input file or folder that cannot be read."""


class EmbeddedServerError(LabelmillError):
    """A server of our own cannot be found or does not start; the message says what to do."""


class DuplicateJob(LabelmillError):
    """A job of that id was submitted before; its id is in ``job_id``."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} was submitted before; read its result, or submit under another id"
        )
        self.job_id = job_id


class UnknownJob(LabelmillError):
    """The ledger has no job of that id; its id is in ``job_id``."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"there is no job {job_id!r} in the ledger: check the id, and LABELMILL_DATABASE_URL;"
            " one that was sent by a bare send_task is not in it"
        )
        self.job_id = job_id


class InvalidSignature(LabelmillError):
    """A webhook that is not from whom it says, or is too old."""


class WaitTimeout(LabelmillError):
    """No result arrived within the time given; the job goes on and can be waited for again."""


class ModelLoadError(LabelmillError):
    """A checkpoint that cannot be loaded, or that is not a classifier of the named task."""


class DeviceLost(LabelmillError):
    """A device that answers nothing more to this process; a new process may find it again."""


class JobError(LabelmillError):
    """One job that cannot be done; becomes a failed row, never a crash."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
