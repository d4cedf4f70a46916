"""The part of a machine that each of several workers gets, as its environment."""

from __future__ import annotations

import os

from labelmill.core.settings import EngineSettings
from labelmill.local.devices import Device

# torch and tokenizers read them when they are loaded, and never again.
_THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")


def environment(
    device: Device, settings: EngineSettings, *, per_device: int, workers: int
) -> dict[str, str]:
    """The variables that give a worker its device, its memory there and its threads.

    What the user has set stays as it is.

    Parameters:
        per_device: how many workers share the device.
        workers: how many share the cores.
    """
    threads = settings.cpu_threads or max(1, len(os.sched_getaffinity(0)) // workers)
    variables = {
        "CUDA_VISIBLE_DEVICES": device.visible,
        "LABELMILL_CPU_THREADS": str(threads),
    }
    if "device_memory" not in settings.model_fields_set:
        variables["LABELMILL_DEVICE_MEMORY"] = str(1 / per_device)
    for variable in _THREADS_OF_LIBRARIES:
        if variable not in os.environ:
            variables[variable] = str(threads)
    return variables
