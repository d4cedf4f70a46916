"""Loading: a checkpoint either is a classifier of its task, or is refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from labelmill.core.catalog import Catalog
from labelmill.core.errors import ConfigurationError, DeviceLost, ModelLoadError
from labelmill.engines.checkpoint import choose_dtype, weights_revision
from tests.support.answers import answers, image_engine, spec, text_engine, text_jobs
from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A text checkpoint that can be loaded, until the test damages it."""
    return save_text_checkpoint(tmp_path / "checkpoint", "bert")


def edit(file: Path, **entries: Any) -> None:
    """Set entries of a JSON file; None takes one out."""
    content = {**json.loads(file.read_text()), **entries}
    file.write_text(json.dumps({name: each for name, each in content.items() if each is not None}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors of a checkpoint."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def add_code(folder: Path) -> Path:
    """Put code into a checkpoint that leaves a file behind if it is run, and return that file."""
    trace = folder.parent / "executed"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Own: pass\n")
    return trace


def test_a_missing_folder_is_taken_for_a_hub_id_that_has_to_be_pinned(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[models.tickets]\ntask = "text-classification"\ncheckpoint = "gone"\n')

    with pytest.raises(ConfigurationError, match=r"'gone' is no folder here.*pin it with revision"):
        Catalog.load(models)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelLoadError, match=r"no file named model\.safetensors"):
        text_engine(folder)


def test_weights_that_are_pickled_are_refused(folder: Path) -> None:
    weights = AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelLoadError, match=r"no file named model\.safetensors"):
        text_engine(folder)


def test_weights_that_end_early_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])

    with pytest.raises(ModelLoadError, match="cannot load"):
        text_engine(folder)


def test_a_pointer_of_git_lfs_is_no_weights(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    (folder / "model.safetensors").write_text(pointer)

    with pytest.raises(ModelLoadError, match="cannot load"):
        text_engine(folder)


def test_an_encoder_without_a_head_is_refused(folder: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(folder).bert.save_pretrained(folder)

    with pytest.raises(ModelLoadError, match=r"no weights for classifier\.bias.*fine-tuned"):
        text_engine(folder)


def test_an_image_encoder_without_a_head_is_refused(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")
    edit_weights(folder, lambda tensors: tensors.pop("classifier.weight"))

    with pytest.raises(ModelLoadError, match=r"no weights for classifier\.weight; .*fine-tuned"):
        image_engine(folder)


def test_a_head_of_another_shape_is_refused(folder: Path) -> None:
    edit(folder / "config.json", id2label={"0": "good", "1": "bad"})

    with pytest.raises(ModelLoadError, match="cannot load"):
        text_engine(folder)


def test_labels_that_do_not_count_from_zero_are_refused(folder: Path) -> None:
    edit(folder / "config.json", id2label={"1": "good", "2": "bad", "3": "odd"})

    with pytest.raises(ModelLoadError, match="label"):
        text_engine(folder)


def test_a_text_checkpoint_is_no_image_classifier(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"as image-classification: .*Bert"):
        image_engine(folder)


def test_an_image_checkpoint_is_no_text_classifier(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")

    with pytest.raises(ModelLoadError, match=r"as text-classification: .*ViT"):
        text_engine(folder)


def test_a_folder_without_a_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()

    with pytest.raises(ModelLoadError, match=r"config\.json"):
        text_engine(folder)


@pytest.mark.parametrize(
    "entries",
    [{"model_type": "unheard-of"}, {"hidden_size": "many"}, {"max_position_embeddings": -1}],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(
    entries: dict[str, Any], folder: Path
) -> None:
    edit(folder / "config.json", **entries)

    with pytest.raises(ModelLoadError, match="cannot load"):
        text_engine(folder)


@pytest.mark.parametrize("content", ["{}", "nonsense"])
def test_a_damaged_tokenizer_is_refused(content: str, folder: Path) -> None:
    (folder / "tokenizer.json").write_text(content)

    with pytest.raises(ModelLoadError, match="cannot load"):
        text_engine(folder)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_a_folder_without_a_tokenizer_is_refused(family: str, tmp_path: Path) -> None:
    # transformers makes an empty one, to which all texts are the same unknown words.
    folder = save_text_checkpoint(tmp_path, family)
    for file in folder.glob("tokenizer*"):
        file.unlink()

    with pytest.raises(ModelLoadError, match="tokenizer"):
        text_engine(folder)


def test_a_folder_without_an_image_processor_is_refused(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit")
    (folder / "preprocessor_config.json").unlink()

    with pytest.raises(ModelLoadError, match=r"preprocessor_config\.json"):
        image_engine(folder)


def test_a_model_that_needs_code_of_its_own_is_refused_and_the_code_not_run(folder: Path) -> None:
    trace = add_code(folder)
    own = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Own"}
    edit(folder / "config.json", model_type="own", auto_map=own)

    with pytest.raises(ModelLoadError, match="custom code"):
        text_engine(folder)
    assert not trace.exists()


def test_code_beside_a_known_model_is_not_run(folder: Path) -> None:
    trace = add_code(folder)
    own = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Own"}
    edit(folder / "config.json", auto_map=own)
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})

    assert answers(text_engine(folder), text_jobs(["I love this shop!"]))
    assert not trace.exists()


def test_a_model_that_cannot_run_in_its_dtype_is_refused(tmp_path: Path) -> None:
    # Its Fourier transform has no half precision: no job would ever succeed.
    folder = save_text_checkpoint(tmp_path, "fnet")

    with pytest.raises(ModelLoadError, match="float32"):
        text_engine(folder, dtype="bfloat16")


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_refused(device: str, folder: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=f"device '{device}' cannot be used here; set device"
    ):
        text_engine(folder, device=device)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_card_that_is_named_and_gone_is_not_replaced_by_the_cpu(
    device: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0000")
    with pytest.raises(DeviceLost, match="PyTorch finds no card 'GPU-0000'"):
        text_engine(folder, device=device)


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_cards_without_bfloat16_have_float16(
    capability: tuple[int, int],
    dtype: torch.dtype,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_dtype(spec("text-classification", folder), torch.device("cuda")) is dtype


def test_the_weights_of_a_folder_have_a_digest(folder: Path) -> None:
    first = weights_revision(spec("text-classification", folder))
    edit_weights(folder, lambda tensors: tensors["classifier.bias"].add_(1))
    second = weights_revision(spec("text-classification", folder))

    assert first.startswith("sha256:")
    assert first != second


def test_the_weights_of_a_hub_checkpoint_have_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commit = "0123456789" * 4
    pinned = spec("text-classification", Path("somebody/something"), revision=commit)

    assert weights_revision(pinned) == commit
