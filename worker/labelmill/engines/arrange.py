"""Arranging: how a model's texts share a pass, found out by its own answers.

No list says which architecture can be run in which layout. A few probe texts are run, each alone,
and then all in one pass, in one layout after the other: the first in which each has the logits that
it has alone is the model's. What no probe can show is read from the configuration.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from transformers import PreTrainedModel

from labelmill.core.errors import ModelLoadError
from labelmill.engines.faults import fault_of
from labelmill.engines.memory import within_memory
from labelmill.engines.packed import PackedModel, Pooling, Refusal, pack_model
from labelmill.engines.packing import Layout
from labelmill.engines.tokens import Encoding


class ForwardPass(Protocol):
    """Runs passes of a model in a layout."""

    def __call__(self, texts: Sequence[Encoding], /) -> torch.Tensor:
        """From texts to logits of the shape ``[texts, labels]``, on the model's device."""

    def compile(self) -> None:
        """Run through ``torch.compile`` from now on; the first passes take minutes."""

    def uncompile(self) -> None:
        """Run as before :meth:`compile`."""


#: Of different lengths in any tokenizer; the last is long, so that a model whose tokens look no
#: further than a window is seen to do so.
PROBES = ["a", "b c d e f g h.", "i j k l m n o p q r s t u v w x y z, 0 1 2 3 4 5 6 7 8 9."]
PROBES += [" ".join(PROBES) * 8]

# A copy in single precision of a model of half precision is made where it has no more parameters
# than these: 4 GB.
_LARGEST_COPY = 1_000_000_000
# Of float32 the promise: a score's error is at most a quarter of its logit's.
_SINGLE_PRECISION = 4e-5
# What rounding costs a model too large to be copied, in parts of its precision: seventeen families
# were measured to lose 0.5 to 4.5.
_USUAL_NOISE = 4
_LONGEST_MATTERS = "a text's scores depend on the longest text beside it"


@dataclass(frozen=True)
class Arrangement:
    """How a model's texts are run.

    Attributes:
        refused: the layouts that would be faster, and why each was refused.
    """

    layout: Layout
    run: ForwardPass
    refused: dict[Layout, str]


@dataclass(frozen=True)
class Candidate:
    """A model whose layouts are held against what it says of each text alone.

    Attributes:
        padded: the model as transformers runs it.
        pack: makes a way to run it on packs; raises NotImplementedError where there is none.
        probes: texts that the model reads.
        exact: their logits, each text alone, in single precision; shape ``[probes, labels]``.
        noise: by how much rounding puts logits off, root mean square; None in single precision.
    """

    model: PreTrainedModel
    padded: ForwardPass
    pack: Callable[[Pooling], PackedModel]
    probes: Sequence[Encoding]
    exact: torch.Tensor
    noise: float | None = None

    def packed(self, poolings: Sequence[Pooling]) -> PackedModel:
        """A way to run the model on packs that gives the right logits.

        Raises:
            NotImplementedError: there is none; says why.
        """
        return pack_model(self.pack, poolings, lambda packed: self.fault(packed, Layout.PACKED))

    def fault(self, run: ForwardPass, layout: Layout) -> Refusal | None:
        """Why a pass in a layout does not give the right logits; None if it does.

        In single precision each has to be right to 4e-5 of the largest. In half precision a pass
        may be twice as far off, root mean square, as rounding alone puts each text alone.
        """
        chosen = list(range(len(self.probes)))
        if layout in (Layout.EQUAL, Layout.ALONE):
            longest = max(chosen, key=lambda place: self.probes[place].shape[1])
            chosen = [longest] * (2 if layout is Layout.EQUAL else 1)
        expected = self.exact[chosen]
        try:
            logits = run([self.probes[place] for place in chosen]).float()
        except Exception as error:
            if fault_of(error).ends_worker:
                raise
            first_line = str(error).strip().partition("\n")[0]
            return Refusal(f"{type(error).__name__}: {first_line}")
        if logits.shape != expected.shape:
            return Refusal(f"it gives {list(logits.shape)} logits for {list(expected.shape)}")
        if self.noise is None:
            found = float((logits - expected).abs().max())
            allowed = _SINGLE_PRECISION * max(1.0, float(expected.abs().max()))
        else:
            found, allowed = _size(logits - expected), 2 * self.noise
        if found <= allowed:  # NaN is not
            return None
        return Refusal(
            f"its logits are off by {found:.2g}, more than the {allowed:.2g} of rounding", found
        )


