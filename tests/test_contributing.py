"""CONTRIBUTING.md: its table of rooms, and its worked examples, which tiny runs of digits use from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import pytest
import torch
from diffusers import DDIMScheduler

from lgd.cli.main import main
from lgd.config import Config, GeneratorConfig, SamplingConfig, with_values
from lgd.diffusion.describe import describe
from lgd.diffusion.families import FAMILIES
from lgd.diffusion.folder import open_generator
from lgd.diffusion.sampler import sample
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, Method
from lgd.distillation.selection import SELECTION_RULES, SelectionRule
from lgd.distillation.store import Row, read_manifest
from lgd.guidance.classifier_free import classifier_free
from tests.cli.test_main import toml
from tests.diffusion.unets import save_class_unet
from tests.test_import_order import ROOMS
from tests.worked_examples import worked_example

PAGE = "../CONTRIBUTING.md"
TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_the_table_lists_the_rooms_in_their_order() -> None:
    table = TEXT.split("| room | content |")[1].split("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    assert rows == [room for room in ROOMS if not room[0].startswith("__")]


def test_the_documented_guidance_method(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The method is compared and planned by its name, and raises the reference's probability of the label."""
    (name,) = (example := worked_example(PAGE, "Add a guidance method", {"Method": Method}))
    monkeypatch.setitem(METHODS, name, example[name])
    values = {"guidance.strength": 2.0, "guidance.deviation": 0.0, "stages.increments": 1}
    preset, out = toml(with_values(tiny, values), tmp_path / "tiny.toml"), tmp_path / "out"
    assert main(["compare", str(preset), "--methods", "dit", name, "--runs", "1", "--out", str(out), "--quiet"]) == 0
    assert f"\n| {name} " in capsys.readouterr().out
    guided, unguided = (
        fmean(row.candidates[0].reference_loss or 0.0 for row in read_manifest(Run(out / run).increment(1)))
        for run in (f"{name}-seed0", "dit-seed0")
    )
    assert guided < unguided - 0.05
    found = tmp_path / "plan.json"
    assert main(["plan", str(preset), "--method", name, "--quiet", "--json", str(found)]) == 0
    assert "images" in {phase["name"] for phase in json.loads(found.read_text())["phases"]}


def test_the_documented_selection_rule(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule selects by its name in a run, and keeps the candidate that a plain loop over the manifest finds."""
    (name,) = (example := worked_example(PAGE, "Add a selection rule", {"SelectionRule": SelectionRule}))
    monkeypatch.setitem(SELECTION_RULES, name, example[name])
    values = {"stages.increments": 2, "stages.candidates": 4}
    preset, out = toml(with_values(tiny, values), tmp_path / "tiny.toml"), tmp_path / "out"
    assert main(["distill", str(preset), "--stages.selection", name, "--out", str(out), "--quiet"]) == 0
    rows = read_manifest(Run(out).increment(2))
    assert len(rows) == 20
    assert [row.chosen for row in rows] == [hardest(row) for row in rows]
    assert any(row.chosen != highest_score(row) for row in rows)


def test_the_documented_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its samples equal DDIM's with rows 1 and 2 for the classes and row 0 for none."""
    monkeypatch.setitem(FAMILIES, *worked_example(PAGE, "Add a family of generators", {}).popitem())
    unet = save_class_unet(tmp_path / "unet", 1, ("cat", "dog"))
    index = tmp_path / "unet" / "model_index.json"
    index.write_text(index.read_text().replace("DDPMPipeline", "NullFirstPipeline"))
    config = GeneratorConfig(source=f"pretrained:{tmp_path / 'unet'}")
    generator = open_generator(config, tmp_path, ("dog", "cat"), (1, 8, 8))
    x = torch.randn(2, *generator.latent_shape, generator=torch.Generator().manual_seed(0))
    ids = generator.conditions_of(torch.tensor([0, 1]), (0, 1))
    ours = sample(classifier_free(generator, ids, 3.0), generator.schedule(SamplingConfig("ddim", 5)), x)
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(5)
    for t in scheduler.timesteps:
        with torch.no_grad():
            own, free = unet(torch.cat([x, x]), t, class_labels=torch.tensor([2, 1, 0, 0])).sample.chunk(2)
        x = scheduler.step(free + 3 * (own - free), t, x).prev_sample
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-4)
    assert "null class first" in describe(config.source)


def highest_score(row: Row) -> int:
    """Return the index of the candidate with the highest score."""
    return max(range(len(row.candidates)), key=lambda k: row.candidates[k].score or 0.0)


def hardest(row: Row) -> int:
    """Return the index of the candidate with the highest loss of the learner."""
    return max(range(len(row.candidates)), key=lambda k: row.candidates[k].learner_loss or 0.0)
