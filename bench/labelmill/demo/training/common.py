"""What both trainings share: folders, determinism, the fitting loop, saving and scoring."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel, pipeline

DEMO = Path(__file__).resolve().parents[1]
DATA = DEMO / "data"
MODELS = DEMO / "models"

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to fit; the length is fixed, so nothing decides when to stop."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float = 0.0
    warmup: float = 0.1
    average_from: float = 0.6  # weights are averaged over the steps after this share


def make_deterministic(seed: int) -> torch.Generator:
    """Pin every source of randomness and return the generator that draws the batches.

    One thread, because the order in which threads add floats changes the result.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def fit(model: PreTrainedModel, next_batch: Callable[[], Batch], schedule: Schedule) -> None:
    """Fit `model` on the batches drawn and leave the average of its late weights in it.

    Averaging evens out the noise of the last steps, which matters with so few examples and
    spares us picking a checkpoint.
    """
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_then_cosine(schedule))
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing)
    model.train()
    for step in range(schedule.steps):
        batch = next_batch()
        labels = batch.pop("labels")
        logits = model(**batch).logits
        loss = loss_of(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step >= schedule.average_from * schedule.steps:
            average.update_parameters(model)
        if (step + 1) % 250 == 0:
            print(f"  step {step + 1}/{schedule.steps}  loss {loss.item():.3f}", flush=True)
    model.load_state_dict(average.module.state_dict())
    model.eval()


def _warmup_then_cosine(schedule: Schedule) -> Callable[[int], float]:
    """A learning-rate factor that climbs to 1 and then falls to 0 along a cosine."""
    rise = max(1, int(schedule.warmup * schedule.steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / (schedule.steps - rise)))

    return factor


def save(folder: Path, *parts: Any) -> None:
    """Save a model and its tokenizer or image processor, without traces of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        part.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes its file readable by the owner alone
        if path.name.endswith("config.json"):
            settings = json.loads(path.read_text(encoding="utf-8"))
            settings.pop("_name_or_path", None)
            settings.pop("name_or_path", None)
            path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def accuracy_as_shipped(
    task: str, folder: Path, inputs: Sequence[str | Image.Image], truth: Sequence[str]
) -> float:
    """Share of inputs whose best label is right, asked through a plain transformers pipeline."""
    classify: Any = pipeline(task, model=str(folder), device="cpu")
    answers = classify(list(inputs), top_k=1)
    best: list[str] = [answer[0]["label"] for answer in answers]
    wrong = {f"{true} read as {got}" for true, got in zip(truth, best, strict=True) if true != got}
    for line in sorted(wrong):
        print(f"  {line}")
    right = [true == got for true, got in zip(truth, best, strict=True)]
    return sum(right) / len(right)
