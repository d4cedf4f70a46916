"""Packed passes: several texts end to end as one sequence, without padding.

A classifier of transformers runs unchanged on one sequence that holds all texts, but for three
things: positions count anew in each text, attention stays within each text, and the head sees one
row a text. Attention is exchanged through transformers' ``AttentionInterface``
(https://huggingface.co/docs/transformers/attention_interface).

Where the head sees the first token only, the last layer need not compute any other row. It still
attends to all tokens, so their keys and values are computed; queries, the attention's output and
the feed-forward part are not: of a model of two layers that is two fifths of the work.

Whether an architecture can be run like this is for the caller to check by its answers: one that
mixes tokens in any other way answers differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import Any, NamedTuple, cast

import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from labelmill.engines.attention import ATTENTION, PackedTexts, PackState, running
from labelmill.engines.block import Block
from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Transfer
from labelmill.engines.varlen import Varlen

# What the projections to keys and values are called.
_KEYS = ("key", "k_lin", "k_proj")
_VALUES = ("value", "v_lin", "v_proj")


class Pooling(Enum):
    """Which row of a text its head sees."""

    FIRST_NARROW = "the first token's, the only one that the last layer computes"
    FIRST = "the first token's"
    MEAN = "the mean of its tokens'"
    LAST = "the last token's"


class Refusal(NamedTuple):
    """Why a way to run a model is not taken; by how much its logits are off, where they are."""

    why: str
    off_by: float = inf


def pack_model(
    make: Callable[[Pooling], PackedModel],
    poolings: Sequence[Pooling],
    fault: Callable[[PackedModel], Refusal | None],
) -> PackedModel:
    """Find a way to run a model on packs; the model is left as it was where there is none.

    Parameters:
        make: makes one of this model; raises NotImplementedError where there is none.
        poolings: what to try.
        fault: why the answers are not those that the model gives to each text alone, if so.

    Raises:
        NotImplementedError: there is none; says why, of the way that came nearest.
    """
    refusals = []
    for pooling in poolings:
        packed = make(pooling)
        if (refusal := fault(packed)) is None:
            return packed
        packed.remove()
        refusals.append(refusal)
    raise NotImplementedError(min(refusals, key=lambda refusal: refusal.off_by).why)


class PackedModel:
    """Runs a sequence classifier on packs; :func:`pack_model` finds out whether that is right.

    The model cannot be run in any other way until :meth:`remove`.

    Parameters:
        inputs: what the rows of an encoding are called.
        first_position: the position of a text's first token.
        transfer: brings tensors to the model's device.
        kernel: runs the attention of all texts at once; without one they are run text by text.

    Attributes:
        pooling: which row of a text its head sees.

    Raises:
        NotImplementedError: its architecture takes no attention of ours.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pooling: Pooling,
        *,
        inputs: Sequence[str],
        first_position: int,
        transfer: Transfer,
        kernel: Varlen | None,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._first_position = first_position
        self.pooling = pooling
        self._transfer = transfer
        self._kernel = kernel
        # Of a composite model, whose parts have configurations of their own, the text's.
        self._padding = getattr(model.config.get_text_config(), "pad_token_id", None)
        trunk = model.base_model
        # The pooler of a model like BERT is part of its trunk: what comes before it is hooked.
        encoder = getattr(trunk, "encoder", getattr(trunk, "transformer", trunk))
        self._own_attention = model.config._attn_implementation
        model.set_attn_implementation(ATTENTION)
        if model.config._attn_implementation != ATTENTION:
            model.set_attn_implementation(self._own_attention)
            raise NotImplementedError("its architecture takes no other attention than its own")
        self._pack = PackState()
        for module in model.modules():
            module.labelmill_pack = self._pack
        self._compiled: Callable[..., torch.Tensor] | None = None
        self._hooks = [encoder.register_forward_hook(self._one_row_a_text)]
        if pooling is Pooling.FIRST_NARROW:
            self._hooks += _narrow_last_layer(encoder)

    def remove(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()
        self._model.set_attn_implementation(self._own_attention)

    def compile(self) -> None:
        """Run through ``torch.compile`` from now on; the first passes take minutes."""
        # One program for packs of all sizes.
        self._compiled = torch.compile(self._logits, dynamic=True)

    def uncompile(self) -> None:
        """Run as before :meth:`compile`."""
        self._compiled = None

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Encoding]) -> torch.Tensor:
        """The logits of the texts, on the model's device; shape ``[texts, labels]``.

        Raises:
            Exception: what the model raises, of any kind, where it cannot be run like this.
        """
        block = Block.of(texts, self._transfer, self._first_position, self._padding)
        given = dict(zip([*self._inputs, "position_ids"], block.inputs, strict=True))
        # A compiler makes a program of its own for one text, which is not worth its minute.
        run = self._compiled if self._compiled and len(texts) > 1 else self._logits
        running.texts = PackedTexts(block.lengths, block.bounds, self._kernel)
        self._pack.begin(block.bounds, block.firsts)
        try:
            return run(given, block.lasts)
        finally:
            self._pack.end()
            vars(running).clear()

    def _logits(self, given: dict[str, torch.Tensor], lasts: torch.Tensor) -> torch.Tensor:
        if self.pooling is not Pooling.LAST:
            return cast("torch.Tensor", self._model(**given).logits)
        hidden = self._model.base_model(**given, use_cache=False).last_hidden_state
        return cast("torch.Tensor", self._model.score(hidden[0, lasts]))

    def _one_row_a_text(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        hidden = output.last_hidden_state[0]
        if self.pooling is Pooling.FIRST_NARROW:
            output.last_hidden_state = hidden.unsqueeze(1)
        elif self.pooling is Pooling.FIRST:
            output.last_hidden_state = hidden[self._pack.firsts].unsqueeze(1)
        elif self.pooling is Pooling.MEAN:
            output.last_hidden_state = mean_rows(hidden, self._pack.bounds).unsqueeze(1)
        return output


def mean_rows(hidden: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The mean of each text's rows, summed in single precision: a sum in bfloat16 stops growing
    at 256 times what is added.

    Parameters:
        hidden: shape ``[tokens, width]``.
        bounds: where each text begins, and where the last ends; shape ``[texts + 1]``.

    Returns:
        shape ``[texts, width]``, in single precision.
    """
    # Not "unsafe" is to look at the lengths first, for which the device would have to be waited.
    return torch.segment_reduce(
        hidden.float(), "mean", lengths=bounds.diff().long(), axis=0, unsafe=True
    )


def _narrow_last_layer(encoder: torch.nn.Module) -> list[RemovableHandle]:
    """Let the last layer see the first rows of the texts only, but for its keys and values.

    Those are computed of all tokens and handed to the attention beside the layer, which gets what
    it expects: as many keys and values as it has rows. Where a layer has no such parts, nothing is
    narrowed.
    """
    layers = [child for child in encoder.children() if isinstance(child, torch.nn.ModuleList)]
    last = layers[0][-1] if layers else encoder
    parts = {name.rpartition(".")[2]: part for name, part in last.named_modules()}
    keys = next((parts[name] for name in _KEYS if name in parts), None)
    values = next((parts[name] for name in _VALUES if name in parts), None)
    if last is encoder or keys is None or values is None:
        return []
    return [
        last.register_forward_pre_hook(_take_first_rows),
        keys.register_forward_hook(_keep_keys),
        values.register_forward_hook(_keep_values),
    ]


def _take_first_rows(layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    pack: PackState = layer.labelmill_pack
    pack.hidden = args[0]
    return (args[0][:, pack.firsts], *args[1:])


def _keep_keys(projection: Any, *_: Any) -> None:
    projection.labelmill_pack.keys = projection.forward(projection.labelmill_pack.hidden)


def _keep_values(projection: Any, *_: Any) -> None:
    projection.labelmill_pack.values = projection.forward(projection.labelmill_pack.hidden)
