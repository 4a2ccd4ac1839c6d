"""StarDist on an ImageNet encoder: the same network in torch and Keras, in a model folder like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cellgennet_qupath.core.config import TeacherConfig
from cellgennet_qupath.core.errors import TrainingError
from cellgennet_qupath.networks.stardist_config import check_stardist_folder
from cellgennet_qupath.networks.stardist_network import StarDistNetwork
from cellgennet_qupath.networks.stardist_process import StarDistProcess, WorkerFailure

pytestmark = pytest.mark.usefixtures("one_stardist")


OTHER_SIZES = ((64, 96), (80, 64), (48, 48))


def lite(number: int) -> TeacherConfig:
    return TeacherConfig.model_validate({"backbone": f"efficientnet-lite{number}", "filters": 4, "rays": 8})


@pytest.mark.slow
def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a StarDist model folder"):
        StarDistProcess(tmp_path, threads=1)
    with pytest.raises(TrainingError, match=r"is not a StarDist model folder\. Give teacher\.init a folder"):
        StarDistProcess(tmp_path / "new", TeacherConfig(init=tmp_path), threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2])
def test_keras_and_torch_predict_the_same(tmp_path: Path, number: int) -> None:
    """With ImageNet weights and statistics of normalisation that matter, on an image of any size."""
    torch.manual_seed(0)
    network = StarDistNetwork(lite(number)).eval()
    network.init_pretrained()
    for name, value in network.pyramid.state_dict().items():
        if value.dim() == 1:
            value.copy_(torch.rand(value.shape) + ("running_mean" not in name))
    image = np.random.default_rng(0).random((80, 96, 3)).astype(np.float32)
    with torch.no_grad():
        logits, distances = network(torch.from_numpy(image).permute(2, 0, 1)[None])
    prob, dist = torch.sigmoid(logits)[0, 0].numpy(), distances[0].permute(1, 2, 0).numpy()
    with StarDistProcess(tmp_path / "teacher", lite(number), threads=1) as teacher:
        teacher.load_network(network.arrays())
        teacher.save({"prob": 0.5, "nms": 0.4})
        kept = teacher.network_arrays()
        assert all(np.array_equal(a, b) for a, b in zip(kept, network.arrays(), strict=True))
        assert (teacher.backbone, teacher.filters) == (f"efficientnet-lite{number}", 4)
        found = teacher.predict(image)
        odd = teacher.predict(image[:70, :90])
        others = [teacher.predict(image[:rows, :columns]).prob.shape for rows, columns in OTHER_SIZES]
        with pytest.raises(WorkerFailure):
            teacher.load_network(network.arrays()[:-1])
    assert found.prob.shape == (40, 48) and odd.prob.shape == (35, 45)
    assert others == [(rows // 2, columns // 2) for rows, columns in OTHER_SIZES]
    # StarDist keeps distances above 0, and predicts in 16 bits where the processor can.
    for theirs, ours in ((found.prob, prob), (found.dist, np.maximum(dist, 1e-3))):
        difference = np.abs(theirs - ours) / np.abs(ours).max()
        assert difference.max() < 0.03 and difference.mean() < 0.003
    with StarDistProcess(tmp_path / "teacher", threads=1) as teacher:
        again = teacher.predict(image)
    assert np.array_equal(again.prob, found.prob) and np.array_equal(again.dist, found.dist)


@pytest.mark.parametrize(
    ("backbone", "grid"), [("resnet", 2), ("efficientnet-lite9", 2), ("efficientnet-lite2", 4)]
)
def test_other_backbones_are_refused(tmp_path: Path, backbone: str, grid: int) -> None:
    shape = {"n_rays": 8, "unet_n_depth": 3, "unet_n_filter_base": 4, "n_channel_in": 3}
    config = {**shape, "grid": [grid, grid], "backbone": backbone}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(TrainingError, match="backbone"):
        check_stardist_folder(tmp_path, "Use another folder")


def test_an_encoder_predicts_on_a_grid_of_two() -> None:
    with pytest.raises(ValueError, match="`grid` must be 2"):
        TeacherConfig(backbone="efficientnet-lite2", grid=4)
