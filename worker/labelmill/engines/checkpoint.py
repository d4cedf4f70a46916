"""The checkpoint: weights and their companions, from a hub or a folder, onto a device."""

from __future__ import annotations

import hashlib
import os
import platform
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ConfigurationError, DeviceLost, ModelLoadError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_BFLOAT16_CAPABILITY = (8, 0)

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def choose_device(spec: ModelSpec) -> torch.device:
    """The device asked for; ``auto`` is the first CUDA device, else the CPU.

    Raises:
        ConfigurationError: the device is not there.
        DeviceLost: ``CUDA_VISIBLE_DEVICES`` names a card, and there is none.
    """
    card = os.environ.get(_VISIBLE, "-1")
    is_named = card not in ("", "-1")
    wanted = spec.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() or is_named else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if is_named and wanted.startswith("cuda"):
            # A card that has gone would else be replaced by the CPU, without a word.
            raise DeviceLost(
                f"PyTorch finds no card {card!r} ({_VISIBLE}): it is gone, or the driver is too old"
                " for this PyTorch, or PyTorch was built for the CPU; see docs/how-to/gpu.md"
            ) from error
        raise ConfigurationError(
            f"device {wanted!r} cannot be used here; set device = 'auto' or 'cpu'"
        ) from error
    return device


def choose_dtype(spec: ModelSpec, device: torch.device) -> torch.dtype:
    """The dtype asked for; ``auto`` is half precision on CUDA and single elsewhere."""
    if spec.dtype != "auto":
        return _DTYPES[spec.dtype]
    if device.type != "cuda":
        return torch.float32
    # Older cards emulate it, slowly.
    has_bfloat16 = torch.cuda.get_device_capability(device) >= _BFLOAT16_CAPABILITY
    return torch.bfloat16 if has_bfloat16 else torch.float16


def dtype_name(model: PreTrainedModel) -> str:
    """The precision of a model's weights, as ``models.toml`` calls it."""
    return str(model.dtype).removeprefix("torch.")


def load_model(auto_class: Any, spec: ModelSpec, device: torch.device) -> PreTrainedModel:
    """Load a classifier, safetensors only and never code of the checkpoint's own.

    Parameters:
        auto_class: ``AutoModelForSequenceClassification`` or its like.

    Raises:
        ModelLoadError: it cannot be loaded, or has no trained classification head.
    """
    transformers.utils.logging.disable_progress_bar()
    model, report = _load(
        auto_class,
        spec,
        use_safetensors=True,
        output_loading_info=True,
        dtype=choose_dtype(spec, device),
    )
    if missing := sorted(report["missing_keys"]):
        # transformers would fill these with random numbers and go on.
        raise ModelLoadError(
            f"{spec.checkpoint} is not trained for {spec.task}: it has no weights for "
            f"{', '.join(missing[:3])}; name a fine-tuned checkpoint"
        )
    return model.to(device).eval()


def load_companion(auto_class: Any, spec: ModelSpec) -> Any:
    """Load a tokenizer or an image processor.

    Raises:
        ModelLoadError: it cannot be loaded.
    """
    return _load(auto_class, spec)


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """Load a tokenizer.

    Raises:
        ModelLoadError: it cannot be loaded, or the checkpoint has none.
    """
    tokenizer: PreTrainedTokenizerBase = load_companion(transformers.AutoTokenizer, spec)
    # Where the files are missing, transformers makes a tokenizer that knows no word.
    if set(tokenizer("a A 1 . e\u4e00")["input_ids"]) <= set(tokenizer.all_special_ids):
        raise ModelLoadError(
            f"{spec.checkpoint} has no tokenizer, or one without a vocabulary; "
            "save the model's tokenizer beside it"
        )
    return tokenizer


def weights_revision(spec: ModelSpec) -> str:
    """Which weights these are: the pinned commit, or a digest of a folder's safetensors files."""
    if spec.folder is None:
        return str(spec.revision)
    digest = hashlib.sha256()
    for file in sorted(spec.folder.glob("*.safetensors")):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:32]}"


def weights_key(revision: str | None, model: PreTrainedModel) -> str:
    """What a measurement of these weights on this device depends on, in words."""
    if model.device.type == "cuda":
        device = torch.cuda.get_device_name(model.device)
    else:
        cpu = torch.backends.cpu.get_cpu_capability()
        device = f"{platform.machine()} {cpu}, {torch.get_num_threads()} threads"
    return f"{revision} on {device}, {model.dtype}, torch {torch.__version__}"


def _load(auto_class: Any, spec: ModelSpec, **options: Any) -> Any:
    try:
        return auto_class.from_pretrained(
            spec.folder or spec.checkpoint,
            revision=spec.revision,
            trust_remote_code=False,
            **options,
        )
    except Exception as error:  # transformers, safetensors and tokenizers raise many kinds
        where = "folder" if spec.folder else "hub"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(
            f"cannot load {spec.checkpoint!r} from the {where} as {spec.task}: {lines[0]}"
        ) from error
