from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

from lgd.config import Config, with_values
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, growth_of, method_named, recipe_for, seed_config, with_method
from lgd.distillation.methods.checks import check_method
from lgd.distillation.methods.mgd3 import class_modes
from lgd.distillation.recipe import assets_of, first_step
from lgd.distillation.resources import Resources
from lgd.distillation.stages import grow
from lgd.distillation.store import read_increment, read_latents, read_manifest
from lgd.errors import UserError
from lgd.execution.local import Local
from lgd.experiments.prepare import prepare
from lgd.guidance.modes import find_modes
from lgd.rng import derive_seed
from lgd.storage.files import load_tensors

ONE_EPOCH = {"width": 4, "training.epochs": 1}
TINY = {
    "generator.blocks": 1,
    "generator.heads": 1,
    "generator.head_width": 16,
    "generator.steps": 2,
    "sampling.steps": 4,
    "guidance.window": (1, 2),
    "modes.stop": 1,
    "stages.increments": 2,
    "stages.images_per_increment": 2,
    "stages.candidates": 2,
    "influence.surrogate.images": 10,
    "judge.training.epochs": 1,
    "compute.device": "cpu",
    "compute.workers": 1,
    **{
        f"{role}.{name}": value
        for role in ("reference", "learner", "influence.surrogate.classifier")
        for name, value in ONE_EPOCH.items()
    },
}


@pytest.fixture(scope="module")
def tiny() -> Config:
    return with_values(Config(), TINY)


@pytest.fixture(scope="module")
def assets(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    prepare(assets_of(tiny, folder, "cpu"), list(METHODS.values()), Local(1, folder))
    return folder


def grown(config: Config, assets: Path, root: Path) -> Run:
    run = Run(root)
    with Local(1, root) as engine:
        names = tuple("0123456789")
        grow(growth_of(config, run, assets_of(config, assets, "cpu"), names), engine)
    return run


def images_of(run: Run, increment: int) -> ImageSet:
    return read_increment(run.increment(increment), tuple("0123456789"))


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.fixed_size])
def test_every_method_grows_a_set_that_its_seed_decides(name: str, tiny: Config, assets: Path, tmp_path: Path) -> None:
    config = with_method(tiny, name)
    once, again = (grown(config, assets, tmp_path / part) for part in ("once", "again"))
    for increment in (1, 2):
        images = images_of(once, increment)
        assert images.labels.bincount().tolist() == [2] * 10
        assert images.images.equal(images_of(again, increment).images)
    if name != "herding":  # the one without a draw
        other = grown(with_values(config, {"seed": 1}), assets, tmp_path / "other")
        assert not images_of(other, 2).images.equal(images_of(once, 2).images)


def test_real_images_come_once_and_as_they_are(tiny: Config, assets: Path, tmp_path: Path) -> None:
    train = cached_splits(tiny.dataset).train
    for name in ("random", "herding", "k-center"):
        run = grown(with_method(tiny, name), assets, tmp_path / name)
        rows = [row for increment in (1, 2) for row in read_manifest(run.increment(increment))]
        sources = [row.source for row in rows]
        assert len(set(sources)) == 40
        for row in rows[:5]:
            assert train.labels[row.source] == row.label
        assert images_of(run, 2).images.equal(train.images[torch.tensor(sources[20:])])


def test_full_is_the_training_set(tiny: Config, assets: Path, tmp_path: Path) -> None:
    config = with_method(tiny, "full")
    train = cached_splits(tiny.dataset).train
    found = images_of(grown(config, assets, tmp_path), 1)
    assert len(found) == len(train)
    assert found.images.equal(train.images[train.labels.argsort(stable=True)])
    assert (config.stages.increments, config.evaluation.redundancy_seeds) == (1, 0)


@pytest.mark.parametrize("seed_method", ["igd", "mgd3", "herding"])
def test_a_seed_set_is_the_methods_own_set_of_that_size(
    seed_method: str, tiny: Config, assets: Path, tmp_path: Path
) -> None:
    config = with_values(tiny, {"stages.seed_method": seed_method})
    run = grown(config, assets, tmp_path / "lgd")
    alone = grown(seed_config(config), assets, tmp_path / "alone")
    assert images_of(run, 1).images.equal(images_of(alone, 1).images)
    latents = read_latents(run.increment(1))
    assert {name: latent.shape for name, latent in latents.items()} == dict.fromkeys("0123456789", (2, 1, 8, 8))
    stored = images_of(run, 1).images[images_of(run, 1).labels == 3]
    if seed_method == "herding":
        torch.testing.assert_close(latents["3"], stored / 255 * 2 - 1)


