"""The result for one image, and why it has no nuclei."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import shapely

from ..bundle import Bundle
from ..qupath.project import WrittenDetections
from .assemble import SlideNuclei
from .task import SlideTask

_PLAUSIBLE = (0.08, 2.0)
"""µm per pixel between which a microscope's picture shows nuclei: 100x down to 5x."""


@dataclass(frozen=True)
class ImageResult:
    """The result for one image.

    status  : "done", "skipped" (nothing to do; its detections are unchanged) or "failed".
    count   : this tool's nuclei that the image has now.
    reason  : why there are none, or what failed; else empty.
    seconds : how long it took; 0 if an earlier run had done it.
    written : the file they were written to.
    device  : what computed them: device, runtime and precision.
    note    : what else happened to its detections: kept as a person edited them, or replaced.
    findings: what was odd about the slide, one sentence each; empty if an earlier run had done it.
    mm2     : the area in which these nuclei were looked for, also by earlier runs whose nuclei stay, glass
              included; None without a pixel size, or where it is not known.
    """

    id: str
    name: str
    status: Literal["done", "skipped", "failed"]
    count: int = 0
    reason: str = ""
    seconds: float = 0.0
    written: WrittenDetections | None = None
    device: str = ""
    note: str = ""
    mm2: float | None = None
    findings: tuple[str, ...] = ()

    @property
    def density(self) -> float | None:
        """Nuclei per mm² of the area in which they were looked for."""
        return self.count / self.mm2 if self.mm2 and self.status == "done" else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "detections": self.count,
            "reason": self.reason,
            "seconds": round(self.seconds, 1),
            "place": str(self.written.file) if self.written else None,
            "device": self.device or None,
            "note": self.note,
            "area_mm2": self.mm2,
            "per_mm2": self.density,
        }

    def sentence(self) -> str:
        """One line for the user."""
        if self.status == "failed":
            return f"{self.name}: FAILED: {self.reason.removeprefix(f'{self.name}: ')}"
        if self.status == "skipped":
            return f"{self.name}: skipped: {self.reason}"
        found = f"{self.count} nuclei" if self.count else f"no nuclei: {self.reason}"
        when = f"in {self.seconds:.0f} s" if self.seconds else "in an earlier run"
        place = f" -> {self.written.file}" if self.written else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: {found} ({when}{note}){place}"


@dataclass(frozen=True)
class Segmentation:
    """What ``segment`` did: one result per image, in the order of the project.

    page : the HTML page about the run; None where it could not be written (a warning says why).
    """

    images: list[ImageResult]
    bundle: Bundle
    backend: str
    page: Path | None

    @property
    def failed(self) -> list[ImageResult]:
        """The images that could not be segmented, with the reason; the others are saved."""
        return [image for image in self.images if image.status == "failed"]

    @property
    def nuclei(self) -> int:
        """Nuclei written, over all images."""
        return sum(image.count for image in self.images)


def tally(results: Sequence[ImageResult]) -> str:
    """How many images are done, skipped and failed, as one sentence."""
    number = Counter(result.status for result in results)
    done = f"{number['done']} of {len(results)} images done"
    rest = [f"{number[status]} {status}" for status in ("skipped", "failed") if number[status]]
    return f"{', '.join([done, *rest])}."


def why_nothing(task: SlideTask, nuclei: SlideNuclei, has_tiles: bool, mpp: float | None) -> str:
    """Why a slide has no nuclei."""
    rest = " (ignored and Corrected areas are left out)" if task.area.ignored is not None else ""
    return _why_nothing(task, nuclei, has_tiles, mpp) + rest


def _why_nothing(task: SlideTask, nuclei: SlideNuclei, has_tiles: bool, mpp: float | None) -> str:
    size = "an unknown pixel size" if mpp is None else f"{mpp:.3g} µm per pixel"
    if not task.area.tissue.tissue.any():
        return "no tissue was found on the slide"
    if not has_tiles:
        return _why_no_tiles(task)
    if mpp is not None and not _PLAUSIBLE[0] <= mpp <= _PLAUSIBLE[1]:
        return f"its pixel size is probably wrong ({size}); correct it in QuPath (Image tab)"
    if nuclei.highest <= task.model.decoding.foreground:
        return (
            f"nothing looked like a nucleus (foreground probability at most {nuclei.highest:.2f}, "
            f"{task.model.decoding.foreground:g} is needed); check the stain and the pixel size ({size})"
        )
    causes = ["too small", "too wide", "too faint", *_chosen_causes(task)]
    return f"all candidates were {', '.join(causes[:-1])} or {causes[-1]}; check the pixel size ({size})"


def _why_no_tiles(task: SlideTask) -> str:
    within = task.area.within
    if within is None:
        return "no tissue is left to segment"
    if not shapely.intersects(within, shapely.box(0, 0, task.pixels.width, task.pixels.height)):
        return "the annotations are beside the image"
    return "no tissue was found inside the annotations"


def _chosen_causes(task: SlideTask) -> list[str]:
    """Why a candidate may have been left out because of what a user chose."""
    limits = task.model.limits
    causes = []
    if limits.area_um2:
        causes.append(f"below the least area ({limits.area_um2:g} µm²)")
    if limits.probability:
        causes.append(f"below the threshold ({limits.probability:g})")
    if task.area.within is not None:
        causes.append("centred outside the annotations")
    return causes
