"""Faults: whose doing an error of a batched step is, told in one place.

By the names of types and the words of messages, since a worker may serve engines that need no
torch, and since CUDA's libraries report through plain RuntimeErrors. Names and words are those of
``c10/cuda/CUDAException.h`` and ``aten/src/ATen/cuda/Exceptions.h`` of PyTorch, and of the error
tables of CUDA, cuBLAS, cuDNN and NCCL.
"""

from __future__ import annotations

import errno
import re
from enum import Enum


class Fault(Enum):
    """Whose doing an error is, and so what follows from it."""

    OUT_OF_MEMORY = "the device has too little memory: smaller passes may do"
    DEVICE_CRASHED = "the device answers nothing more, perhaps for what it was given"
    DEVICE_LOST = "the device is gone or ill, by no job's doing"
    JOB = "an input may be at fault: isolate it"

    @property
    def ends_worker(self) -> bool:
        """Whether every further call of this process would fail: no job is to be blamed."""
        return self in (Fault.DEVICE_CRASHED, Fault.DEVICE_LOST)


_OUT_OF_MEMORY = re.compile(
    r"out of memory|DefaultCPUAllocator|_STATUS_ALLOC_FAILED|_ALLOCATION_FAILED|CUFFT_ALLOC_FAILED",
    re.IGNORECASE,
)
# Of the dynamic linker, and of Python's threads.
_NO_ROOM = re.compile(
    r"failed to map segment|cannot allocate memory|can't start new thread", re.IGNORECASE
)
# The device goes on after these: they say that a call was wrong.
_HARMLESS = re.compile(
    r"_STATUS_(NOT_SUPPORTED|INVALID_VALUE|BAD_PARAM)|invalid (configuration )?argument"
    r"|too many resources requested",
    re.IGNORECASE,
)
# Hardware and driver alone: what a job may have brought about, too, has to count as its attempt.
_LOST = re.compile(
    r"\becc\b|uncorrectable|nvlink|\bnccl\b|no CUDA GPUs are available|no CUDA-capable device"
    r"|device\(s\) is/are busy or unavailable|system not yet initialized|system driver mismatch"
    r"|driver shutting down|gpu is lost|fallen off the bus|no kernel image is available"
    r"|(invalid|bad) device ordinal",
    re.IGNORECASE,
)
# How such a message begins. Further on, an engine's own error may quote a job.
_OF_THE_DEVICE = re.compile(
    r"(CUDA|HIP|NVRTC|cuDNN|NCCL|ECC) (driver )?error|(CUBLAS|CUDNN|CUSOLVER|CUSPARSE)_STATUS_"
    r"|CUFFT_|nccl(System|Internal|Unhandled|Remote)|Triton Error \[CUDA\]"
    r"|no CUDA GPUs are available|\[enforce fail at alloc_cpu",
    re.IGNORECASE,
)


def fault_of(error: BaseException) -> Fault:
    """Whose doing an error is, by itself or by what it says that it came from."""
    seen: BaseException | None = error
    while seen is not None:
        if (fault := _fault(seen)) is not Fault.JOB:
            return fault
        seen = seen.__cause__
    return Fault.JOB


def is_short_of_memory(error: BaseException) -> bool:
    """Whether the process, or its device, got less memory than it asked for.

    Beyond :attr:`Fault.OUT_OF_MEMORY` it knows what a limit of the process brings about while
    libraries are loaded and threads are started; of no job is any of that to be said.
    """
    seen: BaseException | None = error
    while seen is not None:
        if (
            _fault(seen) is Fault.OUT_OF_MEMORY
            or getattr(seen, "errno", None) == errno.ENOMEM
            or (isinstance(seen, ImportError | RuntimeError) and _NO_ROOM.search(str(seen)))
        ):
            return True
        seen = seen.__cause__
    return False


def _fault(error: BaseException) -> Fault:
    names = {each.__name__ for each in type(error).__mro__}
    text = str(error).strip().partition("\n")[0]
    if names & {"OutOfMemoryError", "MemoryError"}:
        return Fault.OUT_OF_MEMORY
    if "AcceleratorError" not in names and not (
        isinstance(error, RuntimeError) and _OF_THE_DEVICE.match(text)
    ):
        return Fault.JOB
    if _OUT_OF_MEMORY.search(text):
        return Fault.OUT_OF_MEMORY
    if _HARMLESS.search(text):
        return Fault.JOB
    return Fault.DEVICE_LOST if _LOST.search(text) else Fault.DEVICE_CRASHED