def test_the_easiest_of_a_slot_are_those_of_least_reference_loss(tiny: Config, assets: Path, tmp_path: Path) -> None:
    """The first candidate of a slot is the image that `dit` keeps; no learner is trained for a seed set of them."""
    stages = {"seed_candidates": 3, "seed_method": "dit-easiest", "increments": 1}
    config = with_values(tiny, {f"stages.{name}": value for name, value in stages.items()})
    plain, run = grown(with_method(config, "dit"), assets, tmp_path / "dit"), grown(config, assets, tmp_path / "lgd")
    kept, first = read_manifest(run.increment(1)), read_manifest(plain.increment(1))
    for row, one in zip(kept, first, strict=True):
        losses = [candidate.reference_loss for candidate in row.candidates]
        assert (len(losses), losses[row.chosen], row.candidates[0].seed) == (3, min(losses), one.candidates[0].seed)
        assert all(candidate.score is None for candidate in row.candidates)
        same = images_of(run, 1).images[kept.index(row)].equal(images_of(plain, 1).images[kept.index(row)])
        assert same == (row.chosen == 0)
    assert {row.chosen for row in kept} == {0, 1, 2}


@pytest.mark.parametrize(("seed_method", "told"), [("dit", 1), ("dit-easiest", 0)])
def test_candidates_of_a_seed_set_that_nobody_chooses_from_are_told(
    seed_method: str, told: int, tiny: Config, caplog: pytest.LogCaptureFixture
) -> None:
    config = with_values(tiny, {"stages.seed_method": seed_method, "stages.seed_candidates": 6})
    with caplog.at_level(logging.WARNING):
        check_method(config, cached_splits(tiny.dataset).train)
    assert [record.getMessage() for record in caplog.records] == told * [
        "stages.seed_candidates: not used, because dit makes one candidate a slot; try dit-herded"
    ]


def test_a_seed_set_does_not_mind_where_the_whole_set_is_evaluated(tiny: Config) -> None:
    assert seed_config(with_values(tiny, {"evaluation.ipc": (4,)})).stages.increments == 1


def test_ablations_change_their_fields_alone(tiny: Config) -> None:
    base = with_method(tiny, "lgd")
    assert with_method(tiny, "lgd-omega0") == with_values(base, {"method": "lgd-omega0", "guidance.omega": 0.0})
    assert with_method(tiny, "lgd-kappa1") == with_values(base, {"method": "lgd-kappa1", "stages.candidates": 1})
    assert with_method(tiny, "lgd-no-deviation").guidance.deviation == 0
    anchored: dict[str, object] = {"method": "lgd-anchored", "stages.anchor": "learnability"}
    for steps, first, nearer, window in ((4, 1, 0, (0, 3)), (50, 15, 10, (3, 45)), (100, 30, 20, (6, 90))):
        at = with_values(base, {"sampling.steps": steps})
        anchored["stages.anchor_step"] = first
        assert with_method(at, "lgd-anchored") == with_values(at, anchored)
        easiest: dict[str, object] = {"stages.selection": "easiest-unlearned", "stages.seed_anchor": "none"}
        easiest |= {**anchored, "method": "lgd-anchored-easiest", "stages.anchor_step": nearer}
        easiest["guidance.window"] = window
        assert with_method(at, "lgd-anchored-easiest") == with_values(at, easiest)
    only = with_method(tiny, "lgd-selection-only")
    assert (only.guidance.strength, only.guidance.deviation, only.stages.candidates) == (0, 0, 2)


def test_a_chosen_step_stays(tiny: Config) -> None:
    """A method sets the anchors' step where nobody chose one; other fields of its own it always sets."""
    at = with_values(tiny, {"sampling.steps": 50, "stages.anchor_step": 25, "stages.selection": "score"})
    for name, rule in (("lgd-anchored", "score"), ("lgd-anchored-easiest", "easiest-unlearned")):
        made = with_method(at, name)
        assert (made.stages.anchor_step, made.stages.selection) == (25, rule)
        assert with_method(made, name) == made


def test_anchors_named_by_hand_start_at_half_of_the_steps(tiny: Config) -> None:
    at = with_values(tiny, {"sampling.steps": 50, "stages.anchor": "herding"})
    assert [first_step(recipe_for(with_values(at, {"stages.anchor_step": step}))) for step in (None, 0)] == [25, 0]
    assert first_step(recipe_for(with_values(at, {"stages.anchor": "none"}))) == 49


