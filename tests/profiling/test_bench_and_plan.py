"""`lgd bench` and `lgd plan`: results and refused input. No test checks a time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DiTTransformer2DModel

from lgd.cli.main import main
from lgd.config import Config, load_config, with_values
from lgd.distillation.layout import Run
from lgd.distillation.methods import recipe_for, with_method
from lgd.distillation.recipe import Recipe, first_step
from lgd.distillation.store import read_manifest
from lgd.profiling.bench import with_steps
from lgd.profiling.measure import Alive, count
from lgd.profiling.plan import Rates, plan
from lgd.profiling.sizes import Sizes
from lgd.profiling.workloads import Workload, Workloads
from lgd.rng import derive_seed

VARIANTS = {"unguided", "guided, route denoiser", "guided, route x0", "guided, route x0, every 2"}


def test_bench_of_a_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--run", str(finished), "--classes", "2", "--candidates", "2", "--steps", "8", "--rounds", "1"]
    assert main(["bench", *arguments, "--quick", "--json", str(out), "--quiet"]) == 0
    result = json.loads(out.read_text())
    rows = result["sampling"]
    assert set(rows) == VARIANTS
    for name, row in rows.items():
        assert row["kept_per_second"] > 0
        assert row["sampled_per_second"] == pytest.approx(row["kept_per_second"] * (1 if name == "unguided" else 2))
        assert (row["mean_score"] is None) == (name == "unguided")
    assert rows["unguided"]["cost_per_sampled"] == 1
    assert result["denoiser"]["flops"] > 0
    assert result["denoiser"]["share_of_peak"] > 0
    assert result["matmul"].keys() == {"float32", "bfloat16"}
    assert "\n| guided, route x0, every 2 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "3"], "--steps must be at least 4"),
        (["--classes", "0"], "--classes must be at least 1"),
        (["--image-size", "40"], "--image-size must be a multiple of 16"),
        (["--decoder", "x"], "--decoder belongs to --run"),
        (["--run", "nowhere"], "nowhere: no run"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_bench_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_the_window_keeps_its_share_of_other_steps() -> None:
    from lgd.profiling.bench import Settings

    settings = Settings(steps=20, rounds=1, every=1)
    config = with_steps(load_config("digits"), settings)
    assert (config.sampling.steps, config.guidance.window) == (20, (4, 18))


def test_plan_of_images_that_are_not_on_this_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The field's largest set with its pipeline: counted, without weights and images."""
    out = tmp_path / "plan.json"
    config = ["--sampling.batch-size", "1"]  # one kind of step for the seed set and for later increments
    assert main(["plan", "imagenet1k", "--tflops", "312", "--json", str(out), "--quiet", *config]) == 0
    found = json.loads(out.read_text())
    names = [phase["name"] for phase in found["phases"]]
    assert names == ["reference", "judge", "surrogate", "learners", "images", "evaluation"]
    images = found["phases"][3]
    # 675 M weights in two bytes and more, and less than a GPU has
    assert 1.3 * 2**30 < images["bytes"] < 40 * 2**30
    assert found["seconds"] > 3600
    assert "1000 classes, 1281167 training" in capsys.readouterr().out


