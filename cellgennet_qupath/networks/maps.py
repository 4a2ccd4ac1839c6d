"""What turns pixels into maps: the interface between the student's runtimes and everything around them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class MapPredictor(Protocol):
    """A trained student, ready to run. Equal blocks of pixels get equal maps.

    stride  : input samples per map sample; map sample i stands for the input samples
              [i * stride, (i + 1) * stride).
    unit    : blocks begin at, and measure, multiples of this many input samples: a network that
              halves its grid answers the same only where it meets the same phase of that grid.
    context : input samples that a map sample must be shown to each side. What lies farther changes it
              by less than decoding tells apart.
    streams : predictions that may be asked for at the same time, from different threads.
    device  : the device, the runtime and the arithmetic, for a person and for the record of a run.
    """

    @property
    def stride(self) -> int: ...

    @property
    def unit(self) -> int: ...

    @property
    def context(self) -> int: ...

    @property
    def streams(self) -> int: ...

    @property
    def device(self) -> str: ...

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Foreground and object probability, both in [0, 1], of a batch of normalised images.

        images : float32 (n, h, w, 3), h and w multiples of ``unit``.
        Returns float32 (n, h / stride, w / stride, 2): channel 0 the probability of foreground,
        channel 1 the normalised distance to the nucleus' border (as StarDist's ``prob``).
        """
        ...
