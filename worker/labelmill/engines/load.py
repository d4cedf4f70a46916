"""Making the engine that a model's entry asks for."""

from __future__ import annotations

import importlib
from typing import Any

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ConfigurationError, DeviceLost, ModelLoadError
from labelmill.core.settings import EngineSettings
from labelmill.core.tasks import Task
from labelmill.engines.base import Engine
from labelmill.engines.faults import fault_of, is_short_of_memory

#: An engine whose types of inputs and outputs are its own affair.
AnyEngine = Engine[Any, Any]


def load_engine(spec: ModelSpec, settings: EngineSettings) -> AnyEngine:
    """Load the model of an entry onto its device.

    Raises:
        ConfigurationError: its ``engine`` cannot be imported, or a setting cannot be used.
        ModelLoadError: its checkpoint cannot be loaded, or there is too little memory for it.
        DeviceLost: its device answers nothing more.
    """
    try:
        return _load(spec, settings)
    except Exception as error:
        if is_short_of_memory(error):
            raise ModelLoadError(
                f"there is too little memory for {spec.checkpoint} ({_first_line(error)}): give the"
                " worker more, or serve fewer models with it (LABELMILL_MODELS)"
            ) from error
        if fault_of(error).ends_worker:
            raise DeviceLost(
                f"the device failed while {spec.checkpoint} was loaded ({error}); a new process "
                "may find it again"
            ) from error
        raise


def _load(spec: ModelSpec, settings: EngineSettings) -> AnyEngine:
    if spec.engine is not None:
        return _own(spec.engine)(spec)
    # torch and transformers take seconds to import: only here, where they are needed.
    from labelmill.engines.budget import BudgetFile
    from labelmill.engines.image import ImageEngine
    from labelmill.engines.shares import keep_to_shares
    from labelmill.engines.text import TextEngine
    from labelmill.images.fetch import image_fetcher

    keep_to_shares(settings, spec.device)
    budgets = BudgetFile(settings.cache_dir / "pass-budgets.json")
    match spec.task:  # mypy sees to it that each has its engine
        case Task.TEXT_CLASSIFICATION:
            texts = TextEngine(spec)
            if spec.token_budget is None:
                texts.calibrate(budgets)
            return texts
        case Task.IMAGE_CLASSIFICATION:
            images = ImageEngine(
                spec, image_fetcher(settings), settings.max_image_pixels, settings.cpu_threads
            )
            images.calibrate(budgets)
            return images


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _own(path: str) -> type[AnyEngine]:
    module, _, name = path.partition(":")
    try:
        engine = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"engine {path!r} cannot be imported: {error}") from error
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise ConfigurationError(f"engine {path!r} is not a subclass of labelmill.engines.Engine")
    return engine