def test_equal_work_is_counted_once(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """More increments are more of the same steps."""

    def kinds(increments: int) -> int:
        counted = []
        monkeypatch.setattr("lgd.profiling.plan.count", lambda *work: counted.append(work) or (1, 1))
        batches = dict.fromkeys(("learner.training.batch_size", "evaluation.classifier.training.batch_size"), 16)
        config = with_values(tiny, {"stages.increments": increments, "evaluation.ipc": (), **batches})
        found = plan(config, Sizes(10, 1347, 450, (1, 8, 8), loaded=True), Rates(1e11, 3e11), fake=True)
        assert [phase.name for phase in found.phases][-2:] == ["images", "evaluation"]
        return len(counted)

    assert kinds(9) == kinds(3) < 20


def test_plan_counts_through_an_existing_generator_and_small_decoder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worked example on CIFAR-10, without its images."""
    monkeypatch.chdir(Path(__file__).parents[2])
    images = ["--classes", "10", "--images", "500", "--test-images", "100"]
    assert main(["plan", "benchmarks/cifar10.toml", "--count", "--quiet", *images]) == 0
    assert "\n| images " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar10"], "the images are not on this machine"),
        (
            ["imagenet1k", "--generator.source", "pretrained:some/thing", "--tflops", "1"],
            "thing is not on this machine",
        ),
        (["digits", "--share", "0"], "--share must lie between 0 and 1"),
        (["digits", "--rates", "none.json"], "none.json"),
    ],
)
def test_plan_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_plan_of_a_run_has_every_phase(tiny: Config) -> None:
    sizes = Sizes(10, 1347, 450, (1, 8, 8), loaded=True)
    found = plan(tiny, sizes, Rates(1e11, 3e11), fake=False)
    assert [phase.name for phase in found.phases] == [
        "generator",
        "reference",
        "judge",
        "learners",
        "images",
        "evaluation",
    ]
    assert all(phase.tried and phase.seconds > 0 and phase.bytes > 0 for phase in found.phases)
    assert found.peak > found.process > 2**20


def test_images_that_go_through_each_step_are_those_of_a_run(tiny: Config) -> None:
    """The plan counts as many steps of each kind as `sample_slots` takes; test_sampling.py counts those."""
    config = with_values(tiny, {"stages.candidates": 3, "guidance.every": 2, "guidance.window": (1, 6)})
    workloads = Workloads(config, Sizes(10, 1347, 450, (1, 8, 8), loaded=True), "cpu")

    def recipe(method: str) -> Recipe:
        return recipe_for(with_method(config, method))

    (plain, _), (guided, _), (decoded, _) = workloads.candidates(recipe("lgd"), 10)
    # indices 7 to 0 with three candidates; guided are 6, 4, 2
    assert guided == 10 * 3 * 3
    assert plain + guided == 10 * 3 * 8
    assert decoded == 10 * 3
    (plain, _), (guided, _), (decoded, _) = workloads.candidates(recipe("dit"), 10)
    assert (plain, guided, decoded) == (80, 0, 10)
    ((classified, _),) = workloads.candidates(recipe("lgd-real"), 10)
    assert classified == 10 * config.real.candidates * config.stages.learners
    assert len(workloads.candidates(recipe("hybrid"), 10)) == 4
    assert workloads.candidates(recipe("random"), 10) == []


def test_the_seed_set_is_planned_by_its_own_settings(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed set from noise takes all steps, anchored increments those from their anchors on."""
    starts, candidates = [], Workloads.candidates

    def noted(self: Workloads, recipe: Recipe, kept: float) -> list[tuple[float, Workload]]:
        starts.append((first_step(recipe), kept))
        return candidates(self, recipe, kept)

    monkeypatch.setattr(Workloads, "candidates", noted)
    values = {"stages.anchor": "herding", "stages.anchor_step": 2, "stages.seed_anchor": "none", "stages.increments": 3}
    plan(with_values(tiny, values), Sizes(10, 1347, 450, (1, 8, 8), loaded=True), Rates(1e11, 3e11), fake=True)
    assert starts == [(tiny.sampling.steps - 1, 20), (2, 40)]


def test_operations_and_bytes_of_a_product() -> None:
    layer = torch.nn.Linear(64, 32, bias=False).requires_grad_(False)
    x = torch.randn(16, 64)
    flops, most = count(lambda: layer(x), [layer])
    assert flops == 2 * 16 * 64 * 32
    assert most == 4 * (64 * 32 + 16 * 32)
    with Alive() as alive:
        for _ in range(5):
            torch.zeros(1000)
    assert alive.peak == 4000  # one after the other


def test_plans_of_a_generator_count_its_weights(tiny: Config) -> None:
    sizes = Sizes(10, 1347, 450, (1, 8, 8), loaded=True)
    large = replace(tiny, generator=replace(tiny.generator, size="tiny"))
    _, networks = Workloads(large, sizes, "cpu").generator_training_step().build()
    denoiser = networks[0]
    assert isinstance(denoiser, DiTTransformer2DModel)
    size = sum(p.numel() for p in denoiser.parameters())
    assert sum(p.numel() for p in networks[1].parameters()) == 3 * size


def test_bench_uses_noise_that_the_run_did_not(finished: Path) -> None:
    from lgd.profiling.networks import run_networks

    networks = run_networks(finished, 2, 10, "cpu", "")
    used = {candidate.seed for row in read_manifest(Run(finished).increment(3)) for candidate in row.candidates}
    assert networks.increment == 4
    assert derive_seed(0, "image", 4, 0, 0, 0) not in used


def test_bench_finds_what_the_sub_runs_of_compare_share(finished: Path, tmp_path: Path) -> None:
    from lgd.profiling.networks import run_networks

    own = run_networks(finished, 2, 10, "cpu", "")
    shutil.copytree(finished, tmp_path / "lgd-seed0")
    for name in ("generator", "reference.safetensors"):
        shutil.move(tmp_path / "lgd-seed0" / name, tmp_path / name)
    shared = run_networks(tmp_path / "lgd-seed0", 2, 10, "cpu", "")
    x = torch.rand(2, *own.reference.mean.shape[1:2], 8, 8)
    assert torch.equal(own.reference(x), shared.reference(x))
    assert own.generator.class_names == shared.generator.class_names
