"""Features without their rim: what no wanted map depends on need not be computed."""

from __future__ import annotations

from torch import Tensor


def narrowed(x: Tensor, margin: int, needed: int, stride: int) -> tuple[Tensor, int]:
    """Features (n, c, h, w) of a stride without what is not needed of their margin, and the margin left.

    margin, needed : input samples around those whose maps are wanted, multiples of the stride.
    """
    cut = max(0, margin - needed) // stride
    if not cut:
        return x, margin
    return x[:, :, cut:-cut, cut:-cut], margin - cut * stride
