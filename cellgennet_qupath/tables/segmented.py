"""Whether an image without nuclei was segmented: 0 is a result, an empty cell is none."""

from __future__ import annotations

from ..qupath.project import ImageEntry, Project
from ..segmentation.present import present_nuclei
from ..segmentation.record import read_record, why_not_trusted


def why_unknown(project: Project, entry: ImageEntry) -> str:
    """Why the number of nuclei of an image that holds none is not known to be 0; "" if it is.

    The reason follows the image's name in a message.
    """
    record = read_record(project, entry)
    why = why_not_trusted(project, entry) if record is None else ""
    if why:
        return f"has a segmentation that {why}"
    if record is None:
        # Versions without records left only their file, in projects without QuPath.
        file = project.work_folder / "detections" / f"{entry.id}.geojson.gz"
        return "" if project.backend == "files" and file.is_file() else "was never segmented"
    if present_nuclei(project, entry, record).state in ("gone", "unreadable", "damaged"):
        return f"holds none of the {record.count} nuclei that were found in it"
    return ""
