"""A whole project: image after image, each on its own, resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from .. import __version__
from ..bundle import Bundle
from ..core.config import ClassNames
from ..core.environment import in_one_line
from ..core.errors import EntryDataError, Interrupted, UsageError
from ..core.extras import require
from ..core.files import confined, remove_tree
from ..core.progress import SILENT, Reporter
from ..core.wording import composed
from ..qupath.choose import chosen
from ..qupath.loose import LooseImages
from ..qupath.project import ImageEntry, Project, Within, WriteOptions
from .adjust import adjusted, choices
from .image import segment_image
from .log import Batch
from .model import Model
from .options import SegmentOptions
from .plan import geometry_of_class
from .prepare import Run
from .record import mixed_nuclei, read_record, write_record
from .result import ImageResult
from .workers import Workers, local_workers

_LOG = logging.getLogger(__name__)
_DEFAULTS = SegmentOptions()


def segment_project(
    project: Project,
    bundle: Bundle | Model,
    options: SegmentOptions = _DEFAULTS,
    *,
    reporter: Reporter = SILENT,
    on_image: Callable[[ImageResult], None] | None = None,
) -> list[ImageResult]:
    """Segment a project's images and write their nuclei into the project.

    on_image : called with the result of each image as soon as its nuclei are written; without it, a failure
               is a warning of ``reporter``.

    An image that fails does not stop the others: its result has the reason. Raises UsageError where no
    image is chosen, MissingExtraError where workers need Dask, BundleError, and Interrupted (resumable) on
    Ctrl-C.
    """
    if options.dask is not None:
        require("cluster", "--dask")
    entries = _entries(project, options)
    if isinstance(entries, Sequence):
        _check_within(project, entries, options.within)
        _check_cores(project, entries, options.cores)
    if options.dask is not None and options.workers > 1:
        raise UsageError("workers and dask", "exclude each other", "Give only one of them")
    model = adjusted(bundle if isinstance(bundle, Model) else _load(bundle, options), options)
    if not options.resume:
        # Only what this command left: training runs are in the same folder.
        for earlier in (project.work_folder / "runs").glob("segment-*"):
            remove_tree(project.work_folder, earlier)
        for entry in entries if isinstance(entries, Sequence) else ():
            _restart(project, entry)
    total = len(entries) if isinstance(entries, Sequence) else 0
    results: list[ImageResult] = []
    batch: Batch | None = None
    try:
        with _client(options) as client:
            run = _run(project, bundle, model, options, client, reporter)
            batch = Batch.begin(project.work_folder, project.backend, run.writing.history, model.learnt_from)
            for number, entry in enumerate(entries, start=1):
                reporter.say(f"[{number}/{total}] {entry.name}" if total else f"[{number}] {entry.name}")
                if not total and not options.resume:
                    _restart(project, entry)
                result = _isolated(run, entry)
                results.append(result)
                if on_image is not None:
                    on_image(result)
                elif result.status == "failed":
                    reporter.warn(result.sentence())
    except KeyboardInterrupt as error:
        if batch is not None:
            batch.write(results, "interrupted", reporter)
        of = f" of {total}" if total else ""
        raise Interrupted(
            "segment",
            f"stopped; {len(results)}{of} images are done, the next one in part",
            "Run the same command again to continue",
        ) from error
    if batch is not None:
        batch.write(results, "finished", reporter)
    for line in mixed_nuclei(project):
        reporter.warn(line)
    return results


def _entries(project: Project, options: SegmentOptions) -> Iterable[ImageEntry]:
    """The chosen images; lazily where their ids come from an iterator."""
    if isinstance(options.image_ids, Sequence):
        every = project.entries
        if isinstance(project, LooseImages):
            every = [entry for entry in every if entry.id in project.given]
        return chosen(every, options.images, options.image_ids, project.path)
    ids = options.image_ids
    return (entry for one in ids for entry in chosen(project.entries, (), (one,), project.path))


def _restart(project: Project, entry: ImageEntry) -> None:
    """Make an image count as not done."""
    record = read_record(project, entry)
    if record is not None and record.current:
        write_record(project, entry, replace(record, current=False))


def _load(bundle: Bundle, options: SegmentOptions) -> Model:
    threads = options.threads
    if options.workers > 1:
        threads = max(1, (threads or os.cpu_count() or 1) // options.workers)
    return Model.from_bundle(bundle, threads, options.device, options.precision)


def _client(options: SegmentOptions) -> AbstractContextManager[Workers | None]:
    """The workers that segment tiles; None for this process alone."""
    if options.dask is None:
        return nullcontext() if options.workers == 1 else local_workers(options.workers)
    from .cluster import dask_workers

    return dask_workers(options.dask, options.worker_timeout)


def _run(
    project: Project,
    bundle: Bundle | Model,
    model: Model,
    options: SegmentOptions,
    client: Workers | None,
    reporter: Reporter,
) -> Run:
    device = model.predictor.device
    decisive: list[object] = [
        __version__,
        model.fingerprint,
        device,
        options.within,
        options.tile,
        options.mpp,
    ]
    if choices(options):
        decisive.append(choices(options))
    if options.within_ids or options.cores:
        decisive += [list(options.within_ids), list(options.cores)]
    name = "segment-" + hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:12]
    history = {"model": bundle.card.name} if isinstance(bundle, Bundle) else {}
    history |= {"checksum": f"sha256:{model.fingerprint}", "cellgennet_qupath": __version__}
    history |= {"computed on": device}
    if model.mpp is not None:
        history["scale"] = f"{model.mpp:g} µm per pixel"
    history |= choices(options)
    history["decoding"] = json.dumps(model.decoding.model_dump(mode="json"))
    if options.cells is not None:
        history["cells"] = f"{options.cells:g} µm"
    return Run(
        project=project,
        model=model,
        options=options,
        writing=WriteOptions(options.existing, options.inside, history),
        classes=bundle.config.classes if isinstance(bundle, Bundle) else ClassNames(),
        model_name=bundle.card.name if isinstance(bundle, Bundle) else "",
        folder=confined(project.work_folder, project.work_folder / "runs" / name),
        client=client,
        reporter=reporter,
    )


def _check_within(project: Project, entries: Sequence[ImageEntry], within: str | None) -> None:
    """Raises UsageError where no chosen image has a closed annotation of the class."""
    if within is None:
        return
    classes: set[str] = set()
    elsewhere = False
    for entry in entries:
        try:
            annotations = project.annotations(entry)
        except EntryDataError:  # reported when its turn comes
            return
        if geometry_of_class(annotations, within) is not None:
            return
        elsewhere |= any(
            Within(within).is_of_class(a.path_class) and (a.plane.z or a.plane.t) for a in annotations
        )
        classes |= {a.path_class for a in annotations if geometry_of_class([a], a.path_class) is not None}
    named = ", ".join(sorted(classes - {""})) or "none"
    missing = "no image has a closed annotation of this class"
    if elsewhere:
        missing += " on its first z-slice and time point, which is the one that is segmented"
    raise UsageError(f"--within {within}", missing, f"The classes are: {named}")


def _check_cores(project: Project, entries: Sequence[ImageEntry], names: Sequence[str]) -> None:
    """Raises UsageError for a name that no core of the chosen images has."""
    if not names:
        return
    cores = []
    for entry in entries:
        try:
            cores += project.cores(entry)
        except EntryDataError:  # reported when its turn comes
            return
    known = {composed(core.name or "") for core in cores}
    for name in names:
        if not cores:
            raise UsageError(
                f"--core {name}",
                "no image has the grid of a tissue microarray",
                "Make one in QuPath (TMA > TMA dearrayer) and save the image",
            )
        if name != "all" and composed(name) not in known:
            listed = ", ".join(sorted(filter(None, known))) or "none"
            raise UsageError(f"--core {name}", "no core has this name", f"The cores are: {listed}")


def _isolated(run: Run, entry: ImageEntry) -> ImageResult:
    """The result of one image, whatever happens to it."""
    begin = time.monotonic()
    try:
        return segment_image(run, entry)
    except Interrupted:
        raise
    except Exception as error:
        # A bug of ours (or too little memory) on one slide must not cost the night's other slides.
        _LOG.debug("segmenting %s failed", entry.name, exc_info=True)
        reason = in_one_line(error)
    return ImageResult(entry.id, entry.name, "failed", 0, reason, time.monotonic() - begin)
