"""DICOM slides that wsidicom does not read, or only in part: a coarser level must not stand for the slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.slides.reader import open_slide

from .formats.others import write_dicom
from .formats.test_kinds import SIZE, marked

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("wsidicom")


def _changed(folder: Path, change: Callable[[Any], None], names: str = "*.dcm") -> None:
    for file in folder.glob(names):
        data = pydicom.dcmread(file)
        change(data)
        data.save_as(file)


def _channels_apart(data: Any) -> None:
    data.PlanarConfiguration = 1


def _luminance(data: Any) -> None:
    data.PhotometricInterpretation = "YBR_FULL"


def _white_is_zero(data: Any) -> None:
    shape = (int(data.NumberOfFrames), data.Rows, data.Columns, 3)
    whole = np.frombuffer(data.PixelData, np.uint8)[: int(np.prod(shape))].reshape(shape)
    data.PixelData = whole[..., 1].tobytes()
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME1"
    del data.PlanarConfiguration


KINDS = {
    "RGB, 8 bits, channels apart": _channels_apart,
    "YBR_FULL, 8 bits": _luminance,
    "MONOCHROME1, 8 bits": _white_is_zero,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_slide_that_wsidicom_cannot_read_is_named_by_its_samples(tmp_path: Path, kind: str) -> None:
    path = write_dicom(tmp_path, marked()[0])
    _changed(tmp_path, KINDS[kind])
    with pytest.raises(SlideError, match=rf"is a DICOM slide \({kind}\) .*as OME-TIFF") as caught:
        open_slide(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opened", ["level0.dcm", "level2.dcm", ""])
def test_a_coarser_level_does_not_stand_for_the_slide(tmp_path: Path, kind: str, opened: str) -> None:
    write_dicom(tmp_path, marked()[0])
    _changed(tmp_path, KINDS[kind], "level0.dcm")
    with pytest.raises(SlideError, match=rf"full resolution in level0\.dcm, which .* \({kind}\)"):
        open_slide(tmp_path / opened)


def test_a_missing_full_resolution_is_reported(tmp_path: Path) -> None:
    path = write_dicom(tmp_path, marked()[0])
    with open_slide(path) as reader:
        assert not reader.notes
    path.unlink()
    with open_slide(tmp_path / "level1.dcm") as reader:
        assert reader.width == SIZE[0] // 2
        assert "may lack its full resolution" in reader.notes[0]


def _two_areas(folder: Path, one_study: bool) -> dict[str, Any]:
    """The files a-level0.dcm ... and b-level0.dcm ... of one series, and the pixels of both."""
    images = {"a": marked()[0], "b": 255 - marked()[0][: SIZE[1] - 64]}
    uid = pydicom.uid.generate_uid()
    for name, image in images.items():
        write_dicom(folder / name, image, uid)
    first = pydicom.dcmread(folder / "a" / "level0.dcm")

    def moved(data: Any) -> None:
        data.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = 5
        if one_study:
            data.StudyInstanceUID, data.FrameOfReferenceUID = (
                first.StudyInstanceUID,
                first.FrameOfReferenceUID,
            )

    _changed(folder / "b", moved)
    for name in images:
        for file in (folder / name).iterdir():
            file.rename(folder / f"{name}-{file.name}")
        (folder / name).rmdir()
    return images


def test_areas_scanned_apart_are_told_apart(tmp_path: Path) -> None:
    for name, image in _two_areas(tmp_path, one_study=True).items():
        with open_slide(tmp_path / f"{name}-level0.dcm") as reader:
            assert (reader.width, reader.height) == image.shape[1::-1]
            assert np.array_equal(reader.read_grid(0, 0, reader.width, reader.height, 1.0), image)
            assert "one of 2 areas in a DICOM series, of which the one that this file" in reader.notes[0]
    with open_slide(tmp_path) as reader:
        assert (reader.width, reader.height) == SIZE and "the largest is read" in reader.notes[0]


def test_a_file_that_wsidicom_passes_over_is_not_read_as_another(tmp_path: Path) -> None:
    images = _two_areas(tmp_path, one_study=False)
    with open_slide(tmp_path / "a-level1.dcm") as reader:
        assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), images["a"])
    with pytest.raises(SlideError, match="cannot read with the rest of its series"):
        open_slide(tmp_path / "b-level0.dcm")
