"""The main job end to end on the sample project, with settings that take seconds, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pandas as pd
import pytest
import tifffile

from cellgennet_qupath.cli import run

from ..helpers import project_hashes

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TINY = """
teacher: {filters: 4, depth: 2, rays: 8, patch: 64, batch: 2, epochs: 1, steps_per_epoch: 4}
pseudo: {tiles: 2, tile: 256}
student: {architecture: unet, width: 4, levels: 3, patch: 64, batch: 2,
  epochs: 2, steps_per_epoch: 20, learning_rate: 0.01}
"""


FROM_NOTHING = ("--init", "none", "--backend", "files")


@pytest.fixture(scope="module")
def trained(sample_project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ma in")
    project = Path(shutil.copytree(sample_project, folder / "projekt ö"))
    before = project_hashes(project)
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    bundle = folder / "m.cgn"
    code = run(["train", str(project), "-o", str(bundle), "-c", str(folder / "tiny.yaml"), *FROM_NOTHING])
    assert code == 0
    assert project_hashes(project) == before
    return project, bundle


def test_segment_then_export(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, bundle = trained
    before = project_hashes(project)
    code = run(["segment", str(project), "-m", str(bundle), "--backend", "files", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert all(image["status"] == "done" for image in document["images"])
    assert all(image["detections"] or image["reason"] for image in document["images"])
    assert run(["export", str(project), "-o", str(tmp_path / "t.csv"), "--backend", "files"]) == 0
    table = pd.read_csv(tmp_path / "t.csv")
    assert len(table) == sum(image["detections"] for image in document["images"])
    assert list(table.columns[:3]) == ["Image", "Object ID", "Object type"]
    assert project_hashes(project) == before


def truncated_slide(project: Path) -> None:
    slide = project / "slides" / "slide2_inflamed.ome.tif"
    slide.write_bytes(slide.read_bytes()[:2000])


def missing_slide(project: Path) -> None:
    (project / "slides" / "slide2_inflamed.ome.tif").unlink()


def truncated_data(project: Path) -> None:
    data = project / "data" / "2" / "data.qpdata"
    data.write_bytes(data.read_bytes()[:5000])


def uncalibrated_png(project: Path) -> None:
    """The second image as a PNG without a pixel size."""
    slide = project / "slides" / "slide2_inflamed.ome.tif"
    pixels = tifffile.imread(slide)
    slide.unlink()
    assert cv2.imwrite(str(project / "slides" / "plain.png"), pixels[..., ::-1])
    description = json.loads((project / "project.qpproj").read_text(encoding="utf-8"))
    server = description["images"][1]["serverBuilder"]
    server["uri"] = server["uri"].replace(slide.name, "plain.png")
    for side in ("pixelWidth", "pixelHeight"):
        server["metadata"]["pixelCalibration"][side] = {"value": 1.0, "unit": "px"}
    (project / "project.qpproj").write_text(json.dumps(description), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (truncated_slide, "slide2_inflamed.ome.tif"),
        (missing_slide, "--slides"),
        (truncated_data, "data.qpdata"),
        (uncalibrated_png, "--mpp"),
    ],
)
def test_one_bad_image_does_not_stop_the_others(
    trained: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    named: str,
) -> None:
    project = Path(shutil.copytree(trained[0], tmp_path / "p"))
    damage(project)
    # --within needs annotations, so that unreadable ones fail and images without any are skipped.
    code = run(
        ["segment", str(project), "-m", str(trained[1]), "--backend", "files", "--json",
         "--restart", "--within", "Training"]
    )  # fmt: skip
    captured = capsys.readouterr()
    images = {image["id"]: image for image in json.loads(captured.out)["images"]}
    assert code == 3
    assert {name: image["status"] for name, image in images.items()} == {
        "1": "done", "2": "failed", "3": "done", "4": "skipped",
    }  # fmt: skip
    assert named in images["2"]["reason"]
    assert "\n" not in images["2"]["reason"]
    assert "Traceback" not in captured.err


@pytest.mark.usefixtures("one_stardist")
def test_training_skips_a_bad_image_with_a_warning(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Path(shutil.copytree(trained[0], tmp_path / "p"))
    truncated_data(project)
    config = trained[1].parent / "tiny.yaml"
    command = ["train", str(project), "-o", str(tmp_path / "t.cgn"), "-c", str(config), *FROM_NOTHING]
    assert run([*command, "--stage", "teacher", "--threads", "1"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Warning: ")]
    assert any("data.qpdata" in line for line in warnings)


def test_a_missing_project_is_one_line(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["segment", str(tmp_path / "nowhere"), "-m", str(trained[1])])
    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    assert len(captured.err.splitlines()) == 1
    assert "nowhere" in captured.err


def test_training_again_gives_the_same_student(trained: tuple[Path, Path], tmp_path: Path) -> None:
    project = Path(shutil.copytree(trained[0], tmp_path / "p"))
    config = trained[1].parent / "tiny.yaml"
    again = tmp_path / "again.cgn"
    assert run(["train", str(project), "-o", str(again), "-c", str(config), *FROM_NOTHING]) == 0
    assert (again / "student.safetensors").read_bytes() == (trained[1] / "student.safetensors").read_bytes()


def test_resuming_after_a_change_of_settings_is_refused(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, bundle = trained
    other = tmp_path / "other.yaml"
    other.write_text(TINY + "\nseed: 5\n", encoding="utf-8")
    code = run(["train", str(project), "-o", str(bundle), "-c", str(other), *FROM_NOTHING, "--resume"])
    assert code == 1
    assert "cannot be resumed" in capsys.readouterr().err
