"""What opens which file, what is refused, and what a user is advised then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.slides.reader import open_slide

from .formats.others import write_dicom, write_zarr
from .formats.test_kinds import SIZE, marked

STARTS = {
    "a.czi": (b"ZISRAWFILE" + bytes(90), "Zeiss CZI"),
    "renamed.img": (b"ZISRAWFILE" + bytes(90), "Zeiss CZI"),
    "a.lif": (b"\x70\0\0\0" + bytes(90), "Leica LIF"),
    "a.nd2": (b"\xda\xce\xbe\x0a" + bytes(90), "Nikon ND2"),
    "a.oir": (b"OLYMPUSRAWFORMAT" + bytes(90), "Olympus OIR"),
    "a.ims": (b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5"),
    "a.isyntax": (b"<DataObject ", "Philips iSyntax"),
    "a.vsi": (b"II*\0" + bytes(90), "Olympus VSI"),
    "a.mrxs": (b"\xff\xd8\xff\xe0" + bytes(90), "3DHISTECH MRXS"),
    "a.vms": (b"[Virtual Microscope Specimen]", "Hamamatsu VMS"),
}


@pytest.mark.parametrize("name", STARTS)
def test_kinds_that_are_not_read_are_named_with_the_way_out(name: str, tmp_path: Path) -> None:
    content, kind = STARTS[name]
    (tmp_path / name).write_bytes(content)
    match = (
        rf"{name}: is a file of the kind {kind}.* cannot open.* OME-TIFF|{name}: .*{kind}.*cannot be opened"
    )
    with pytest.raises(SlideError, match=match) as caught:
        open_slide(tmp_path / name)
    assert "damaged" not in str(caught.value) and "OME-TIFF" in str(caught.value)


def test_a_dicom_file_that_is_not_a_slide(tmp_path: Path) -> None:
    pytest.importorskip("wsidicom")
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + bytes(64))
    with pytest.raises(SlideError, match=r"a\.dcm: is a DICOM file, but not of a whole slide.*as OME-TIFF"):
        open_slide(path)


@pytest.mark.parametrize(
    ("extra", "name", "content"),
    [("dicom", "a.dcm", bytes(128) + b"DICM"), ("openslide", "a.mrxs", b"\xff\xd8\xff\xe0")],
)
def test_a_missing_extra_is_named(
    extra: str, name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellgennet_qupath.slides.sources.missing", lambda name: (name,))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=rf"pip install .*\[{extra}\].*OME-TIFF"):
        open_slide(tmp_path / name)


@pytest.mark.parametrize("mark", ["zarr.json", ".zgroup", ""])
def test_folders_that_hold_no_slide(mark: str, tmp_path: Path) -> None:
    folder = tmp_path / "slide"
    folder.mkdir()
    if mark == "zarr.json":
        (folder / mark).write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    elif mark:
        (folder / mark).write_text('{"zarr_format": 2}')
    with pytest.raises(
        SlideError, match=f"slide: is a {'Zarr' if mark else 'folder'}.*Export it from QuPath"
    ):
        open_slide(folder)


def test_a_plate_is_not_a_slide(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "plate": {}}
    with pytest.raises(SlideError, match="plate with wells"):
        open_slide(tmp_path / "a.zarr")


# DICOM: a slide is a series, whichever of its files is named


def test_any_file_of_a_dicom_series_opens_the_slide(tmp_path: Path) -> None:
    pytest.importorskip("wsidicom")
    image, _ = marked()
    first = write_dicom(tmp_path, image)
    other = write_dicom(tmp_path / "other", 255 - image)
    for file in other.parent.iterdir():  # two slides in one folder
        file.rename(tmp_path / f"other-{file.name}")
    for name in ("level0.dcm", "level2.dcm"):
        with open_slide(tmp_path / name) as reader:
            assert (reader.width, reader.height) == SIZE
            assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), image)
    with open_slide(tmp_path / "other-level3.dcm") as reader:
        assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), 255 - image)
    with pytest.raises(SlideError, match="2 series of images"):
        open_slide(tmp_path)
    assert first.exists()


def test_the_folder_of_a_dicom_series_opens_the_slide(tmp_path: Path) -> None:
    pytest.importorskip("wsidicom")
    image, _ = marked()
    write_dicom(tmp_path / "slide", image)
    with open_slide(tmp_path / "slide") as reader:
        assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), image)


# OME-Zarr


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_zarr_opens_by_its_folder_or_by_the_file_that_qupath_records(version: str, tmp_path: Path) -> None:
    image, _ = marked()
    folder = write_zarr(tmp_path / "a.ome.zarr", image, version)
    mark = ".zattrs" if version == "0.4" else "zarr.json"
    for path in (folder, folder / mark):
        with open_slide(path) as reader:
            assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), image)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_a_zarr_by_bioformats2raw(version: str, tmp_path: Path) -> None:
    image, _ = marked()
    folder = tmp_path / "a.zarr"
    root = zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update(layout if version == "0.4" else {"ome": layout | {"version": "0.5"}})
    write_zarr(folder / "0", image, version)
    write_zarr(folder / "1", 255 - image, version)
    for series, expected in ((0, image), (1, 255 - image)):
        with open_slide(folder, series) as reader:
            assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), expected)
    with pytest.raises(SlideError, match="has no image number 3"):
        open_slide(folder, 2)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("yx", ()), ("cyx", (1,)), ("zyx", (2,)), ("tczyx", (2, 3, 2)), ("czyx", (3, 1))],
)
def test_axes_of_a_zarr(axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    image, _ = marked()
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    grey = np.zeros((*shape, *image.shape[:2]), np.uint16)
    channels = shape[axes.index("c")] if "c" in axes else 1
    for channel in range(channels):
        place = tuple(channel if axis == "c" else 0 for axis in axes[:-2])
        grey[place] = image[..., channel].astype(np.uint16) * 257
    group.create_array("0", data=grey, chunks=(*(1,) * len(shape), 256, 256))
    units = {"y": "nanometer", "x": "nanometer"}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": axis, "unit": units.get(axis)} for axis in axes],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [{"type": "scale", "scale": [125.0] * len(axes)}],
                    }
                ],
                "coordinateTransformations": [{"type": "scale", "scale": [2.0] * len(axes)}],
            }
        ],
    }
    with open_slide(path) as reader:
        assert reader.mpp == pytest.approx((0.25, 0.25))
        planes = int(np.prod([n for axis, n in zip(axes, shape, strict=False) if axis in "zt"]))
        assert reader.notes == (
            (f"is a stack of {planes} planes, of which the first is read (z = 0, t = 0)",)
            if planes > 1
            else ()
        )
        read = reader.read_grid(0, 0, *SIZE, 1.0)
    assert np.array_equal(read, image if channels == 3 else image[..., :1].repeat(3, 2))


@pytest.mark.parametrize(("dtype", "factor"), [(">u2", 257), ("<u2", 257), (">u2", 1)])
def test_a_zarr_in_16_bits_of_either_order(tmp_path: Path, dtype: str, factor: int) -> None:
    image, path = marked()[0], tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=(image.transpose(2, 0, 1).astype(np.uint16) * factor).astype(dtype))
    group.attrs["multiscales"] = [{"version": "0.3", "axes": ["c", "y", "x"], "datasets": [{"path": "0"}]}]
    with open_slide(path) as reader:
        if factor == 1:
            assert "none of its 16-bit samples is above 255" in reader.notes[0]
        else:
            assert not reader.notes
            assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), image)


def _made_grey(folder: Path, bits: int) -> None:
    """DICOM files in RGB become monochrome, of 16 bits of which so many are used; the values are of green."""
    pydicom = pytest.importorskip("pydicom")
    for file in folder.iterdir():
        d = pydicom.dcmread(file)
        shape = (int(d.NumberOfFrames), d.Rows, d.Columns, 3)
        green = np.frombuffer(d.PixelData, np.uint8)[: int(np.prod(shape))].reshape(shape)[..., 1]
        scaled = np.rint(green * ((2**bits - 1) / 255)).astype(np.uint16)
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        del d.PlanarConfiguration
        d.BitsAllocated, d.BitsStored, d.HighBit = 16, 16, 15
        d.PixelData = scaled.tobytes()
        d.save_as(file)


@pytest.mark.parametrize("bits", [12, 16])
def test_a_dicom_of_more_than_8_bits(tmp_path: Path, bits: int) -> None:
    pytest.importorskip("wsidicom")
    image = marked()[0]
    path = write_dicom(tmp_path / "d", image)
    _made_grey(path.parent, bits)
    with open_slide(path) as reader:
        assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), image[..., 1:2].repeat(3, 2))


def test_a_zarr_of_five_channels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((5, 20, 30), np.uint8))
    group.attrs["multiscales"] = [{"version": "0.3", "axes": ["c", "y", "x"], "datasets": [{"path": "0"}]}]
    with pytest.raises(SlideError, match=r"5 channel\(s\)"):
        open_slide(path)
    assert json.loads((path / ".zattrs").read_text())


# Ventana BIF: tiles overlap


def test_a_bif_is_left_to_openslide(tmp_path: Path) -> None:
    path = tmp_path / "a.bif"
    tifffile.imwrite(
        path,
        marked()[0],
        tile=(128, 128),
        photometric="rgb",
        metadata=None,
        software="ScanOutputManager 1.0",
        description="level=0 mag=40 quality=95",
        extratags=[(700, 1, None, b"<iScan></iScan>", True)],
    )
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bif
    with pytest.raises(SlideError, match="Ventana BIF"):
        open_slide(path)
