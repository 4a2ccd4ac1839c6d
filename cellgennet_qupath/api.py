"""The public Python API: what the commands do, as functions. The command line calls these.

Every function takes a path or an opened project, keyword-only options named as on the command line, and a
``reporter`` for messages and progress; without one, messages go to the logger ``cellgennet_qupath``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .core.progress import LOG, Remembering, Reporter
from .images import create_project as create_project
from .images import open_images as open_images

if TYPE_CHECKING:
    from .bundle import Bundle
    from .core.config import Config
    from .evaluation.run import Assessment
    from .networks.device import Device, Precision
    from .qupath.open import Backend
    from .qupath.project import ExistingPolicy, Project
    from .segmentation.result import ImageResult, Segmentation
    from .suggestion.run import SuggestResult
    from .training.recommendation import Keep
    from .training.run import Stage

StrPath = str | os.PathLike[str]


def open_project(
    path: StrPath,
    *,
    backend: Backend = "auto",
    slides: StrPath | None = None,
    writable: bool = True,
    older_qupath: bool = False,
    reporter: Reporter = LOG,
) -> Project:
    """Open a QuPath project, given its folder or its ``project.qpproj``.

    backend  : "qupath" reads and writes through QuPath, "files" reads and writes files only; "auto" takes
               QuPath if paquo finds one.
    slides   : a folder to search for slides that have moved.
    writable : take the project's lock, which ``segment`` and ``train`` need; False only reads.
    older_qupath : write also with a QuPath older than the one that wrote the project.

    Close it, or use it in a ``with`` block. Raises ProjectError, LockedError where another run holds the
    project, and QuPathError where QuPath is asked for and missing.

    >>> import cellgennet_qupath as cgn
    >>> with cgn.open_project("MyProject", writable=False) as project:
    ...     [entry.name for entry in project.entries]
    ['slide1_glands.ome.tif', 'slide2_inflamed.ome.tif', 'slide3_nests.ome.tif', 'slide4_mixed.ome.tif']
    """
    from .qupath.locate import size_of_slide
    from .qupath.open import open_project as opened

    folder = None if slides is None else Path(slides)
    return opened(Path(path), backend, folder, size_of_slide, writable, reporter, older_qupath)


def load_bundle(path: StrPath = "pretrained", *, reporter: Reporter = LOG) -> Bundle:
    """Open a model bundle and verify its checksums; ``"pretrained"`` and ``"pretrained-fast"`` are shipped.

    Fields of another version, and files that are not part of the bundle, are ignored with a warning.
    Raises BundleError, which names the file at fault.

    >>> import cellgennet_qupath as cgn
    >>> bundle = cgn.load_bundle()
    >>> bundle.card.name, bundle.card.mpp
    ('nuclei-he', 0.3333)
    """
    from .bundle import load_bundle as loaded
    from .bundle import named_bundle

    return loaded(named_bundle(Path(path)), reporter)


def train(
    project: Project | StrPath,
    output: StrPath,
    *,
    config: Config | StrPath | None = None,
    init: Bundle | StrPath | None = "pretrained",
    keep: Keep = "recommended",
    stage: Stage = "all",
    resume: bool = False,
    mpp: float | None = None,
    threads: int | None = None,
    reporter: Reporter = LOG,
) -> Bundle:
    """Train a teacher and a student on a project's annotations and write a model bundle to ``output``.

    config  : settings, or a YAML file of them; None for the defaults.
    init    : the bundle to start from, the one shipped by default; None: from ImageNet weights alone.
    keep    : "recommended" writes the start itself where the result is not better (the card says so),
              "trained" the result in any case.
    stage   : "teacher" ends with the teacher; "student" takes the teacher of the bundle at ``output``.
    resume  : continue an interrupted run on the same annotations, images and settings.
    mpp     : µm per pixel of images without a pixel size.
    threads : processor threads; 0 for all; None for the number in ``config``.

    Raises SupervisionError (nothing to train on), TrainingError, BundleError, ConfigError, Interrupted.

    >>> import cellgennet_qupath as cgn
    >>> bundle = cgn.train("MyProject", "my.cgn", config="quick.yaml")
    >>> bundle.holds_teacher
    False
    """
    from .core.config import Config
    from .core.config_file import load_config
    from .report.guarded_pages import training_page
    from .training.run import train_project

    settings = config if isinstance(config, Config) else load_config(None if config is None else Path(config))
    if threads is not None:
        settings = settings.model_copy(update={"threads": threads})
    # A training writes nothing of QuPath's.
    with _opened(project, writable=True, reporter=reporter, older_qupath=True) as opened:
        return train_project(
            opened,
            Path(output),
            settings,
            stage=stage,
            resume=resume,
            mpp=mpp,
            reporter=reporter,
            write_report=training_page(reporter),
            init=None if init is None else _bundle(init, reporter),
            keep=keep,
        )


def segment(
    project: Project | StrPath,
    bundle: Bundle | StrPath = "pretrained",
    *,
    images: Sequence[str] = (),
    image_ids: Sequence[str] | Iterator[str] = (),
    within: str | None = None,
    within_ids: Sequence[str] = (),
    cores: Sequence[str] = (),
    existing: ExistingPolicy = "replace-own",
    cells: float | None = None,
    threshold: float | None = None,
    min_area: float | None = None,
    split: Literal["more", "less"] | None = None,
    scale: float | None = None,
    views: Literal[1, 4] = 1,
    resume: bool = True,
    tile: int = 2048,
    mpp: float | None = None,
    workers: int = 1,
    dask: str | None = None,
    worker_timeout: float | None = None,
    device: Device | Literal["auto"] = "auto",
    precision: Precision = "auto",
    threads: int = 0,
    on_image: Callable[[ImageResult], None] | None = None,
    reporter: Reporter = LOG,
) -> Segmentation:
    """Segment every nucleus of a project's images and write the nuclei into the project as detections.

    images   : names of images or slide files, or patterns (``*``, ``?``); an exact name comes first.
               ``image_ids``: ids, or an iterator, asked for the next one when an image is done. Default: all.
    within   : only in annotations of this class; ``within_ids``: of these ids; ``cores``: only in cores of a
               microarray of these names ("all": all but missing ones). Images without one are skipped.
    existing : detections already there: "replace-own" replaces those of earlier runs, "replace-all" all,
               "keep" none. Annotations are never changed. Replaced detections are kept in the project.
    cells    : µm by which nuclei are expanded into cells; None for nuclei only.
    threshold, min_area, split, scale : least probability, least area in µm², touching nuclei kept apart more
               or less eagerly, µm per pixel at which the network sees the slides; None: as in the bundle.
               ``views``: 4 averages the maps over mirrored views. ``device``: what the network runs on;
               ``precision``: of its arithmetic, "f32" or "bf16"; "auto" is 16 bits where that is faster.
    resume   : skip images that are done from the same inputs, continue interrupted ones; False: start again.
    tile     : side of a tile in samples; no result depends on it. ``mpp``: µm per pixel of images without.
    workers  : processes that share the tiles; ``dask``: a scheduler's address instead, ``worker_timeout``:
               seconds to wait for its first worker; ``threads``: processor threads, 0 for all.
    on_image : called with each image's result as soon as it is written.

    An image that fails does not stop the others: see ``Segmentation.failed``. Raises UsageError where no
    image matches or the precision is missing, BundleError, and Interrupted (resumable) on Ctrl-C.

    >>> import cellgennet_qupath as cgn
    >>> run = cgn.segment("MyProject", images=["slide3*"])
    >>> [image.status for image in run.images], run.nuclei > 100
    (['done'], True)
    """
    from .report.guarded_pages import run_page
    from .segmentation.adjust import choices
    from .segmentation.batch import segment_project
    from .segmentation.options import SegmentOptions
    from .segmentation.result import Segmentation

    model = _bundle(bundle, reporter)
    listener = Remembering(reporter)
    with _opened(project, writable=True, reporter=listener) as opened:
        options = SegmentOptions(
            images=images,
            image_ids=image_ids,
            within=within,
            within_ids=within_ids,
            cores=cores,
            existing=existing,
            cells=cells,
            threshold=threshold,
            min_area=min_area,
            split=split,
            scale=scale,
            views=views,
            resume=resume,
            tile=tile,
            mpp=mpp,
            workers=workers,
            dask=dask,
            worker_timeout=worker_timeout,
            device=device,
            precision=precision,
            threads=threads,
        )
        results = segment_project(opened, model, options, reporter=listener, on_image=on_image)
        page = run_page(opened, results, model, listener, mpp, choices(options))
        return Segmentation(results, model, opened.backend, page)


def evaluate(
    target: Project | StrPath,
    bundles: Bundle | StrPath | Sequence[Bundle | StrPath] = "pretrained",
    *,
    output: StrPath,
    predictions: Mapping[str, StrPath] | None = None,
    teacher: bool = True,
    classical: bool = True,
    split: str | None = None,
    group_by: str | None = None,
    mpp: float | None = None,
    threads: int = 0,
    reporter: Reporter = LOG,
) -> Assessment:
    """Score models on a project's ``Validation`` regions, or on a folder of ``images/`` and ``labels/``.

    bundles     : one or several; the report is about the first, the others are compared with it.
    output      : folder for the HTML report and its tables.
    predictions : results of other tools, name -> folder of label images or GeoJSON, one per image.
    teacher     : also score a bundle's teacher; ``classical``: also a method without learning.
    split       : of a folder with ``manifest.csv``, only images of this split; ``group_by``: the column
                  that groups images.
    mpp         : µm per pixel of images without a pixel size.

    The ground truth and all results of other tools are read once before any work. An image that cannot be
    read is skipped: see ``Assessment.skipped``. Raises UsageError, SupervisionError where nothing can be
    scored or a label image is missing or unusable, BundleError and SlideError.

    >>> import cellgennet_qupath as cgn
    >>> result = cgn.evaluate("MyProject", output="report", classical=False)
    >>> result.evaluation.summary()["pq"].round(1).tolist()
    [0.9]
    """
    from .evaluation import run as scoring
    from .evaluation.checks import check_inputs
    from .evaluation.predictors import predictors_for
    from .evaluation.regions import regions_of
    from .evaluation.verdict import SEEN_IN_TRAINING
    from .qupath.open import is_project_path
    from .report.evaluation_files import REPORT, check_output
    from .report.evaluation_page import write_report

    folder, listener = Path(output), Remembering(reporter)
    check_output(folder)
    models = [_bundle(bundle, reporter) for bundle in _several(bundles)]
    others = {name: Path(place) for name, place in (predictions or {}).items()}
    is_path = isinstance(target, str | os.PathLike)
    is_project = not is_path or is_project_path(Path(target))  # type: ignore[arg-type]
    source = _opened(target, writable=False, reporter=reporter) if is_project else None
    with source or nullcontext(Path(target)) as place:  # type: ignore[arg-type]
        regions = regions_of(place, models, mpp=mpp, split=split, group_by=group_by, reporter=listener)
        subject = (place if isinstance(place, Path) else place.path).resolve().name
    check_inputs(subject, regions, others, models, listener)
    predictors = predictors_for(
        models, others, teacher=teacher, classical=classical, threads=threads, reporter=listener
    )
    reporter.say(f"Comparing: {', '.join(one.name for one in predictors)}.")
    evaluation = scoring.evaluate(regions, predictors, listener)
    # A report of a part of the images says so.
    notes = [*([SEEN_IN_TRAINING] if is_project else []), *listener.warnings]
    document = write_report(folder, evaluation, subject, models, notes, reporter)
    page = folder / REPORT
    skipped = [line for line in listener.warnings if line.startswith("Skipped: ")]
    return scoring.Assessment(evaluation, document, page if page.is_file() else None, skipped)


def suggest(
    project: Project | StrPath,
    bundle: Bundle | StrPath = "pretrained",
    *,
    count: int = 10,
    size: int = 160,
    seed: int = 0,
    images: Sequence[str] = (),
    image_ids: Sequence[str] = (),
    mpp: float | None = None,
    threads: int = 0,
    reporter: Reporter = LOG,
) -> SuggestResult:
    """Suggest the windows whose outlines would teach a model most, as annotations of class ``Suggested``.

    count  : windows in all images together; ``size``: their side in pixels of 0.25 µm.
    seed   : equal seeds give equal windows. The other options are those of ``segment``.

    Earlier suggestions that nobody has touched are replaced. Raises UsageError, BundleError and Interrupted
    before anything is written.

    >>> import cellgennet_qupath as cgn
    >>> result = cgn.suggest("MyProject", count=3)
    >>> [window.rank for window in result.windows]
    [1, 2, 3]
    """
    from .report.guarded_pages import suggestion_page
    from .suggestion.run import SuggestOptions, suggest_windows

    model = _bundle(bundle, reporter)
    listener = Remembering(reporter)
    with _opened(project, writable=True, reporter=listener) as opened:
        options = SuggestOptions(count, size, seed, images, image_ids, mpp, threads)
        result = suggest_windows(opened, model, options, listener)
        return replace(result, page=suggestion_page(opened, result, model, listener))


def export(
    project: Project | StrPath,
    path: StrPath,
    *,
    neighbours: bool = False,
    summary: bool = False,
    units: Literal["um", "px"] | None = None,
    mpp: float | None = None,
    excel: bool = False,
    columns: Sequence[str] = (),
    reporter: Reporter = LOG,
) -> int:
    """Write the measurements of all detections of a project to a file; returns their number.

    path       : its ending is the format (csv, tsv, xlsx, parquet, geojson, h5ad, zarr); ``{image}`` in its
                 name makes one file per image.
    neighbours : add the distance to the nearest nucleus, and the number and density within 50 µm.
    summary    : counts, density, means and quantiles of each image and annotation instead.
    units      : of all images; None: as QuPath shows each image.
    mpp        : µm per pixel of images without a pixel size; all numbers are then in µm.
    excel      : make csv and tsv safe to open in a spreadsheet.
    columns    : further ones: "image-id", "slide", "model", "checksum", "metadata"; for a summary also
                 "tissue" and "classes".

    A file is written whole or not at all. Raises UsageError for an unknown ending, and where h5ad, zarr or
    parquet would hold px beside µm; and ExportError.

    >>> import cellgennet_qupath as cgn
    >>> cgn.export("MyProject", "nuclei.csv") > 100
    True
    """
    from .tables.project import export_project
    from .tables.units import unit_of

    with _opened(project, writable=False, reporter=reporter) as opened:
        return export_project(
            opened,
            Path(path),
            neighbours=neighbours,
            summary=summary,
            unit=unit_of(units),
            mpp=mpp,
            excel=excel,
            columns=columns,
            reporter=reporter,
        )


def _bundle(bundle: Bundle | StrPath, reporter: Reporter) -> Bundle:
    from .bundle import Bundle

    return bundle if isinstance(bundle, Bundle) else load_bundle(bundle, reporter=reporter)


def _several(bundles: Bundle | StrPath | Sequence[Bundle | StrPath]) -> Sequence[Bundle | StrPath]:
    from .bundle import Bundle

    return [bundles] if isinstance(bundles, Bundle | str | os.PathLike) else bundles


def _opened(
    project: Project | StrPath, *, writable: bool, reporter: Reporter, older_qupath: bool = False
) -> AbstractContextManager[Project]:
    """The project; one opened by the caller stays open."""
    if isinstance(project, str | os.PathLike):
        return open_project(project, writable=writable, older_qupath=older_qupath, reporter=reporter)
    return nullcontext(project)
