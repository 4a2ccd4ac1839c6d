"""Nothing of a folder is left out of an evaluation without a word."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellgennet_qupath.core.errors import SupervisionError, UsageError
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from tests.helpers import Recorder

Writer = Callable[[Path, int], Path]


@pytest.fixture
def folder(tmp_path: Path, labelled_folder: Writer) -> Path:
    return labelled_folder(tmp_path / "data", 3)


def regions(folder: Path, **options: str) -> tuple[list[EvaluationRegion], list[str]]:
    listener = Recorder()
    found = folder_regions(folder, reporter=listener, **options)  # type: ignore[arg-type]
    return found, [line.replace(str(folder), "") for line in listener.warnings]


def listing(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "manifest.csv").write_text(text, encoding=encoding)
    return folder


EVERY = "field 1.png, train\nfield 2.png, train\n"


@pytest.mark.parametrize(
    ("rows", "names", "said"),
    [
        (f"field 0.png, test\n{EVERY}", ["field 0"], None),
        (f"field 0.png,test \n{EVERY}field 1.png,train\n", ["field 0"], None),
        ("field 0.png,test\n", ["field 0"], "field 1.png, field 2.png: not listed, so left out"),
        (f"field 0.png,test\nfield 9.png,test\n{EVERY}", ["field 0"], "field 9.png: listed, but no image"),
        (f"field 0.png,test\nfield 9.png,train\n{EVERY}", ["field 0"], None),
        (
            "field 0.png,test\nfield 1.png,Test\nfield 2.png,train\n",
            ["field 0"],
            "field 1.png: left out, as the split is written differently",
        ),
    ],
)
def test_what_does_not_fit_the_list_is_reported(
    folder: Path, rows: str, names: list[str], said: str | None
) -> None:
    found, warnings = regions(listing(folder, f"file, split\n{rows}"), split="test")
    assert [region.name for region in found] == names
    assert len(warnings) == (said is not None)
    assert said is None or warnings[0].startswith(f"/manifest.csv: {said}")


def test_images_without_a_row_are_in_no_group(folder: Path) -> None:
    found, (warning,) = regions(listing(folder, "file,organ\nfield 1.png,lung\n"), group_by="organ")
    assert [region.group for region in found] == ["", "lung", ""]
    assert "field 0.png, field 2.png: not listed, so in no group" in warning


@pytest.mark.parametrize(
    ("text", "encoding", "why"),
    [
        ("file,split\na,test\n", "utf-16", "is not text in UTF-8"),
        ("file,split\nN\xe4vus.png,test\n", "cp1252", "is not text in UTF-8.*CSV UTF-8"),
        ("file;split\na;test\n", "utf-8", "has no column `file`.*commas"),
        ("", "utf-8", "has no column `file`"),
        ("file,split\na.png,test\na.png,train\n", "utf-8", r"lists a\.png twice"),
        ('file,split\n"' + "a" * 200_000 + '",test\n', "utf-8", "is not a table in CSV"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(folder: Path, text: str, encoding: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        regions(listing(folder, text, encoding), split="test")


def test_folders_of_one_name_are_refused(tmp_path: Path, labelled_folder: Writer) -> None:
    for place in ("a", "b"):
        labelled_folder(tmp_path / "data" / place / "tiles", 1)
    assert len(regions(tmp_path / "data")[0]) == 2
    with pytest.raises(UsageError, match="of one name"):
        regions(listing(tmp_path / "data", "dataset,file,split\ntiles,field 0.png,test\n"), split="test")


def test_images_of_rarer_formats_are_evaluated_too(folder: Path) -> None:
    for number, ending in enumerate(("webp", "jp2", "png")):
        file = folder / "images" / f"field {number}.png"
        picture = cv2.imread(str(file))
        assert picture is not None
        file.unlink()
        assert cv2.imwrite(str(file.with_suffix(f".{ending}")), picture)
    # Beside an image lie files that are none.
    (folder / "images" / "field 2.xml").touch()
    (folder / "images" / "field 2.dat").write_bytes(b"\0")
    found, warnings = regions(folder)
    assert [region.name for region in found] == ["field 0", "field 1", "field 2"]
    assert warnings == []
    (folder / "images" / "field 0.webp").write_bytes(b"RIFF")
    found, (warning,) = regions(folder)
    assert len(found) == 2
    assert warning.startswith("Skipped: ")


def test_folders_among_the_images_are_reported(folder: Path) -> None:
    for number, place in enumerate(("site B", "site A/day 1")):
        for kind in ("images", "labels"):
            inner = folder / kind / place
            inner.mkdir(parents=True)
            (folder / kind / f"field {number}.png").rename(inner / f"field {number}.png")
    found, (warning,) = regions(folder)
    assert [region.name for region in found] == ["field 2"]
    assert warning == "/images: folders in it are not searched: site A, site B."


def test_the_form_of_accents_in_the_list_does_not_matter(folder: Path) -> None:
    one, two = (unicodedata.normalize(form, "Größe é") for form in ("NFC", "NFD"))
    for kind in ("images", "labels"):
        (folder / kind / "field 0.png").rename(folder / kind / f"{two}.png")
    listing(folder, f"file,split,dye\n{one}.png,{two},{one}\nfield 1.png,{one},{two}\nfield 2.png,b,c\n")
    for form in (one, two):
        found, warnings = regions(folder, split=form, group_by="dye")
        assert [region.group for region in found] == [one, one]
        assert warnings == []


def test_label_images_without_an_image_are_reported(folder: Path) -> None:
    for number in range(2):
        np.save(folder / "labels" / f"other {number}.npy", np.zeros((4, 4), np.uint8))
    found, (warning,) = regions(folder)
    assert len(found) == 3
    assert warning == "/labels: no image has the name of other 0.npy, other 1.npy."


def test_two_label_images_of_one_name_are_still_refused(folder: Path) -> None:
    np.save(folder / "labels" / "field 0.npy", np.zeros((4, 4), np.uint8))
    with pytest.raises(SupervisionError, match="two label images of one name"):
        regions(folder)
