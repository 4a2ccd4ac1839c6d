"""The public Python API: its names, and its examples as a user would run them."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import shutil
from pathlib import Path

import pytest

import cellgennet_qupath
from cellgennet_qupath import api

from .projects import keep_images

FUNCTIONS = (
    "open_project",
    "open_images",
    "create_project",
    "load_bundle",
    "train",
    "segment",
    "suggest",
    "evaluate",
    "export",
)

QUICK = """
student: {patch: 64, batch: 2, epochs: 1, steps_per_epoch: 3}
pseudo: {tile: 128, tiles: 2}
"""


@pytest.fixture
def workplace(tmp_path: Path, sample_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a project, as the examples assume; also the working directory."""
    shutil.copytree(sample_project, tmp_path / "MyProject")
    (tmp_path / "quick.yaml").write_text(QUICK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=False)
    return [
        test
        for thing in (cellgennet_qupath, *(getattr(api, name) for name in FUNCTIONS))
        for test in finder.find(thing, module=False)
        if test.examples
    ]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_examples_do_what_they_show(example: doctest.DocTest, workplace: Path) -> None:
    if example.name in ("cellgennet_qupath", "train", "suggest"):
        keep_images(workplace / "MyProject", 2)
    if example.name == "export":
        api.segment("MyProject", images=["*slide3*"])
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    result = runner.run(example, out=failures.append)
    assert result.attempted > 1
    assert result.failed == 0, "".join(failures)


def test_every_function_has_an_example() -> None:
    assert {test.name for test in examples()} == {"cellgennet_qupath", *FUNCTIONS}


def test_the_names_are_callable_after_every_module_was_imported() -> None:
    """No room or module hides a function of the API."""
    for module in pkgutil.walk_packages(cellgennet_qupath.__path__, "cellgennet_qupath."):
        if module.name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
    assert sorted(cellgennet_qupath.__all__) == sorted(["__version__", *FUNCTIONS])
    for name in FUNCTIONS:
        assert callable(getattr(cellgennet_qupath, name)), name
        assert getattr(cellgennet_qupath, name) is getattr(api, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="segment_all"):
        _ = cellgennet_qupath.segment_all
    assert set(FUNCTIONS) <= set(dir(cellgennet_qupath))


def test_a_warning_reaches_pythons_logging(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    (workplace / "MyProject" / "slides" / "slide1_glands.ome.tif").write_bytes(b"no slide")
    run = api.segment("MyProject", images=["slide1*"])
    assert [image.status for image in run.images] == ["failed"]
    assert run.failed == run.images
    assert any("slide1_glands" in record.message for record in caplog.records)
