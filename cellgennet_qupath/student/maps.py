"""What turns pixels into maps: the interface between the network's runtimes and everything around them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
"""Tiles begin at multiples of this many input samples and are multiples of it wide and high: a network
that halves its grid five times gives the same answer only where it meets the same phase of that grid."""


class MapPredictor(Protocol):
    """A trained student, ready to run.

    stride          : input samples per map sample; map sample i stands for the input samples
                      [i * stride, (i + 1) * stride).
    receptive_field : how far, in input samples to one side, an input can influence an output.
    """

    @property
    def stride(self) -> int: ...

    @property
    def receptive_field(self) -> int: ...

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Foreground and object probability, both in [0, 1], of a batch of normalised images.

        images : float32 (n, h, w, 3), h and w multiples of ``ALIGNMENT``.
        Returns float32 (n, h / stride, w / stride, 2): channel 0 the probability of foreground,
        channel 1 the normalised distance to the nucleus' border (as StarDist's ``prob``).
        """
        ...
