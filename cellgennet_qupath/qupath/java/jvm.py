"""QuPath's Java inside this process, started through paquo. It never writes to stdout."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any, Literal

from ...core.errors import CellGenNetError, QuPathError

_starting = threading.Lock()


def start() -> None:
    """Start Java with QuPath's libraries; does nothing the second time. Raises QuPathError."""
    with _starting:
        _start()


@cache
def _start() -> None:
    from paquo._config import settings, to_kwargs
    from paquo.jpype_backend import JClass, start_jvm

    options = to_kwargs(settings)
    given = options.get("java_opts") or []
    # Java 24 and later warn on stderr without this.
    given = shlex.split(given) if isinstance(given, str) else given
    # Without -Xrs, Java ends the process on Ctrl-C or SIGTERM before Python learns of it.
    options["java_opts"] = ["--enable-native-access=ALL-UNNAMED", "-Xrs", *given]
    if not any(option.endswith("GC") for option in given):
        # Java runs for seconds here, with a single thread of ours.
        options["java_opts"].insert(0, "-XX:+UseSerialGC")
    try:
        start_jvm(finder_kwargs=options)
    except (ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise QuPathError(
            "QuPath", f"could not be started ({reason})", "Run `cellgennet doctor`, or use --backend files"
        ) from error
    _silence(JClass)


def _silence(java_class: Any) -> None:
    """Keep QuPath's log off stdout, which is for results; paquo makes QuPath log everything."""
    system = java_class("java.lang.System")
    system.setOut(system.err)
    from paquo.java import LogManager

    if LogManager:
        LogManager.setError()


def java_class(name: str) -> Any:
    """A Java class by its full name. Raises QuPathError where this QuPath lacks it."""
    start()
    from paquo.jpype_backend import JClass

    try:
        return JClass(name)
    except TypeError as error:
        raise QuPathError("QuPath", f"lacks {name}", "Use QuPath 0.5 to 0.7, or --backend files") from error


def array(kind: Literal["byte", "int", "double"], dimensions: int = 1) -> Any:
    """The type of Java arrays of a primitive type, to be called with a NumPy array or a length."""
    start()
    import jpype

    return jpype.JArray(getattr(jpype, f"J{kind.capitalize()}"), dimensions)


@contextmanager
def errors(make: Callable[[str], CellGenNetError]) -> Iterator[None]:
    """Turn Java's exceptions into the error that ``make`` returns for their message."""
    start()
    import jpype

    try:
        yield
    except jpype.JException as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise make(message) from error


def open_project(file: str) -> Any:
    """QuPath's own project object of a ``project.qpproj``, opened by paquo for reading."""
    start()
    from paquo.jpype_backend import JClass
    from paquo.projects import QuPathProject

    try:
        return QuPathProject(file, mode="r").java_object
    finally:
        _silence(JClass)  # paquo restores Java's stdout


@cache
def _loader() -> Any:
    parent = java_class("qupath.lib.images.ImageData").class_.getClassLoader()
    loader = java_class("groovy.lang.GroovyClassLoader")(parent)
    for name in ("placeholder_server.groovy", "hierarchy_checksum.groovy", "object_transfer.groovy"):
        loader.parseClass(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"), name)
    return loader


@cache
def compiled(name: str) -> Any:
    """A class of this package's ``.groovy`` files, compiled by QuPath's own Groovy."""
    from paquo.jpype_backend import JClass

    return JClass(_loader().loadClass(name))
