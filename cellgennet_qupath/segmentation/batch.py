"""A whole project: image after image, each on its own, resumable."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from .. import __version__
from ..bundle import Bundle
from ..core.errors import CellGenNetError, Interrupted, UsageError
from ..core.extras import require
from ..core.files import confined, remove_tree
from ..core.progress import SILENT, Reporter
from ..qupath.project import ImageEntry, Project, WriteOptions
from .checkpoint import remove
from .image import segment_image
from .model import Model
from .options import SegmentOptions
from .prepare import Run
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
) -> list[ImageResult]:
    """Segment a project's images and write their nuclei into the project.

    An image that fails does not stop the others: its result has the reason. Raises UsageError where no
    image is chosen, MissingExtraError where workers need Dask, BundleError, and Interrupted (resumable) on
    Ctrl-C.
    """
    if options.dask is not None:
        require("cluster", "--dask")
    entries = _chosen(project, options.images)
    model = bundle if isinstance(bundle, Model) else _load(bundle, options)
    if not options.resume:
        # Only what this command left: training runs are in the same folder.
        for earlier in (project.work_folder / "runs").glob("segment-*"):
            remove_tree(project.work_folder, earlier)
    results: list[ImageResult] = []
    try:
        with _client(options) as client:
            run = _run(project, bundle, model, options, client, reporter)
            for number, entry in enumerate(entries, start=1):
                reporter.say(f"[{number}/{len(entries)}] {entry.name}")
                result = _isolated(run, entry)
                results.append(result)
                if result.status == "failed":
                    reporter.warn(result.sentence())
    except KeyboardInterrupt as error:
        raise Interrupted(
            "segment",
            f"stopped; {len(results)} of {len(entries)} images are done, the next one in part",
            "Run the same command again to continue",
        ) from error
    if all(result.status != "failed" for result in results):
        for entry in entries:
            remove(run.folder / entry.id)
    return results


def _load(bundle: Bundle, options: SegmentOptions) -> Model:
    threads = options.threads
    if options.workers > 1:
        threads = max(1, (threads or os.cpu_count() or 1) // options.workers)
    return Model.from_bundle(bundle, threads, options.device)


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
    decisive = [__version__, model.fingerprint, device, options.within, options.tile, options.mpp]
    name = "segment-" + hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:12]
    history = {"model": bundle.card.name} if isinstance(bundle, Bundle) else {}
    history |= {"checksum": f"sha256:{model.fingerprint}", "cellgennet_qupath": __version__}
    history |= {"computed on": device}
    if options.cells is not None:
        history["cells"] = f"{options.cells:g} µm"
    return Run(
        project=project,
        model=model,
        options=options,
        writing=WriteOptions(options.existing, options.within, history),
        folder=confined(project.work_folder, project.work_folder / "runs" / name),
        client=client,
        reporter=reporter,
    )


def _chosen(project: Project, patterns: Sequence[str]) -> list[ImageEntry]:
    if not project.entries:
        raise UsageError(project.path, "contains no images", "Add slides to the project in QuPath")

    def matches(entry: ImageEntry, pattern: str) -> bool:
        names = [entry.name, entry.id, entry.slide.name if entry.slide else entry.name]
        return any(fnmatch.fnmatchcase(name, pattern) for name in names)

    for pattern in patterns:
        if not any(matches(entry, pattern) for entry in project.entries):
            raise UsageError(
                f"--image {pattern}",
                "no image of the project matches",
                f"Its images are: {', '.join(entry.name for entry in project.entries)}",
            )
    return [e for e in project.entries if not patterns or any(matches(e, p) for p in patterns)]


def _isolated(run: Run, entry: ImageEntry) -> ImageResult:
    """The result of one image, whatever happens to it."""
    begin = time.monotonic()
    try:
        return segment_image(run, entry)
    except Interrupted:
        raise
    except CellGenNetError as error:
        reason = str(error)
    except Exception as error:
        # A bug of ours (or too little memory) on one slide must not cost the night's other slides.
        _LOG.debug("segmenting %s failed", entry.name, exc_info=True)
        reason = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    return ImageResult(entry.id, entry.name, "failed", 0, reason, time.monotonic() - begin)
