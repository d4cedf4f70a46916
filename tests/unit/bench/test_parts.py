"""What a part does before it measures anything."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from labelmill.bench import gpu, ray_data
from labelmill.bench.__main__ import MODULES, Part, _parsed, main
from labelmill.bench.options import Options
from labelmill.core.errors import ConfigurationError


@pytest.mark.parametrize("part", Part)
def test_every_part_is_a_module(part: Part) -> None:
    assert callable(import_module(f"labelmill.bench.{MODULES.get(part, part)}").run)


def test_without_ray_its_part_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_data, "find_spec", lambda name: None)
    report = ray_data.run(Options(smoke=True), lambda line: None)
    assert report.measures == []
    (note,) = report.notes
    assert note.startswith("skipped: Ray is not installed; pip install -r ")
    assert (Path(ray_data.__file__).parents[3] / note.split()[-1]).is_file()


def test_data_goes_to_the_parts_that_read_it(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text\n")
    assert (Options(data=file).text_file, Options(data=file).image_folder) == (file, None)
    assert (Options(data=tmp_path).text_file, Options(data=tmp_path).image_folder) == (
        None,
        tmp_path,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["strangers"], "'strangers' is not one of queue, submit, texts,"),
        (["queue", "--repeats", "0"], "0 is not from 1 to"),
        (["queue", "--group-size", "1025"], "1025 is not from 1 to 1024"),
        (["queue", "--jobs", "many"], "invalid whole number value: 'many'"),
        (["queue", "--database", "oracle"], "'oracle'"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_gpu_s_part_wants_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="no CUDA device here"):
        gpu.main([])


def test_parts_may_stand_on_both_sides_of_an_option(tmp_path: Path) -> None:
    given = _parsed(["texts", "--results", str(tmp_path), "queue"])
    assert given.parts == [Part.TEXTS, Part.QUEUE]
