"""Arranging: how a model's texts share a pass, found out by its own answers.

No list says which architecture can be run in which layout. A few probe texts are run, each alone,
and then all in one pass, in one layout after the other: the first in which each has the logits that
it has alone is the model's. What no probe can show is read from the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from labelmill.core.errors import ModelLoadError
from labelmill.engines.packed import pack_model
from labelmill.engines.packing import Layout
from labelmill.engines.padded import PaddedModel
from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Upload

#: A pass: from texts to logits of the shape ``[texts, labels]``, on the model's device.
ForwardPass = Callable[[Sequence[Encoding]], torch.Tensor]

#: Of different lengths in any tokenizer; the last is long, so that a model whose tokens look no
#: further than a window is seen to do so.
PROBES = ["a", "b c d e f g h.", "i j k l m n o p q r s t u v w x y z, 0 1 2 3 4 5 6 7 8 9."]
PROBES += [" ".join(PROBES) * 8]


@dataclass(frozen=True)
class Arrangement:
    """How a model's texts are run."""

    layout: Layout
    run: ForwardPass


def arrange(
    model: PreTrainedModel,
    padded: PaddedModel,
    upload: Upload,
    texts: Sequence[Encoding],
    *,
    first_position: int,
    max_length: int | None,
    may_pack: bool,
) -> Arrangement:
    """Find the fastest way to run a model that gives each text the logits that it has alone.

    Parameters:
        padded: the model as transformers runs it.
        texts: probes; those that the model refuses are left out.
        first_position: a text's first position.
        max_length: the length of the longest text that will come; None for any.
        may_pack: whether packs are tried at all.

    Raises:
        ModelLoadError: the model cannot run any of the probes.
    """
    padded_run: ForwardPass = torch.inference_mode()(padded)
    probes, alone = _alone(model, padded_run, texts)
    longest = max(range(len(probes)), key=lambda index: len(probes[index]["input_ids"]))
    length = len(probes[longest]["input_ids"])
    if not _depends_on_the_longest(model, max_length):
        if may_pack and _shows_its_window(model, length, max_length):
            packed = pack_model(
                model, first_position, upload, lambda packed: _answers(packed, probes, alone)
            )
            if packed is not None:
                return Arrangement(Layout.PACKED, torch.inference_mode()(packed))
        if _answers(padded_run, probes, alone):
            return Arrangement(Layout.PADDED, padded_run)
    if _answers(padded_run, [probes[longest]] * 2, alone[[longest, longest]]):
        return Arrangement(Layout.EQUAL, padded_run)
    return Arrangement(Layout.ALONE, padded_run)


def _alone(
    model: PreTrainedModel, run: ForwardPass, texts: Sequence[Encoding]
) -> tuple[list[Encoding], torch.Tensor]:
    """The texts that the model reads, and its logits for each alone."""
    probes, logits, failure = [], [], "no tokens"
    for text in texts:
        if not text["input_ids"]:
            continue
        try:
            logits.append(run([text]))
        except Exception as error:  # some models refuse what is very short
            failure = type(error).__name__
        else:
            probes.append(text)
    if not probes:
        advice = "" if model.dtype == torch.float32 else "; try dtype = 'float32'"
        raise ModelLoadError(
            f"{model.name_or_path} cannot run on {model.device} as {model.dtype} "
            f"({failure}){advice}"
        )
    return probes, torch.cat(logits)


def _answers(run: ForwardPass, probes: Sequence[Encoding], expected: torch.Tensor) -> bool:
    """Whether a pass over the probes gives the expected logits (shape ``[probes, labels]``)."""
    try:
        with torch.inference_mode():
            logits = run(probes)
    except Exception:
        return False
    if logits.shape != expected.shape:
        return False
    # Of float32 the promise: a score's error is at most a quarter of its logit's.
    tolerance = 4e-5 if expected.dtype == torch.float32 else 5e-2
    error = (logits - expected).abs().max()
    return bool(error <= tolerance * expected.abs().max().clamp(min=1))


def _shows_its_window(model: PreTrainedModel, length: int, max_length: int | None) -> bool:
    """Whether probes of that length show how far the model's tokens see.

    Some keep their window in their mask alone, which a pack has not.
    """
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    return window is None or window < length or (max_length is not None and max_length <= window)


def _depends_on_the_longest(model: PreTrainedModel, max_length: int | None) -> bool:
    """Whether a text's scores depend on the longest text of its pass.

    So it is with ``longrope``: past a length, all of a pass have other frequencies.
    """
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    if not any(each.get("rope_type") == "longrope" for each in kinds):
        return False
    original = rope.get("original_max_position_embeddings") or getattr(
        config, "original_max_position_embeddings", None
    )
    return original is None or max_length is None or original < max_length
