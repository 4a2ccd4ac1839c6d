"""Writers of one image as DICOM, OME-Zarr and plain pictures, and as TIFF by libvips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zarr

from .tiffs import TILE, Pixels, halved, padded

MPP = 0.25


def write_picture(path: Path, image: Pixels) -> Path:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1], quality)[1].tobytes())
    return path


def write_vips(path: Path, image: Pixels, shrink: str, *, subifd: bool = False) -> Path:
    """A pyramid by libvips. shrink: how levels are made ("mean", "nearest")."""
    import pyvips

    picture = pyvips.Image.new_from_array(np.ascontiguousarray(image), interpretation="srgb")
    picture = picture.copy(xres=1000 / MPP, yres=1000 / MPP)  # pixels per millimetre
    picture.tiffsave(
        str(path),
        tile=True,
        tile_width=TILE[0],
        tile_height=TILE[1],
        pyramid=True,
        subifd=subifd,
        compression="deflate",
        region_shrink=shrink,
        resunit="cm",
    )
    return path


def write_zarr(path: Path, image: Pixels, version: str, nearest: bool = False) -> Path:
    """An OME-Zarr of version 0.4 (Zarr 2) or 0.5 (Zarr 3), levels of means or of every nth pixel."""
    form: Any = {"0.4": 2, "0.5": 3}[version]
    group: Any = zarr.open_group(path, mode="w", zarr_format=form)
    datasets = []
    for number, step in enumerate((1, 2, 4, 8)):
        level = image[: image.shape[0] // step * step : step, : image.shape[1] // step * step : step]
        pixels = (level if nearest else halved(image, step)).transpose(2, 0, 1)
        keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if form == 2 else {}
        array = group.create_array(
            str(number), shape=pixels.shape, chunks=(3, 256, 256), dtype="uint8", **keys
        )
        array[...] = pixels
        scale = {"type": "scale", "scale": [1, MPP * step, MPP * step]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    multiscales = [{"name": "slide", "axes": axes, "datasets": datasets}]
    if version == "0.4":
        group.attrs["multiscales"] = [multiscales[0] | {"version": version}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    return path


def write_dicom(folder: Path, image: Pixels, series: str = "") -> Path:
    """A DICOM whole-slide image, one file per level; returns the file of full resolution."""
    import pydicom
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    study, uid, frame = generate_uid(), series or generate_uid(), generate_uid()
    for number, step in enumerate((1, 2, 4, 8)):
        pixels = halved(image, step)
        rows, columns = pixels.shape[:2]
        meta: Any = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, uid, frame
        d.Modality, d.SeriesNumber, d.InstanceNumber = "SM", 1, number + 1
        d.PatientName, d.PatientID, d.StudyID, d.AccessionNumber = "", "", "", ""
        d.PatientBirthDate, d.PatientSex, d.StudyDate, d.StudyTime = "", "", "20260101", "000000"
        d.ContentDate, d.ContentTime, d.AcquisitionDateTime = "20260101", "000000", "20260101000000"
        d.Manufacturer, d.ManufacturerModelName = "none", "none"
        d.DeviceSerialNumber, d.SoftwareVersions = "0", "0"
        d.PositionReferenceIndicator = "SLIDE_CORNER"
        d.ReferringPhysicianName = ""
        d.ImageType = [
            "ORIGINAL" if step == 1 else "DERIVED",
            "PRIMARY",
            "VOLUME",
            "NONE" if step == 1 else "RESAMPLED",
        ]
        d.SpecimenLabelInImage, d.BurnedInAnnotation, d.LossyImageCompression = "NO", "NO", "00"
        d.ExtendedDepthOfField, d.FocusMethod, d.VolumetricProperties = "NO", "AUTO", "VOLUME"
        d.DimensionOrganizationType = "TILED_FULL"
        d.ContainerIdentifier = "1"
        d.IssuerOfTheContainerIdentifierSequence = Sequence()
        d.AcquisitionContextSequence = Sequence()
        kind = Dataset()
        kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "433466003", "SCT", "Microscope slide"
        d.ContainerTypeCodeSequence = Sequence([kind])
        specimen = Dataset()
        specimen.SpecimenIdentifier, specimen.SpecimenUID = "1", generate_uid()
        specimen.IssuerOfTheSpecimenIdentifierSequence = Sequence()
        specimen.SpecimenPreparationSequence = Sequence()
        d.SpecimenDescriptionSequence = Sequence([specimen])
        path = Dataset()
        path.OpticalPathIdentifier = "0"
        light = Dataset()
        light.CodeValue, light.CodingSchemeDesignator, light.CodeMeaning = "111744", "DCM", "Brightfield"
        path.IlluminationTypeCodeSequence = Sequence([light])
        path.ICCProfile = b""
        path.ColorSpace = "SRGB"
        d.OpticalPathSequence = Sequence([path])
        d.NumberOfOpticalPaths, d.TotalPixelMatrixFocalPlanes = 1, 1
        d.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
        origin = Dataset()
        origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20, 40
        d.TotalPixelMatrixOriginSequence = Sequence([origin])
        d.ImagedVolumeWidth, d.ImagedVolumeHeight, d.ImagedVolumeDepth = (
            columns * step * MPP / 1000,
            rows * step * MPP / 1000,
            0.001,
        )
        d.TotalPixelMatrixColumns, d.TotalPixelMatrixRows = columns, rows
        measures = Dataset()
        measures.SliceThickness, measures.SpacingBetweenSlices = 0.001, 0.001
        measures.PixelSpacing = [MPP * step / 1000] * 2
        frames = Dataset()
        frames.FrameType = d.ImageType
        shared = Dataset()
        shared.PixelMeasuresSequence = Sequence([measures])
        shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([frames])
        identified = Dataset()
        identified.OpticalPathIdentifier = "0"
        shared.OpticalPathIdentificationSequence = Sequence([identified])
        d.SharedFunctionalGroupsSequence = Sequence([shared])
        d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, "RGB", 0
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 8, 8, 7, 0
        d.Rows, d.Columns = TILE
        whole = padded(pixels)
        tiles = [
            whole[y : y + TILE[0], x : x + TILE[1]].tobytes()
            for y in range(0, whole.shape[0], TILE[0])
            for x in range(0, whole.shape[1], TILE[1])
        ]
        d.NumberOfFrames = len(tiles)
        d.PixelData = b"".join(tiles)
        pydicom.dcmwrite(folder / f"level{number}.dcm", d, enforce_file_format=True)
    return folder / "level0.dcm"