def candidates(
    model: PreTrainedModel,
    padded: Callable[[PreTrainedModel], ForwardPass],
    pack: Callable[[PreTrainedModel, Pooling], PackedModel],
    texts: Sequence[Encoding],
) -> list[Candidate]:
    """The model; where it is of half precision, before it a copy in single precision.

    The copy shows far more sharply whether a layout is right for the architecture, and what
    rounding costs the model.

    Parameters:
        padded: makes the pass of transformers over a model.
        pack: makes a pass over packs, for a way of pooling.
        texts: probes; those that the model refuses are left out.

    Raises:
        ModelLoadError: the model cannot run any of them.
    """
    own = padded(model)
    probes, alone = _alone(model, own, texts)
    if model.dtype == torch.float32:
        return [Candidate(model, own, partial(pack, model), probes, alone)]
    copied = within_memory(lambda: _copy(model, padded, pack, probes))
    if copied is None:
        noise = _USUAL_NOISE * torch.finfo(model.dtype).eps * _size(alone)
        return [Candidate(model, own, partial(pack, model), probes, alone, noise)]
    noise = _size(alone - copied.exact)
    return [
        copied,
        Candidate(model, own, partial(pack, model), probes, copied.exact, noise),
    ]


def arrange(tried: Sequence[Candidate], max_length: int | None) -> Arrangement:
    """Find the fastest way to run a model that gives each text the logits that it has alone.

    Parameters:
        tried: the model last; a layout has to be right for each.
        max_length: the length of the longest text that will come; None for any.
    """
    model, padded = tried[-1].model, tried[-1].padded
    longest = max(probe.shape[1] for probe in tried[-1].probes)
    refused: dict[Layout, str] = {}
    if _depends_on_the_longest(model, max_length):
        refused = dict.fromkeys([Layout.PACKED, Layout.PADDED], _LONGEST_MATTERS)
    elif not _shows_its_window(model, longest, max_length):
        refused[Layout.PACKED] = "its window is longer than what can be tried"
    else:
        packed: list[PackedModel] = []
        try:
            for candidate in tried:
                packed.append(candidate.packed([packed[0].pooling] if packed else list(Pooling)))
        except NotImplementedError as error:
            refused[Layout.PACKED] = str(error)
            for each in packed:
                each.remove()
        else:
            for each in packed[:-1]:
                each.remove()  # with its hooks a copy would stay in memory
            return Arrangement(Layout.PACKED, packed[-1], refused)
    for layout in (Layout.PADDED, Layout.EQUAL):
        if layout in refused:
            continue
        faults = (candidate.fault(candidate.padded, layout) for candidate in tried)
        if (fault := next(filter(None, faults), None)) is None:
            return Arrangement(layout, padded, refused)
        refused[layout] = fault.why
    return Arrangement(Layout.ALONE, padded, refused)


def _alone(
    model: PreTrainedModel, run: ForwardPass, texts: Sequence[Encoding]
) -> tuple[list[Encoding], torch.Tensor]:
    """The texts that the model reads, and its logits for each alone."""
    probes, logits, failure = [], [], "no tokens"
    for text in texts:
        if not text.shape[1]:
            continue
        try:
            logits.append(run([text]).float())
        except Exception as error:  # some models refuse what is very short
            if fault_of(error).ends_worker:
                raise
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


def _copy(
    model: PreTrainedModel,
    padded: Callable[[PreTrainedModel], ForwardPass],
    pack: Callable[[PreTrainedModel, Pooling], PackedModel],
    probes: Sequence[Encoding],
) -> Candidate | None:
    """The model in single precision; None where it is large."""
    if model.num_parameters() > _LARGEST_COPY:
        return None
    copied = copy.deepcopy(model).float()
    run = padded(copied)
    exact = torch.cat([run([probe]) for probe in probes])
    return Candidate(copied, run, partial(pack, copied), probes, exact)


def _size(logits: torch.Tensor) -> float:
    """Root mean square."""
    return float(logits.square().mean().sqrt())


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
