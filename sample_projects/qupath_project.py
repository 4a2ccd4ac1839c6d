"""The QuPath project of the sample slides, written by QuPath itself through paquo.

paquo finds QuPath automatically or through the environment variable PAQUO_QUPATH_DIR. Use QuPath 0.5:
later versions open its projects.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from annotations import CLASSES, Drawn
from tissue import Recipe


def write_project(folder: Path, slides: Mapping[Path, tuple[Recipe, Sequence[Drawn]]]) -> None:
    """Create a project in a folder that does not exist yet, with copies of the slides and their annotations.

    QuPath records the current path of the folder.
    """
    from paquo.classes import QuPathPathClass
    from paquo.colors import QuPathColor
    from paquo.images import QuPathImageType
    from paquo.projects import QuPathProject

    project = QuPathProject(folder, mode="x")
    classes = [QuPathPathClass(name, color=QuPathColor(*color)) for name, color in CLASSES.items()]
    project.path_classes = classes
    java_classes = {path_class.name: path_class.java_object for path_class in classes}
    (folder / "slides").mkdir()
    for original, (recipe, drawn) in slides.items():
        slide = Path(shutil.copy(original, folder / "slides"))
        entry = project.add_image(slide, image_type=QuPathImageType.BRIGHTFIELD_H_E)
        entry.java_object.setImageName(slide.name)
        data = entry.java_object.readImageData()
        _calibrate(data, recipe)
        _set_stains(data, recipe)
        data.getHierarchy().addObjects(_objects(drawn, java_classes))
        entry.java_object.saveImageData(data)
        data.getServer().close()
    project.java_object.syncChanges()
    (folder / "project.qpproj.backup").unlink(missing_ok=True)


def _calibrate(data: Any, recipe: Recipe) -> None:
    """Set the pixel size, which QuPath's own TIFF reader (without Bio-Formats) does not read."""
    import jpype

    server = data.getServer()
    if abs(server.getPixelCalibration().getAveragedPixelSizeMicrons() - recipe.mpp) < 1e-9:
        return
    metadata = jpype.JClass("qupath.lib.images.servers.ImageServerMetadata")
    changed = metadata.Builder(server.getMetadata()).pixelSizeMicrons(recipe.mpp, recipe.mpp).build()
    data.updateServerMetadata(changed)


def _set_stains(data: Any, recipe: Recipe) -> None:
    import jpype

    stain = jpype.JClass("qupath.lib.color.StainVector").createStainVector
    colours = np.array(recipe.stains)
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    hematoxylin = stain("Hematoxylin", *(float(v) for v in colours[0]))
    eosin = stain("Eosin", *(float(v) for v in colours[1]))
    deconvolution = jpype.JClass("qupath.lib.color.ColorDeconvolutionStains")
    data.setColorDeconvolutionStains(
        deconvolution("H&E of this slide", hematoxylin, eosin, *(float(v) for v in recipe.white))
    )


def _objects(drawn: Sequence[Drawn], classes: Mapping[str, Any]) -> Any:
    import jpype

    rois = jpype.JClass("qupath.lib.roi.ROIs")
    plane = jpype.JClass("qupath.lib.regions.ImagePlane").getDefaultPlane()
    annotate = jpype.JClass("qupath.lib.objects.PathObjects").createAnnotationObject
    parse_id = jpype.JClass("java.util.UUID").fromString
    objects = jpype.JClass("java.util.ArrayList")()
    for item in drawn:
        if item.shape == "polygon":
            columns = [jpype.JArray(jpype.JDouble)(item.points[:, axis].tolist()) for axis in (0, 1)]
            roi = rois.createPolygonROI(*columns, plane)
        else:
            (x, y), (right, bottom) = item.points.tolist()
            make = rois.createRectangleROI if item.shape == "rectangle" else rois.createEllipseROI
            roi = make(x, y, right - x, bottom - y, plane)
        made = annotate(roi, classes[item.path_class]) if item.path_class else annotate(roi)
        made.setID(parse_id(item.id))
        made.setLocked(item.locked)
        objects.add(made)
    return objects
