"""Training that starts from a bundle: its settings, its result between both, and its repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.bundle import Bundle, Card, load_bundle, named_bundle, now, write_bundle
from cellgennet_qupath.core.config import Config
from cellgennet_qupath.core.config_file import config_from
from cellgennet_qupath.core.errors import ConfigError, TrainingError
from cellgennet_qupath.networks.weights import read_weights
from cellgennet_qupath.segmentation.decode import DecodingConfig
from cellgennet_qupath.training import student_choice
from cellgennet_qupath.training.adaptation import Start, init_config, start_of
from cellgennet_qupath.training.data import TrainingData, UnlabelledTile
from cellgennet_qupath.training.interpolation import SHARES, write_interpolated
from cellgennet_qupath.training.run import Trained, _card_of_start, _credit, train_model
from cellgennet_qupath.training.student import StudentTrainer
from cellgennet_qupath.training.tune import Mask

from .drawn import discs, window

SHAPE = {"architecture": "unet", "width": 4, "levels": 2}
SHORT = config_from(
    {
        "threads": 1,
        "pseudo": {"tile": 128},
        "student": {"patch": 64, "batch": 1, "epochs": 2, "steps_per_epoch": 2},
    },
    "test",
)


class DrawnTile:
    def read(self) -> UnlabelledTile:
        image, _ = discs(9)
        return UnlabelledTile(image, np.ones(image.shape[:2], bool), "unlabelled")


def lab(mpp: float = 0.25, slides: int = 1) -> TrainingData:
    training = [window(*discs(0), "drawn 0"), window(*discs(2), "drawn 2")]
    validation = [window(*discs(n), f"drawn {n}", Split.VALIDATION) for n in range(1, 2 * slides, 2)]
    return TrainingData(mpp, 3, training, validation, [DrawnTile()])


def written(folder: Path, shape: dict[str, object], mpp: float) -> Bundle:
    """A bundle whose student has learnt nothing, with settings that are not the defaults."""
    config = config_from(
        {"student": shape | {"dropout": 0.1}, "loss": {"touching_weight": 4, "distillation": 0}}, "test"
    )
    trainer = StudentTrainer(config.student, config.loss, config.pseudo, 4, seed=0)
    trainer.save_weights(folder / "student.safetensors")
    card = Card(
        name="start",
        created=now(),
        mpp=mpp,
        decoding={"foreground": 0.3, "valley": 0.8, "mean_foreground": 0.1, "min_area_um2": 1.0},
        config=config.model_dump(mode="json"),
    )
    return write_bundle(folder / "start.cgn", card, {"student.safetensors": folder / "student.safetensors"})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return written(tmp_path_factory.mktemp("start"), SHAPE, 0.25)


def adapted(
    start: Bundle, folder: Path, config: Config = SHORT, resume: bool = False, slides: int = 1
) -> Trained:
    settings = init_config(start, config)
    return train_model(lab(slides=slides), folder, settings, resume=resume, start=start_of(start))


def test_a_start_whose_maps_have_the_image_s_resolution(tmp_path: Path) -> None:
    fine = written(tmp_path, {"architecture": "efficientnet-lite0", "stride": 1, "width": 4}, 0.5)
    defaults = init_config(fine, Config())
    assert (defaults.student.stride, defaults.student.patch, defaults.pseudo.tile) == (1, 96, 256)
    settings = init_config(fine, SHORT)
    trained = train_model(lab(0.5), tmp_path / "run", settings, start=start_of(fine))
    assert trained.comparison is not None and trained.comparison.nuclei > 0
    first, last = read_weights(fine.student), read_weights(trained.files["student.safetensors"])
    assert first["head.weight"].shape == (8, 4, 1, 1)
    assert {name: value.shape for name, value in first.items()} == {n: v.shape for n, v in last.items()}
    assert not np.array_equal(first["head.weight"], last["head.weight"])


class TestSettings:
    def test_shape_loss_dropout_and_resolution_are_the_start_s(self, start: Bundle) -> None:
        config = init_config(start, Config())
        assert (config.student.architecture, config.student.width, config.student.levels) == ("unet", 4, 2)
        assert (config.student.dropout, config.loss.touching_weight, config.mpp) == (0.1, 4.0, 0.25)
        assert config.student.init == start.student.resolve()

    def test_it_is_short_and_distils_although_the_start_did_not(self, start: Bundle) -> None:
        config = init_config(start, Config())
        assert config.student.epochs < Config().student.epochs
        assert config.student.learning_rate < Config().student.learning_rate
        assert (config.loss.distillation, config.loss.warm_up) == (1.0, 0.0)

    @pytest.mark.parametrize(
        ("section", "name", "value"),
        [
            ("student", "epochs", 7),
            ("student", "learning_rate", 1e-3),  # the default of training from nothing, but asked for
            ("student", "dropout", 0.3),
            ("loss", "touching_weight", 0.0),
            ("loss", "distillation", 0.0),
            ("pseudo", "rounds", 3),
        ],
    )
    def test_what_the_user_sets_stays(self, start: Bundle, section: str, name: str, value: float) -> None:
        config = init_config(start, config_from({section: {name: value}}, "test"))
        assert getattr(getattr(config, section), name) == value

    @pytest.mark.parametrize(
        ("name", "value"), [("width", 32), ("levels", 3), ("architecture", "efficientnet-lite0")]
    )
    def test_another_shape_is_refused(self, start: Bundle, name: str, value: object) -> None:
        with pytest.raises(ConfigError, match=rf"student\.{name}.*start.*--init none"):
            init_config(start, config_from({"student": {name: value}}, "test"))
        same = init_config(start, config_from({"student": {"width": 4}}, "test"))
        assert same.student.width == 4


@pytest.mark.slow
class TestTraining:
    def test_the_result_is_half_way_between_start_and_end(self, start: Bundle, tmp_path: Path) -> None:
        trained = adapted(start, tmp_path / "run", config_from(
            SHORT.model_dump(exclude_unset=True) | {"adaptation": {"share": 0.5}}, "test"
        ))  # fmt: skip
        first, last = read_weights(start.student), read_weights(tmp_path / "run" / "moved.safetensors")
        result = read_weights(trained.files["student.safetensors"])
        moved = 0.0
        for name, value in result.items():
            if value.is_floating_point():
                expected = (first[name].double() + last[name].double()) / 2
                assert np.allclose(value.double(), expected, atol=1e-6)
                moved += float((last[name] - first[name]).abs().max())
        assert moved > 0

    def test_it_repeats_and_resumes_to_the_same_weights(self, start: Bundle, tmp_path: Path) -> None:
        one = adapted(start, tmp_path / "one").files["student.safetensors"].read_bytes()
        assert adapted(start, tmp_path / "two").files["student.safetensors"].read_bytes() == one
        (tmp_path / "two" / "student.safetensors").unlink()
        resumed = adapted(start, tmp_path / "two", resume=True)
        assert resumed.files["student.safetensors"].read_bytes() == one

    def test_the_weights_that_are_kept_are_those_of_the_share_that_all_windows_choose(
        self, start: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def choose(scored: Sequence[object], among: Mask) -> int:
            return len(scored) - 1 if among.all() else 1

        monkeypatch.setattr(student_choice, "best_of", choose)
        one = adapted(start, tmp_path / "run", slides=3)
        assert one.share == SHARES[-1] == 1.0 and SHARES[0] != 1.0, "another share is tried after it"
        last = read_weights(tmp_path / "run" / "moved.safetensors")
        kept = read_weights(one.files["student.safetensors"])
        assert all(np.allclose(kept[name], value, atol=1e-6) for name, value in last.items())
        assert one.comparison is not None and one.comparison.clusters == "3 regions"
        assert not one.comparison.of_standard
        assert adapted(start, tmp_path / "run", resume=True, slides=3).comparison == one.comparison

    def test_numbers_of_the_standard_settings_are_called_so(
        self, start: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(student_choice, "best_of", lambda _, among: int(among.any()))
        trained = adapted(start, tmp_path / "run")
        assert trained.share == SHARES[0]
        assert trained.comparison is not None and trained.comparison.of_standard
        assert trained.recommendation is not None
        assert "numbers of the standard settings" in trained.recommendation.reasons[0]

    def test_another_start_is_not_resumed(self, start: Bundle, tmp_path: Path) -> None:
        adapted(start, tmp_path / "run")
        card = start.card.model_copy(update={"decoding": start.card.decoding | {"valley": 0.9}})
        other = write_bundle(tmp_path / "o.cgn", card, {"student.safetensors": start.student})
        with pytest.raises(TrainingError, match="settings changed"):
            adapted(other, tmp_path / "run", resume=True)

    def test_no_stardist_is_needed_and_the_soft_labels_are_the_start_s(
        self, start: Bundle, tmp_path: Path
    ) -> None:
        trained = adapted(start, tmp_path / "run")
        assert set(trained.files) == {"student.safetensors"}
        assert {p.parent.name for p in tmp_path.glob("run/pseudo/*/*.npz")} == {"tiles", "student-1"}
        assert (tmp_path / "run/pseudo/student-1.safetensors").is_file()
        soft = read_weights(tmp_path / "run/pseudo/student-1.safetensors")
        assert all(np.array_equal(soft[name], value) for name, value in read_weights(start.student).items())

    def test_the_comparison_is_on_the_validation_nuclei(self, start: Bundle, tmp_path: Path) -> None:
        compared = adapted(start, tmp_path / "run").comparison
        assert compared is not None and compared.nuclei == 9

    def test_the_rule_is_the_start_s_without_a_reason(self, start: Bundle, tmp_path: Path) -> None:
        config = init_config(start, SHORT)
        data = lab()
        nothing_held_out = TrainingData(0.25, 3, data.training, data.training[:1], [DrawnTile()])
        trained = train_model(nothing_held_out, tmp_path / "run", config, start=start_of(start))
        assert trained.comparison is None
        assert trained.recommendation is not None and "unknown" in trained.recommendation.reasons[0]


class TestInterpolation:
    def test_the_ends_are_the_files_themselves(self, start: Bundle, tmp_path: Path) -> None:
        other = StudentTrainer(start.config.student, start.config.loss, start.config.pseudo, 4, seed=5)
        other.save_weights(tmp_path / "other.safetensors")
        for share, same in ((0.0, start.student), (1.0, tmp_path / "other.safetensors")):
            write_interpolated(
                start.student, tmp_path / "other.safetensors", share, tmp_path / "mix.safetensors"
            )
            mixed, expected = read_weights(tmp_path / "mix.safetensors"), read_weights(same)
            assert all(np.allclose(mixed[name], expected[name]) for name in expected)

    def test_other_shapes_are_refused(self, start: Bundle, tmp_path: Path) -> None:
        pretrained = load_bundle(named_bundle(Path("pretrained")))
        with pytest.raises(TrainingError, match="another shape"):
            write_interpolated(start.student, pretrained.student, 0.5, tmp_path / "mix.safetensors")


def test_the_card_of_a_start_that_is_kept_says_what_the_start_learnt_from(tmp_path: Path) -> None:
    start = Start(
        "dab", tmp_path, "", DecodingConfig(), 0.5, None, ("rat",), "", "CC BY 4.0", "Made by the other lab"
    )
    card = _card_of_start(Card(name="mine", created="", mpp=0.25, species=["human"]), start)
    assert (card.name, card.mpp, card.species, card.stain) == ("mine", 0.5, ["rat"], "")
    assert (card.licence, card.attribution) == ("CC BY 4.0", "Made by the other lab")


@pytest.mark.parametrize("theirs", [{"prob": 0.6, "nms": 0.3}, {"prob": 0.3, "nms": 0.5}, {}])
def test_a_start_that_is_kept_keeps_the_thresholds_of_its_teacher(
    start: Bundle, theirs: dict[str, float]
) -> None:
    card = start.card.model_copy(update={"teacher_thresholds": theirs})
    kept = start_of(replace(start, card=card))
    trained = Card(name="mine", created="", mpp=0.25, teacher_thresholds={"prob": 0.5, "nms": 0.4})
    assert _card_of_start(trained, kept).teacher_thresholds == theirs


def test_a_model_credits_whom_its_start_credits(tmp_path: Path) -> None:
    start = Start("dab", tmp_path, "", DecodingConfig(), 0.5, None, attribution="Made by the other lab.")
    assert _credit(start) == "Adapted from dab. Made by the other lab."
    assert _credit(replace(start, attribution="")) == _credit(None) == ""
