"""The interface of the student's runtimes: from pixels to probability maps. Needs no torch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class MapPredictor(Protocol):
    """A trained student, ready to run. Equal pixels get equal maps.

    stride  : input samples per map sample; map sample i covers the input samples
              [i * stride, (i + 1) * stride).
    unit    : the size of every input must be a multiple of this many samples, and so must the distance
              between two inputs of one image: a network that halves its grid predicts the same only at the
              same phase of that grid.
    context : input samples that a map sample needs on each side. Samples beyond change it by too little to
              change the decoding.
    streams : predictions that can run at the same time, called from different threads.
    device  : the device, the runtime and the arithmetic, for messages and for the record of a run.
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

    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        """Foreground and object probability, both in [0, 1], of a batch of normalised images.

        images : float32 (n, h, w, 3), h and w multiples of ``unit``.
        rim    : samples on each side whose maps are not wanted, a multiple of ``unit``. The other maps stay
                 the same, and what only those of the rim depend on is not computed.
        Returns float32 (n, h / stride, w / stride, 2), less the rim: channel 0 the probability of
        foreground, channel 1 the normalised distance to the nucleus' border (as StarDist's ``prob``).
        """
        ...
