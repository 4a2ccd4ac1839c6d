"""Exit code, standard output and the line of every command under the faults that users and computers cause.

Each row is one fault; the expectation of each command is its exit code and words of its messages. Whatever
happens, ``--json`` prints one document (codes 0 and 3) or nothing, and no fault is called a bug.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellgennet_qupath.bundle import named_bundle
from cellgennet_qupath.report import evaluation_page, segmentation_page, training_page
from cellgennet_qupath.slides import sources
from tests.helpers import invoke, messages
from tests.projects import annotate, drawn_slide, outlined, write_project

NAMES = ("a.png", "b.png", "c.png")
SETTINGS = (
    "student: {architecture: unet, width: 4, levels: 2, epochs: 1, steps_per_epoch: 1, patch: 64}\n"
    "loss: {distillation: 0.0}\nthreads: 1\n"
)
MPP = 0.5
PRETRAINED = named_bundle(Path("pretrained"))
COMMANDS = ("inspect", "segment", "train", "evaluate", "export", "restore")
WITH_JSON = ("inspect", "segment", "evaluate")


@dataclass
class Place:
    """A project of three slides, the second with annotations, segmented once; and what commands get."""

    folder: Path
    bundle: Path
    patch: pytest.MonkeyPatch
    more: dict[str, list[object]] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.folder / "p"

    def slide(self, number: int) -> Path:
        return self.folder / NAMES[number - 1]

    def arguments(self, command: str) -> list[object]:
        """The words of a command on this project, with those that a fault adds."""
        output: dict[str, list[object]] = {
            "inspect": [],
            "segment": ["-m", self.bundle],
            "train": ["-o", self.folder / "m.cgn", "-c", self.folder / "c.yaml", "--init", "none"],
            "evaluate": ["-m", self.bundle, "-o", self.folder / "r", "--no-teacher", "--no-classical"],
            "export": ["-o", self.folder / "t.csv"],
            "restore": [],
        }
        more = self.more.get(command, [])
        target = [] if more and isinstance(more[0], Path) and command == "evaluate" else [self.project]
        as_json = ["--json"] if command in WITH_JSON else []
        of_project = ["--backend", "files"]
        return [command, *target, *of_project, *output[command], *as_json, *more]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in its folder, with the nuclei of one run."""
    folder = tmp_path_factory.mktemp("segmented")
    slides = [drawn_slide(folder / name, seed) for seed, name in enumerate(NAMES)]
    project = write_project(folder / "p", slides, MPP)
    drawn = outlined(1, 2, 2, 150, "Training")[:1], outlined(1, 2, 2, 156, "Validation")
    annotate(project, 2, drawn[1])
    annotate(project, 1, outlined(0, 2, 2, 156, "Training"))
    (folder / "c.yaml").write_text(SETTINGS, encoding="utf-8")
    (folder / "empty.yaml").write_text("classes: {validation: Nothing}\n", encoding="utf-8")
    from cellgennet_qupath.api import segment

    assert segment(project, PRETRAINED).nuclei > 0
    return folder


