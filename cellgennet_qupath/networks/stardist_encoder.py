"""StarDist on an ImageNet encoder: EfficientNet-Lite in Keras, a feature pyramid, StarDist's own two heads.

The rest (non-maximum suppression, thresholds, the model folder) is StarDist's. Only the process of
``stardist_worker`` imports this. It is trained in torch (``stardist_network``). Lin et al., "Feature pyramid
networks for object detection", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from stardist.models import Config2D, StarDist2D

from .efficientnet_lite import EPSILON, PYRAMID, STAGES, STEM, Stage

UNIT = 16
"""The sides of an input are multiples of the encoder's last stride."""
_PYRAMID_EPSILON = 1e-5  # as in torch's batch normalisation, with which the pyramid is trained


class Enlarge(layers.Layer):  # type: ignore[misc]
    """Twice as many rows and columns, interpolated as torch does (``align_corners=False``).

    Keras' own ``UpSampling2D`` fails with an image of another size than the first one.
    """

    def call(self, x: Any) -> Any:
        return tf.image.resize(x, 2 * tf.shape(x)[1:3], method="bilinear")

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        rows, columns = (None if side is None else 2 * side for side in shape[1:3])
        return shape[0], rows, columns, shape[3]


class EncoderConfig2D(Config2D):  # type: ignore[misc]
    """StarDist's ``config.json`` with an encoder as ``backbone``.

    Of the settings of a U-Net only ``unet_n_filter_base`` counts: the width of the pyramid.
    """

    def __init__(self, backbone: str = "unet", **settings: Any) -> None:
        super().__init__(**settings)
        self.backbone = backbone


class EncoderStarDist2D(StarDist2D):  # type: ignore[misc]
    """A StarDist2D whose features come from an EfficientNet-Lite encoder; grid 2, colours in [0, 1]."""

    @property
    def _config_class(self) -> type[Config2D]:
        return EncoderConfig2D

    def _build(self) -> keras.Model:
        config = self.config
        width = config.unet_n_filter_base
        image = keras.Input(config.net_input_shape, name="input")
        names = _Names()
        *skips, x = encoder_features(image, STAGES[config.backbone], names)
        for factor, skip in zip(PYRAMID, reversed(skips), strict=True):
            coarse = layers.Conv2D(factor * width, 1, use_bias=False, name=names.next())(x)
            skip = layers.Conv2D(factor * width, 1, use_bias=False, name=names.next())(skip)
            x = layers.Add()([Enlarge()(coarse), skip])
            for _ in range(2):
                x = layers.Conv2D(factor * width, 3, padding="same", use_bias=False, name=names.next())(x)
                x = layers.BatchNormalization(epsilon=_PYRAMID_EPSILON, name=names.next())(x)
                x = layers.ReLU()(x)
        features = layers.Conv2D(
            config.net_conv_after_unet, 3, padding="same", activation="relu", name="features"
        )(x)
        prob = layers.Conv2D(1, 1, activation="sigmoid", name="prob")(features)
        dist = layers.Conv2D(config.n_rays, 1, name="dist")(features)
        return keras.Model([image], [prob, dist])

    def _axes_div_by(self, query_axes: str) -> tuple[int, ...]:
        return tuple(UNIT if axis in "YX" else 1 for axis in query_axes.upper())


class _Names:
    """Names of the layers with weights, numbered in torch's order of these."""

    def __init__(self) -> None:
        self._number = 0

    def next(self) -> str:
        self._number += 1
        return f"layer_{self._number:03d}"


def encoder_features(image: Any, stages: tuple[Stage, ...], names: _Names) -> list[Any]:
    """The features at strides 2, 4, 8 and 16 (the last stage's) of colours in [0, 1]."""
    x = layers.Rescaling(2.0, offset=-1.0)(image)  # the encoder was trained on colours in [-1, 1]
    x = layers.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name=names.next())(x)
    x = _normalised(x, names, relu=True)
    found = []
    for stage in stages:
        for number in range(stage.blocks):
            x = _inverted(x, stage, stage.stride if number == 0 else 1, names)
        found.append(x)
    return [*found[:3], found[-1]]


def load_network(model: keras.Model, arrays: Sequence[NDArray[np.float32]]) -> None:
    """Set all weights to torch's, in its order and layout (``StarDistNetwork.arrays``).

    Raises ValueError where there are too few or too many, or a shape differs.
    """
    for (weight, axes), array in zip(_in_torch_order(model), arrays, strict=True):
        weight.assign(array if axes is None else array.transpose(axes))


def network_arrays(model: keras.Model) -> list[NDArray[np.float32]]:
    """All weights in torch's order and layout, as ``load_network`` takes them."""
    found = [(np.asarray(weight, np.float32), axes) for weight, axes in _in_torch_order(model)]
    return [array if axes is None else array.transpose(np.argsort(axes)) for array, axes in found]


def _in_torch_order(model: keras.Model) -> list[tuple[Any, tuple[int, ...] | None]]:
    """The variables in torch's order, and the order of torch's axes in each; None where it is the same."""
    numbered = sorted(layer.name for layer in model.layers if layer.name.startswith("layer_"))
    found = [model.get_layer(name) for name in (*numbered, "features", "prob", "dist")]
    ordered: list[tuple[Any, tuple[int, ...] | None]] = []
    for layer in found:
        # Torch: (out, in, rows, columns). Keras: (rows, columns, in, out), depthwise (..., channels, 1).
        axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
        ordered += [(weight, axes if len(weight.shape) == 4 else None) for weight in layer.weights]
    return ordered


def _inverted(x: Any, stage: Stage, stride: int, names: _Names) -> Any:
    """MBConv: expand 1x1, depthwise k x k, project 1x1; the input is added where shapes agree."""
    channels, before = x.shape[-1], x
    if stage.expansion > 1:
        x = layers.Conv2D(channels * stage.expansion, 1, use_bias=False, name=names.next())(x)
        x = _normalised(x, names, relu=True)
    x = layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=names.next())(x)
    x = _normalised(x, names, relu=True)
    x = layers.Conv2D(stage.channels, 1, use_bias=False, name=names.next())(x)
    x = _normalised(x, names, relu=False)
    return layers.Add()([before, x]) if stride == 1 and channels == stage.channels else x


def _normalised(x: Any, names: _Names, relu: bool) -> Any:
    x = layers.BatchNormalization(epsilon=EPSILON, name=names.next())(x)
    return layers.ReLU(6.0)(x) if relu else x
