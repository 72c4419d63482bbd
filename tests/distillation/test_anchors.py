"""Anchored sampling: its start, its order of anchors, and runs with every kind of anchor and method."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from tests.conftest import resources_of
from tests.denoisers import of_noise
from tests.distillation.test_method_registry import TINY, grown, images_of
from torch import Tensor

from lgd.config import Config, SamplingConfig, with_values
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.diffusion.sampler import Start, sample, steps_of
from lgd.diffusion.types import Prediction, Step
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, growth_of, with_method
from lgd.distillation.methods.anchors import anchors_file, learnable_anchors
from lgd.distillation.methods.candidates import SamplingContext
from lgd.distillation.methods.checks import check_method
from lgd.distillation.methods.coresets import herding_order, prototypes
from lgd.distillation.methods.real import deal_and_measure
from lgd.distillation.recipe import assets_of
from lgd.distillation.store import Row, read_manifest
from lgd.errors import UserError
from lgd.execution.local import Local
from lgd.experiments.prepare import prepare
from lgd.storage.files import save_tensors

NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def settings() -> Config:
    values = {"stages.anchor": "herding", "stages.anchor_step": 2, "stages.increments": 3, "modes.stop": 0}
    return with_values(Config(), {**TINY, **values})


@pytest.fixture(scope="module")
def assets(settings: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    used = [METHODS[name] for name in ("lgd", "igd")]
    prepare(assets_of(settings, folder, "cpu"), used, Local(1, folder))
    return folder


def by_class(run: Run, increment: int, label: int) -> list[Row]:
    return [row for row in read_manifest(run.increment(increment)) if row.label == label]


@pytest.mark.parametrize("scheduler", ["ddpm", "ddim", "dpm++"])
def test_sampling_starts_from_the_noised_latent(scheduler: str, finished: Path, tiny: Config) -> None:
    """It takes the steps up to t0 alone; a denoiser that knows the noise finds the latent again, to the end."""
    generator = resources_of(tiny, finished, 2, range(1)).generator
    schedule = generator.schedule(SamplingConfig(scheduler=scheduler, steps=10))  # type: ignore[arg-type]
    z, eps = torch.randn(2, 1, 8, 8).clamp(-1, 1), torch.randn(2, 1, 8, 8)
    seen: list[tuple[int, Tensor]] = []

    def oracle(x_t: Tensor, step: Step) -> Prediction:
        seen.append((step.index, x_t))
        return of_noise((x_t - step.alpha_bar**0.5 * z) / (1 - step.alpha_bar) ** 0.5, x_t, step)

    streams = [torch.Generator().manual_seed(i) for i in range(2)]
    found = sample(oracle, schedule, eps, streams, start=Start(z, 6))
    assert [index for index, _ in seen] == [6, 5, 4, 3, 2, 1, 0]
    abar = next(step.alpha_bar for step in steps_of(schedule) if step.index == 6)
    torch.testing.assert_close(seen[0][1], abar**0.5 * z + (1 - abar) ** 0.5 * eps)
    torch.testing.assert_close(found, z, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("t0", "calls"), [(None, 50), (24, 25), (14, 15)])
def test_the_denoiser_is_called_for_the_steps_that_are_left(
    t0: int | None, calls: int, finished: Path, tiny: Config
) -> None:
    """So the steps from t0 to 0 of T cost (t0 + 1) / T."""
    generator = resources_of(tiny, finished, 2, range(1)).generator
    x, seen = torch.randn(1, 1, 8, 8), []

    def counted(x_t: Tensor, step: Step) -> Prediction:
        seen.append(step.index)
        return of_noise(x_t, x_t, step)

    schedule = generator.schedule(SamplingConfig(scheduler="ddim", steps=50))
    sample(counted, schedule, x, start=None if t0 is None else Start(x, t0))
    assert len(seen) == calls


def test_anchors_follow_one_order_and_seeds_stay(settings: Config, assets: Path, tmp_path: Path) -> None:
    """Of an increment, the first candidates of all slots come first; every image has the seed that it has anyway."""
    run, plain = (
        grown(with_method(with_values(settings, {"stages.anchor": kind}), "lgd"), assets, tmp_path / kind)
        for kind in ("herding", "none")
    )
    train = cached_splits(settings.dataset).train
    growth = growth_of(settings, run, assets_of(settings, assets, "cpu"), NAMES)
    for label in (0, 6):
        resources = resources_of(settings, run.root, 2, range(10))
        resources.assets, resources.growth = growth.assets, growth
        order = train.indices_of(label)[herding_order(resources, label, 10)].tolist()
        # two slots a class: the seed set has one candidate a slot, the others two
        expected = [[[order[0]], [order[1]]], [[order[2], order[4]], [order[3], order[5]]]]
        expected += [[[order[6], order[8]], [order[7], order[9]]]]
        for increment in (1, 2, 3):
            rows, unanchored = by_class(run, increment, label), by_class(plain, increment, label)
            assert [[c.real for c in row.candidates] for row in rows] == expected[increment - 1]
            assert [[c.seed for c in row.candidates] for row in rows] == [
                [c.seed for c in row.candidates] for row in unanchored
            ]
            assert all(row.source is None for row in rows)
            assert all(candidate.real is None for row in unanchored for candidate in row.candidates)


def test_the_last_step_alone_copies_the_anchor(settings: Config, assets: Path, tmp_path: Path) -> None:
    config = with_values(settings, {"stages.anchor_step": 0, "stages.increments": 1})
    run = grown(with_method(config, "dit"), assets, tmp_path)
    train = cached_splits(settings.dataset).train
    rows = read_manifest(run.increment(1))
    anchors = train.pixels(torch.tensor([row.candidates[0].real for row in rows])) / 255
    images = images_of(run, 1).images / 255
    nearest = torch.cdist(images.flatten(1), anchors.flatten(1)).argmin(1)
    assert (nearest == torch.arange(20)).float().mean() > 0.9


@pytest.mark.parametrize("name", ["dit", "mgd3", "igd", "lgd", "hybrid"])
@pytest.mark.parametrize("anchor", ["random", "k-means", "learnability"])
def test_every_sampled_method_resumes_to_the_same_images(
    name: str, anchor: str, settings: Config, assets: Path, tmp_path: Path
) -> None:
    config = with_method(with_values(settings, {"stages.anchor": anchor}), name)
    if (name, anchor) not in {
        ("lgd", "learnability"),
        ("lgd", "k-means"),
        ("hybrid", "learnability"),
        ("dit", "random"),
    }:
        config = with_values(config, {"stages.increments": 1})
    run = grown(config, assets, tmp_path)
    last = run.increment(config.stages.increments)
    before = (last / "manifest.jsonl").read_bytes()
    assert all(c.real is not None for row in read_manifest(last) for c in row.candidates)
    shutil.rmtree(last)
    grown(config, assets, tmp_path)
    assert (last / "manifest.jsonl").read_bytes() == before


def test_candidates_of_a_seed_set_have_anchors_of_their_own(settings: Config, assets: Path, tmp_path: Path) -> None:
    """Two slots of two candidates in each of three increments: no anchor serves two candidates."""
    run = grown(with_values(settings, {"stages.seed_method": "dit-easiest"}), assets, tmp_path)
    used = [c.real for i in (1, 2, 3) for row in by_class(run, i, 3) for c in row.candidates]
    assert len(used) == len(set(used)) == 12


@pytest.mark.parametrize(("anchor", "seed_anchor"), [("learnability", "none"), ("none", "herding")])
def test_the_seed_set_has_anchors_of_its_own(
    anchor: str, seed_anchor: str, settings: Config, assets: Path, tmp_path: Path
) -> None:
    values = {"stages.anchor": anchor, "stages.seed_anchor": seed_anchor, "stages.increments": 2}
    run = grown(with_values(settings, values), assets, tmp_path / "own")
    for increment, kind in ((1, seed_anchor), (2, anchor)):
        rows = read_manifest(run.increment(increment))
        assert all((candidate.real is None) == (kind == "none") for row in rows for candidate in row.candidates)
    alone = grown(
        with_values(settings, {"stages.anchor": seed_anchor, "stages.increments": 1}), assets, tmp_path / "one"
    )
    assert torch.equal(images_of(run, 1).images, images_of(alone, 1).images)


@pytest.mark.parametrize("rule", ["score", "valid-first", "easiest-unlearned"])
def test_learnable_anchors_are_the_best_of_those_dealt(
    rule: str, settings: Config, finished: Path, tiny: Config
) -> None:
    """Against a plain sort."""
    from lgd.distillation.stages import real_image_units

    values = {"stages.anchor": "learnability", "stages.anchor_step": 3, "real.candidates": 6, "stages.selection": rule}
    config = with_values(tiny, values)
    resources = resources_of(config, finished, 2, range(10))
    for unit in real_image_units(resources.growth):
        unit.function(*unit.arguments)
    context = SamplingContext(resources, resources.config, lambda d, *_: d, {}, scored=True)
    found, dealt = learnable_anchors(context), deal_and_measure(context)
    keys = {
        "score": lambda valid, unlearned, score, loss: -score,
        "valid-first": lambda valid, unlearned, score, loss: (not valid, -score),
        "easiest-unlearned": lambda valid, unlearned, score, loss: (
            (0, loss, 0) if valid and unlearned else (1, not valid, -score)
        ),
    }
    scores = dealt.scores
    columns = scores.valid, scores.learner_loss > config.stages.unlearned_above, scores.score, scores.reference_loss
    order = [keys[rule](*(column[i].item() for column in columns)) for i in range(len(scores.score))]
    for (slot, label), rows in dealt.rows.items():
        ranked = sorted(rows.tolist(), key=lambda i: order[i])
        assert found.positions[label, slot] == dealt.members[ranked[:2]].tolist()
    shutil.rmtree(resources.assets.real_folder)


def test_prototypes_are_the_nearest_free_images() -> None:
    draw = torch.Generator().manual_seed(0)
    features, centres = torch.randn(20, 3, generator=draw), torch.randn(8, 3, generator=draw)
    centres[5] = centres[2]
    taken: list[int] = []
    for centre in centres:
        free = [i for i in range(20) if i not in taken]
        taken.append(min(free, key=lambda i: float((features[i] - centre).norm())))
    assert prototypes(features, centres).tolist() == taken


def test_anchors_of_another_size_are_refused(settings: Config, assets: Path, tmp_path: Path) -> None:
    config = with_method(with_values(settings, {"stages.increments": 1, "stages.candidates": 3}), "dit")
    run = grown(config, assets, tmp_path)
    growth = growth_of(config, run, assets_of(config, assets, "cpu"), NAMES)
    path = anchors_file(growth, "herding", 0)
    save_tensors(path, {"members": torch.arange(2), "latents": torch.zeros(2, 4, 4, 4)})
    path.with_name(f".{path.name}.sha256").unlink()
    shutil.rmtree(run.increment(1))
    with pytest.raises(
        UserError, match=r"0000.safetensors: anchors of \[4, 4, 4\], but the generator's latents are \[1, 8, 8\]"
    ):
        grown(config, assets, tmp_path)


def test_a_window_outside_the_steps_that_are_left_is_told(settings: Config, caplog: pytest.LogCaptureFixture) -> None:
    train = cached_splits(settings.dataset).train
    with caplog.at_level(logging.INFO, "lgd"):
        check_method(with_values(settings, {"guidance.window": (3, 3)}), train)
    assert caplog.messages == [
        "lgd: no step is guided, because sampling starts from anchors at step 2 and the window of guidance begins at 3;"
        " lower guidance.window or raise stages.anchor_step"
    ]


def test_fewer_images_than_anchors_serve_in_turn(settings: Config, caplog: pytest.LogCaptureFixture) -> None:
    train = ImageSet(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.tensor([0] * 37 + [1] * 3), ("many", "few"))
    with caplog.at_level(logging.INFO, "lgd"):
        check_method(settings, train)
    assert caplog.messages == [
        "lgd: class 'few' has 3 real images, fewer than the 10 anchors asked for; all of them serve, in turn"
    ]
    config = with_values(settings, {"stages.anchor": "learnability", "stages.images_per_increment": 4})
    with pytest.raises(UserError, match="class 'few' has fewer real images than the 4 slots"):
        check_method(config, train)
