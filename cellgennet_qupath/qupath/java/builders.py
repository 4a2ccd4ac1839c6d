"""How QuPath itself opens an image: its choice of reader, and the size, levels and channels that it reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...core.errors import SlideError
from ..project import NewImage
from . import jvm

_SERVERS = "qupath.lib.images.servers"


def server_builder(image: NewImage) -> dict[str, Any] | None:
    """The builder of an image's server as plain data, with its name and pixel size; None without a reader.

    Raises SlideError where QuPath sees another size than this package: outlines would not fit.
    """
    pixels = jvm.java_class("java.awt.image.BufferedImage").class_
    uri = str(jvm.java_class("java.nio.file.Paths").get(str(image.path.resolve())).toUri())
    try:
        with jvm.errors(lambda why: SlideError(image.path, f"cannot be opened by QuPath ({why})")):
            support = jvm.java_class(f"{_SERVERS}.ImageServerProvider").getPreferredUriImageSupport(
                pixels, uri
            )
            builders: Sequence[Any] = [] if support is None else list(support.getBuilders())
            if not builders:
                return None
            server = builders[0].build()
            try:
                size = int(server.getWidth()), int(server.getHeight())
                new = jvm.java_class(f"{_SERVERS}.ImageServerMetadata$Builder")(server.getMetadata())
                if image.mpp is not None:
                    new = new.pixelSizeMicrons(*image.mpp)
                server.setMetadata(new.name(image.name).build())
                kind = jvm.java_class(f"{_SERVERS}.ImageServerBuilder$ServerBuilder").class_
                text = (
                    jvm.java_class("qupath.lib.io.GsonTools").getInstance().toJson(server.getBuilder(), kind)
                )
            finally:
                server.close()
    except SlideError:
        return None
    if size != image.size:
        raise SlideError(
            image.path,
            f"is {size[0]} x {size[1]} pixels in QuPath, but {image.size[0]} x {image.size[1]} here",
            "Add it to a project in QuPath (File > Project > Add images), and segment that",
        )
    builder: dict[str, Any] = json.loads(str(text))
    return builder


def load_openslide() -> None:
    """Load OpenSlide, which QuPath 0.5 does not do by itself when it is driven from outside."""
    try:
        loader = jvm.java_class(f"{_SERVERS}.openslide.jna.OpenSlideLoader")
        with jvm.errors(lambda why: SlideError("OpenSlide", f"cannot be loaded ({why})")):
            loader.tryToLoadQuietly()
    except (SlideError, AttributeError):
        return