def test_an_unknown_method_lists_the_known(tiny: Config) -> None:
    known = "dit, dit-easiest, dit-herded, full, herding, hybrid, igd"
    with pytest.raises(UserError, match=rf"did you mean 'k-center'.*Known: {known}"):
        method_named("kcenter")


def test_an_unknown_selection_rule_is_refused_before_any_work(tiny: Config) -> None:
    with pytest.raises(UserError, match=r"stages\.selection: unknown rule 'valid'; did you mean 'valid-first'"):
        check_method(with_values(tiny, {"stages.selection": "valid"}), cached_splits(tiny.dataset).train)


@pytest.mark.parametrize("name", ["random", "herding", "k-center", "mgd3"])
def test_more_than_the_smallest_class_is_refused_by_name(name: str, tiny: Config) -> None:
    labels = torch.tensor([0] * 9 + [1] * 3)
    train = ImageSet(torch.zeros(12, 1, 8, 8, dtype=torch.uint8), labels, ("many", "few"))
    config = with_values(tiny, {"method": name})
    with pytest.raises(UserError, match="'few' has 3 real images, fewer than the 4"):
        check_method(config, train)
    as_seed = with_values(tiny, {"stages.seed_method": name})
    check_method(as_seed, train)  # 2 of them
    with pytest.raises(UserError, match="'few' has 3 real images, fewer than the 5"):
        check_method(with_values(as_seed, {"stages.images_per_increment": 5}), train)


@pytest.mark.parametrize("name", ["lgd", "lgd-kappa1", "full"])
def test_what_cannot_make_a_seed_set_is_refused(name: str, tiny: Config) -> None:
    with pytest.raises(UserError, match=f"stages.seed_method: '{name}'"):
        check_method(with_values(tiny, {"stages.seed_method": name}), cached_splits(tiny.dataset).train)


def test_mode_guidance_without_a_step_is_refused_before_any_work(tiny: Config) -> None:
    train, last = cached_splits(tiny.dataset).train, tiny.sampling.steps - 2
    as_method, as_seed = with_method(tiny, "mgd3"), with_values(tiny, {"stages.seed_method": "mgd3"})
    anchored = {"stages.anchor": "herding", "stages.anchor_step": last - 1}
    for config in (as_method, as_seed):
        check_method(with_values(config, {"modes.stop": last}), train)
        check_method(with_values(config, {"modes.stop": last - 2, **anchored}), train)
        for values in ({"modes.stop": last + 1}, {"modes.stop": last - 1, **anchored}):
            with pytest.raises(UserError, match=r"modes\.stop: \d+ leaves no step .* must be below"):
                check_method(with_values(config, values), train)
    check_method(with_values(tiny, {"modes.stop": 99}), train)  # lgd has no modes


@pytest.mark.parametrize("flip", [False, True])
def test_modes_are_of_randomly_flipped_images(flip: bool, tiny: Config, assets: Path, tmp_path: Path) -> None:
    """As many modes as images are the latents themselves: here each is an image or its mirror image."""
    train = cached_splits(tiny.dataset).train
    count = len(train.indices_of(3))
    config = with_method(with_values(tiny, {"modes.flip": flip}), "mgd3")
    growth = growth_of(config, Run(tmp_path), assets_of(config, assets, "cpu"), train.class_names)
    found = class_modes(Resources(growth, 1, range(3, 4)), 3, count)
    x, found = train.pixels(train.indices_of(3)).double() / 127.5 - 1, found.double()
    plain, mirrored = (torch.cdist(part.flatten(1), found.flatten(1)).min(1).values < 1e-4 for part in (x, x.flip(-1)))
    assert (plain | mirrored).all()
    assert (count / 3 < mirrored.sum() < 2 * count / 3) if flip else plain.all()


def test_modes_are_found_once_and_a_corrupt_file_alone_again(tiny: Config, assets: Path, tmp_path: Path) -> None:
    config = with_method(tiny, "mgd3")
    run = grown(config, assets, tmp_path)
    train = cached_splits(tiny.dataset).train
    latents = train.images[train.indices_of(3)] / 255 * 2 - 1
    expected = find_modes(latents, 4, derive_seed(0, "modes", "3"))
    torch.testing.assert_close(load_tensors(run.modes(3))["modes"], expected)
    before = run.modes(3).stat().st_mtime_ns
    shutil.rmtree(run.increment(2))
    whole = run.modes(4).read_bytes()
    run.modes(4).write_bytes(b"short")
    grown(config, assets, tmp_path)
    assert run.modes(4).read_bytes() == whole
    assert run.modes(3).stat().st_mtime_ns == before
