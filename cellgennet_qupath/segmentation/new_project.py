"""A new QuPath project of images, with the nuclei that were found before there was a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.environment import of_image
from ..core.errors import SlideError, UsageError
from ..core.progress import SILENT, Reporter
from ..qupath.create import Builder, builders_of_qupath, check_new, write_first_nuclei, write_project
from ..qupath.image_list import is_loose, name_of, own_files
from ..qupath.loose import LooseImages
from ..qupath.open import Backend, installation_for, open_project
from ..qupath.origin import origin_of
from ..qupath.project import ImageEntry, NewImage, Project, WriteOptions, WrittenDetections
from ..qupath.search import FoundImage, find_images, in_words
from ..slides.pixel_size import resolve_mpp
from ..slides.reader import slide_size
from .present import nuclei_digest
from .record import file_checksum, place_of, read_record, write_record


@dataclass
class NewProject:
    """A project that was made.

    images  : the names of its images; ``nuclei``: how many are in the project.
    failed  : one line for each image that is not in it, or whose nuclei are not.
    backend : "qupath" if the nuclei are in QuPath's own files, else "files".
    """

    path: Path
    backend: str
    images: list[str]
    nuclei: int = 0
    failed: list[str] = field(default_factory=list)


def make_project(
    places: Sequence[Path],
    folder: Path,
    mpp: float | None = None,
    nuclei: Path | None = None,
    backend: Backend = "auto",
    reporter: Reporter = SILENT,
) -> NewProject:
    """See ``images.create_project``."""
    check_new(folder)
    installation = installation_for(backend)
    if nuclei is not None and not is_loose(nuclei):
        raise UsageError(nuclei, "does not hold results of `segment FOLDER -o`", "Check --nuclei")
    if len(places) == 1 and is_loose(places[0]):
        nuclei, listed = nuclei or places[0], _listed(places[0])
    else:
        found, passed = find_images(places, [folder, *(own_files(nuclei) if nuclei else ())])
        listed = [(image, "") for image in found]
        for line in in_words(passed):
            reporter.warn(line)
    new, failed = _new_images(listed, mpp)
    builders = _builders(new, installation is not None, failed, reporter)
    new = [image for image in new if image.path in builders]
    for line in failed:
        reporter.warn(f"Left out: {line}")
    if not new:
        raise UsageError(folder, "no image can be opened, so no project was made", "See the lines above")
    version = installation.version if installation else ""
    write_project(folder, new, [builders[image.path] for image in new], version)
    used: Backend = "qupath" if installation else "files"
    made = NewProject(folder.resolve(), used, [image.name for image in new], failed=failed)
    if nuclei is not None:
        _take_nuclei(made, nuclei, used, reporter)
    return made


def _listed(folder: Path) -> list[tuple[FoundImage, str]]:
    """The images of a folder of results, with the names that they have there."""
    with LooseImages(folder) as loose:
        return [(FoundImage(e.slide or Path(e.name), e.size, e.mpp), e.name) for e in loose.entries]


def _new_images(
    listed: Sequence[tuple[FoundImage, str]], mpp: float | None
) -> tuple[list[NewImage], list[str]]:
    """The images that can be in a project, and one line for each of the others."""
    new: list[NewImage] = []
    failed: list[str] = []
    for image, name in listed:
        if image.size is None or not image.path.exists():
            failed.append(f"{name or image.path}: cannot be opened.")
            continue
        calibration = resolve_mpp(None, image.mpp, mpp, image.path.name)
        sides = calibration.mpp_x, calibration.mpp_y
        size = None if sides[0] is None or sides[1] is None else (sides[0], sides[1])
        unlike = name or name_of(image.path, {one.name.casefold() for one in new})
        new.append(NewImage(image.path.resolve(), unlike, image.size, size))
    return new, failed


def _builders(
    images: Sequence[NewImage], with_qupath: bool, failed: list[str], reporter: Reporter
) -> Mapping[Path, Builder | None]:
    """How QuPath opens each image, None where it is not asked; an image that it sees otherwise is missing."""
    if not with_qupath:
        return dict.fromkeys(image.path for image in images)
    builders: dict[Path, Builder | None] = {}
    for image, builder in zip(images, builders_of_qupath(images), strict=True):
        if isinstance(builder, SlideError):
            failed.append(str(builder))
            continue
        builders[image.path] = builder
        if builder is None:
            reporter.warn(f"{image.name}: this QuPath has no reader for it; the usual one is recorded.")
    return builders


def _take_nuclei(made: NewProject, results: Path, backend: Backend, reporter: Reporter) -> None:
    """Write the nuclei of a folder of results into a new project."""
    with (
        LooseImages(results, reporter=reporter) as loose,
        open_project(made.path, backend, None, slide_size, True, reporter) as project,
    ):
        earlier = {entry.uri: entry for entry in loose.entries}
        with reporter.track("writing nuclei", len(project.entries), "images") as task:
            for entry in project.entries:
                known = None if entry.slide is None else earlier.get(entry.slide.resolve().as_uri())
                try:
                    if known is not None and loose.detections_file(known).is_file():
                        made.nuclei += _write(project, entry, loose, known).count
                except Exception as error:
                    made.failed.append(of_image(entry.name, error))
                    reporter.warn(made.failed[-1])
                task.advance(1, f"{made.nuclei} nuclei")


def _write(project: Project, entry: ImageEntry, loose: LooseImages, known: ImageEntry) -> WrittenDetections:
    nuclei, record = loose.stored_nuclei(known), read_record(loose, known)
    history = {} if record is None else dict(record.inputs.get("writing", {}).get("history", {}))
    options = WriteOptions(history={**history, "taken from": str(loose.path)})
    kind = "BRIGHTFIELD_H_E" if loose.stains(known) is not None else ""
    written = write_first_nuclei(project, entry, nuclei, options, kind)
    if record is not None:
        # What the nuclei were made from stays known; another run sees that they are written elsewhere now.
        now = replace(
            record,
            origin=origin_of(entry),
            count=written.count,
            file=place_of(project, written.file),
            checksum=file_checksum(written.file),
            nuclei=nuclei_digest(project, entry),
            note=written.note,
        )
        write_record(project, entry, now)
    return written