@pytest.fixture
def place(segmented: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy of it, whose slides have other paths: what is recorded for the first ones is not used."""
    folder = tmp_path / "w"
    shutil.copytree(segmented, folder)
    text = (folder / "p" / "project.qpproj").read_text(encoding="utf-8")
    (folder / "p" / "project.qpproj").write_text(
        text.replace(segmented.as_uri(), folder.as_uri()), encoding="utf-8"
    )
    return Place(folder, PRETRAINED, monkeypatch)


def unreadable_slide(place: Place) -> None:
    place.slide(2).write_bytes(place.slide(2).read_bytes()[:200])


def lost_slide(place: Place) -> None:
    place.slide(2).unlink()


def data_is_a_folder(place: Place) -> None:
    """What QuPath keeps of the second image cannot be read."""
    (place.project / "cellgennet" / "annotations" / "2.geojson").unlink()
    (place.project / "data" / "2" / "data.qpdata").mkdir(parents=True)


def damaged_annotations(place: Place) -> None:
    (place.project / "cellgennet" / "annotations" / "2.geojson").write_text("[{", encoding="utf-8")


def malformed_entry(place: Place) -> None:
    file = place.project / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"][1]["serverBuilder"] = [1, 2]
    file.write_text(json.dumps(content), encoding="utf-8")


def out_of_memory(place: Place) -> None:
    real = sources.open_source

    def opened(path: Path, *rest: Any, **options: Any) -> Any:
        if path.name == NAMES[1]:
            raise MemoryError
        return real(path, *rest, **options)

    place.patch.setattr("cellgennet_qupath.slides.reader.open_source", opened)


def a_page_that_fails(place: Place) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("operands could not be\nbroadcast")

    for module in (segmentation_page, evaluation_page, training_page):
        place.patch.setattr(module, "write_page", fail)


def upright_slide(place: Place) -> None:
    """One that is many times as high as wide, in place of the third."""
    place.slide(3).unlink()
    drawn_slide(place.slide(3), 2, width=24, height=640)
    slides = [place.slide(number) for number in (1, 2, 3)]
    write_project(place.project, slides, MPP)


def added_slide(place: Place) -> None:
    slides = [*(place.slide(number) for number in (1, 2, 3)), drawn_slide(place.folder / "d.png", 3)]
    write_project(place.project, slides, MPP)


def misspelt_within(place: Place) -> None:
    place.more["segment"] = ["--within", "training"]


def output_below_a_file(place: Place) -> None:
    file = place.folder / "c.yaml" / "x"
    for command, name in (("train", "m.cgn"), ("evaluate", "r"), ("export", "t.csv")):
        place.more[command] = ["-o", file / name]


def existing_bundle(place: Place) -> None:
    shutil.copytree(place.bundle, place.folder / "m.cgn")


def bad_predictions(place: Place) -> None:
    (place.folder / "other").mkdir()
    (place.folder / "other" / "b.png").write_bytes(b"\x89PNG and no more")
    place.more["evaluate"] = ["--predictions", f"theirs={place.folder / 'other'}"]


def missing_predictions(place: Place) -> None:
    (place.folder / "other").mkdir()
    place.more["evaluate"] = ["--predictions", f"theirs={place.folder / 'other'}"]


def labelled(place: Place, *names: str, nuclei: int = 255) -> Path:
    folder = place.folder / "d"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(place.slide(1), folder / "images" / name)
        picture = np.zeros((160, 160), np.uint8)
        picture[40:60, 40:60] = nuclei
        assert cv2.imwrite(str(folder / "labels" / f"{Path(name).stem}.png"), picture)
    place.more["evaluate"] = [folder, "--mpp", 0.25]
    return folder


def two_pictures_of_one_name(place: Place) -> None:
    labelled(place, "s1.png", "s1.tif")


def no_nucleus_to_compare(place: Place) -> None:
    labelled(place, "s1.png", nuclei=0)


def one_picture_cannot_be_read(place: Place) -> None:
    folder = labelled(place, "s1.png", "s2.png")
    (folder / "images" / "s2.png").write_bytes(b"no picture")


def no_such_project(place: Place) -> None:
    shutil.rmtree(place.project)


def damaged_project(place: Place) -> None:
    (place.project / "project.qpproj").write_text("{", encoding="utf-8")


def damaged_bundle(place: Place) -> None:
    shutil.copytree(place.bundle, place.folder / "damaged.cgn")
    (place.folder / "damaged.cgn" / "student.safetensors").write_bytes(b"x")
    place.more = {command: ["-m", place.folder / "damaged.cgn"] for command in ("segment",)}
    place.bundle = place.folder / "damaged.cgn"


def full_disk(place: Place) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    place.patch.setattr("cellgennet_qupath.core.files.os.fsync", full)


Expected = tuple[int, str]

ALL_FAIL: dict[str, Expected] = dict.fromkeys(
    ("inspect", "segment", "train", "evaluate", "export", "restore"), (1, "")
)

FAULTS: dict[Callable[[Place], None], dict[str, Expected]] = {
    unreadable_slide: {
        "inspect": (0, ""),
        "segment": (3, "b.png"),
        "train": (0, "b.png"),
        "evaluate": (1, "b.png"),
        "export": (0, ""),
        "restore": (0, ""),
    },
    lost_slide: {
        "inspect": (0, ""),
        "segment": (3, "--slides"),
        "train": (0, "Skipped: "),
        "evaluate": (1, "Skipped: "),
        "export": (0, ""),
        "restore": (0, ""),
    },
    data_is_a_folder: {
        "inspect": (0, ""),
        "segment": (0, ""),
        "train": (0, ""),
        "evaluate": (1, "Validation"),
        "export": (0, ""),
    },
    damaged_annotations: {
        "inspect": (0, ""),
        "segment": (3, "2.geojson"),
        "train": (0, "Skipped: "),
        "evaluate": (1, "Skipped: "),
        "export": (0, ""),
    },
    malformed_entry: {
        "inspect": (0, ""),
        "segment": (3, ""),
        "train": (0, "Skipped: "),
        "evaluate": (1, ""),
        "export": (0, ""),
        "restore": (0, ""),
    },
    out_of_memory: {
        "inspect": (0, ""),
        "segment": (3, "b.png: FAILED: memory"),
        "train": (0, "Skipped: b.png: memory"),
        "evaluate": (1, "Skipped: b.png: memory"),
        "export": (0, ""),
    },
    a_page_that_fails: {
        "segment": (0, "No page was written: ValueError: operands could not be broadcast"),
        "train": (0, "No training page was written"),
        "evaluate": (0, "No report page was written"),
    },
    upright_slide: {"inspect": (0, ""), "segment": (0, ""), "train": (0, ""), "export": (0, "")},
    added_slide: {"inspect": (0, ""), "segment": (0, ""), "train": (0, ""), "export": (0, "")},
    misspelt_within: {"segment": (2, "The classes are: Training, Validation")},
    output_below_a_file: {
        "train": (1, "c.yaml"),
        "evaluate": (2, "c.yaml"),
        "export": (1, "c.yaml"),
    },
    existing_bundle: {"train": (0, "m.cgn exists: it is replaced when the training has succeeded")},
    bad_predictions: {"evaluate": (1, "b.png")},
    missing_predictions: {"evaluate": (1, "b.png")},
    two_pictures_of_one_name: {"evaluate": (1, "two images of one name: s1.png and s1.tif")},
    no_nucleus_to_compare: {"evaluate": (1, "no outlined nucleus")},
    one_picture_cannot_be_read: {"evaluate": (3, "Skipped: ")},
    no_such_project: ALL_FAIL,
    damaged_project: dict.fromkeys(ALL_FAIL, (1, "project.qpproj")),
    damaged_bundle: {"segment": (1, "student.safetensors"), "evaluate": (1, "student.safetensors")},
    full_disk: {
        "inspect": (0, ""),
        "train": (1, "Free some space"),
        "export": (1, "No space left on device"),
    },
}

ROWS = [(fault, command) for fault, expected in FAULTS.items() for command in expected]


@pytest.mark.parametrize(
    ("fault", "command"), ROWS, ids=[f"{command} {fault.__name__}" for fault, command in ROWS]
)
def test_exit_code_document_and_line(
    place: Place, fault: Callable[[Place], None], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault(place)
    code, words = FAULTS[fault][command]
    got, out, err = invoke(capsys, *place.arguments(command))
    assert got == code, err
    assert words in " ".join(err.split())
    assert "nternal error" not in err and "Traceback" not in err
    if code in (1, 2):
        assert out == ""
        last = messages(err)[-1]
        assert last.startswith("Error: ")
    elif command in WITH_JSON:
        document = json.loads(out)
        if command == "segment":
            failed = [image["name"] for image in document["images"] if image["status"] == "failed"]
            assert failed == ([NAMES[1]] if code == 3 else [])
            others = [image for image in document["images"] if image["status"] == "done"]
            assert all(image["detections"] > 0 for image in others if image["name"] != NAMES[2])
        if command == "inspect" and FAULTS[fault].get("segment", (0, ""))[0] == 3:
            assert [bool(image["problem"]) for image in document["images"]] == [False, True, False]
    assert not list(place.folder.rglob("*.part"))


def test_what_is_finished_is_skipped_and_named_when_a_slide_is_added(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = invoke(capsys, *place.arguments("segment"))
    first = {image["name"]: image["detections"] for image in json.loads(out)["images"]}
    added_slide(place)
    code, out, _ = invoke(capsys, *place.arguments("segment"))
    images = {image["name"]: image for image in json.loads(out)["images"]}
    assert code == 0
    assert [images[name]["note"] for name in NAMES] == ["unchanged"] * 3
    assert {name: images[name]["detections"] for name in NAMES} == first
    assert images["d.png"]["seconds"] > 0


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_project_without_a_nucleus_has_a_summary(
    place: Place, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blank slides: segmented, nothing found, every row with 0."""
    blank = np.full((160, 160, 3), 245, np.uint8)
    for one in (1, 2, 3)[:number]:
        assert cv2.imwrite(str(place.slide(one)), blank)
    write_project(place.project, [place.slide(one) for one in (1, 2, 3)[:number]], MPP)
    shutil.rmtree(place.project / "cellgennet")
    code, out, _ = invoke(capsys, *place.arguments("segment"))
    assert (code, sum(image["detections"] for image in json.loads(out)["images"])) == (0, 0)
    code, _, err = invoke(capsys, *place.arguments("export"), "--summary")
    assert code == 0, err
    rows = (place.folder / "t.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(rows) == 1 + number
    assert all(",0," in row for row in rows[1:])
