"""Whose doing an error is, by the messages of PyTorch, CUDA and its libraries."""

from __future__ import annotations

import errno

import pytest
import torch

from labelmill.engines.faults import Fault, fault_of, is_short_of_memory
from labelmill.engines.memory import within_memory


class AcceleratorError(RuntimeError):
    """As torch's, which cannot be made without a device."""


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]
CRASHED = [
    # What follows on an index beyond an embedding.
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    AcceleratorError("CUDA error: unknown error"),
    AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be …"),
    AcceleratorError("CUDA error: an illegal memory access was encountered"),
    AcceleratorError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( …)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("Triton Error [CUDA]: an illegal instruction was encountered"),
    RuntimeError("HIP error: the operation cannot be performed in the present state"),
]
LOST = [
    AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    AcceleratorError("CUDA error: no CUDA-capable device is detected"),
    AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    AcceleratorError("CUDA error: uncorrectable NVLink error detected during the execution"),
    RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:3384, unhandled system error"),
    RuntimeError("No CUDA GPUs are available"),
]
OF_A_JOB = [
    RuntimeError("unexpected token in 'my GPU says CUDA error: uncorrectable ECC error'"),
    ValueError("CUDA error: this is somebody's text"),
    RuntimeError("The size of tensor a (513) must match the size of tensor b (512)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
    AcceleratorError("CUDA error: invalid argument"),
    AcceleratorError("CUDA error: invalid configuration argument"),
    IndexError("index out of range in self"),
]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        *((error, Fault.OUT_OF_MEMORY) for error in OUT_OF_MEMORY),
        *((error, Fault.DEVICE_CRASHED) for error in CRASHED),
        *((error, Fault.DEVICE_LOST) for error in LOST),
        *((error, Fault.JOB) for error in OF_A_JOB),
    ],
    ids=str,
)
def test_an_error_is_known_by_its_words(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_an_error_is_known_by_its_cause() -> None:
    error = ValueError("a library's own")
    error.__cause__ = LOST[0]
    assert fault_of(error) is Fault.DEVICE_LOST


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_whatever_says_that_memory_ran_out_asks_for_a_smaller_pass(error: Exception) -> None:
    def action() -> str:
        raise error

    assert within_memory(action) is None


def test_other_errors_are_no_matter_of_memory() -> None:
    def action() -> str:
        raise LOST[0]

    with pytest.raises(AcceleratorError):
        within_memory(action)
    assert within_memory(lambda: "answer") == "answer"


@pytest.mark.parametrize(
    "error",
    [
        *OUT_OF_MEMORY,
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ],
    ids=str,
)
def test_a_process_is_short_of_memory(error: Exception) -> None:
    assert is_short_of_memory(error)
    wrapped = ValueError("cannot be loaded")
    wrapped.__cause__ = error
    assert is_short_of_memory(wrapped)


@pytest.mark.parametrize(
    "error",
    [*CRASHED, ImportError("no module x"), OSError(errno.ENOSPC, "full")],
    ids=str,
)
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert not is_short_of_memory(error)
