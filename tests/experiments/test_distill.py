"""The stage loop, the store and resuming, on a tiny run."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import resources_of

import lgd
from lgd.config import Config, with_values
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.methods import method_named
from lgd.distillation.methods.sampled import sample_lgd
from lgd.distillation.methods.sampling import score_candidates
from lgd.distillation.store import read_increment, read_latents, read_manifest
from lgd.errors import UserError
from lgd.experiments.distill import distill
from lgd.rng import image_seed
from lgd.storage.files import sha256


def digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run, except times."""
    made = [*root.glob("increments/**/*"), *root.glob("dataset/**/*"), *root.glob("evaluation/*")]
    return {str(path.relative_to(root)): sha256(path) for path in made if path.is_file()}


def test_the_run_directory_has_what_it_promises(finished: Path, tiny: Config) -> None:
    run = Run(finished)
    for increment in (1, 2, 3):
        folder = run.increment(increment)
        rows = read_manifest(folder)
        assert [(row.label, row.slot) for row in rows] == [(c, s) for c in range(10) for s in range(2)]
        for row in rows:
            assert row.class_name == str(row.label)
            assert sha256(folder / row.file) == row.sha256
            with Image.open(folder / row.file) as image:
                assert (image.mode, image.size) == ("L", (8, 8))
            assert [c.seed for c in row.candidates] == [
                image_seed(0, increment, row.class_name, row.slot, k) for k in range(len(row.candidates))
            ]
        assert (folder / "done").exists()
        assert run.learner(increment, 0).exists() == (increment > 1)
        assert {len(row.candidates) for row in rows} == ({1} if increment == 1 else {2})
    assert json.loads(run.config.read_text())["guidance"]["window"] == [1, 6]
    for name in ("images", "accuracy", "redundancy"):
        assert (finished / "figures" / f"{name}.svg").stat().st_size > 1000
        assert (finished / "figures" / f"{name}.png").stat().st_size > 1000


def test_metrics_have_the_promised_keys(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["method"] == "lgd"
    assert metrics["dataset"] == "digits"
    assert 0 <= metrics["reference"]["accuracy"] <= 100
    assert [(row["index"], row["ipc"], row["images"]) for row in metrics["increments"]] == [
        (1, 2, 20),
        (2, 4, 40),
        (3, 6, 60),
    ]
    for row in metrics["increments"]:
        assert len(row["accuracy"]["values"]) == 2
        assert row["accuracy"]["mean"] == pytest.approx(np.mean(row["accuracy"]["values"]))
        assert row["accuracy"]["std"] == pytest.approx(np.std(row["accuracy"]["values"], ddof=1))
        assert 0 <= row["validity"] <= 100
    matrix = np.array(metrics["redundancy"]["matrix"])
    assert matrix.shape == (3, 3)
    off = matrix[~np.eye(3, dtype=bool)]
    assert metrics["redundancy"]["mean_off_diagonal"] == pytest.approx(off.mean())
    assert set(metrics["seconds"]) == {"generator", "reference", "judge", "stages", "evaluation"}


def test_the_union_is_an_image_folder(finished: Path) -> None:
    with (finished / "dataset" / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    for row in rows:
        assert sha256(finished / "dataset" / row["file_name"]) == row["sha256"]
        assert row["file_name"].split("/")[0] == row["class_name"]
    assert len(list((finished / "dataset").glob("*/*.png"))) == 60


def test_load_gives_a_torch_dataset(finished: Path) -> None:
    data = lgd.load(finished)
    assert len(data) == 60
    image, label = data[59]
    assert (image.shape, image.dtype, label) == ((1, 8, 8), torch.float32, 9)
    assert data.metrics is not None
    batch, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=60)))
    assert torch.equal((batch * 255).round().to(torch.uint8), data.images.images)
    assert torch.equal(labels, data.images.labels)


def test_scores_are_those_of_the_stored_images(finished: Path, tiny: Config) -> None:
    resources = resources_of(tiny, finished, 2, range(10))
    images = read_increment(Run(finished).increment(2), [str(c) for c in range(10)])
    rows = read_manifest(Run(finished).increment(2))
    again = score_candidates(resources, images.images, images.labels, tiny.guidance.omega, scored=True)
    for place, row in enumerate(rows):
        kept = row.candidates[row.chosen]
        assert kept.score == pytest.approx(float(again.score[place]), abs=1e-4)
        assert kept.valid == bool(again.valid[place])
        rivals = [c for c in row.candidates if c.valid] or row.candidates
        assert kept.score == max(c.score for c in rivals)  # type: ignore[type-var]


def test_memory_is_what_came_before(finished: Path, tiny: Config) -> None:
    memory = resources_of(tiny, finished, 3, range(4, 6)).memory()
    assert sorted(memory) == [4, 5]
    assert memory[4].shape == (4, 1, 8, 8)
    torch.testing.assert_close(memory[4][2:], read_latents(Run(finished).increment(2))["4"])
    stored = read_increment(Run(finished).increment(1), [str(c) for c in range(10)])
    decoded = ((memory[4][:2] + 1) / 2).clamp(0, 1)
    torch.testing.assert_close((decoded * 255).round().to(torch.uint8), stored.images[stored.indices_of(4)])


def test_an_image_is_the_same_whatever_it_is_drawn_with(finished: Path, tiny: Config) -> None:
    """All classes in one batch, the same in batches of three, and one class alone."""
    small_batches = replace(tiny, sampling=replace(tiny.sampling, batch_size=3))
    together = sample_lgd(resources_of(tiny, finished, 2, range(10)))
    small = sample_lgd(resources_of(small_batches, finished, 2, range(10)))
    alone = sample_lgd(resources_of(tiny, finished, 2, range(7, 8)))
    assert len(together) == 20
    for a, b in zip([*small, *alone], [*together, *(item for item in together if item.label == 7)], strict=True):
        assert [c.seed for c in a.candidates] == [c.seed for c in b.candidates]
        torch.testing.assert_close(a.latent, b.latent, rtol=1e-3, atol=1e-3)


def test_repeating_a_finished_run_changes_no_file(finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.glob("increments/**/*") if path.is_file()}
    distill(tiny, copy)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    "lost", ["increments/02/groups/0001.json", "increments/02/done", "increments/03", "evaluation"]
)
def test_what_is_lost_is_made_again_to_the_bit(lost: str, finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    path = copy / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if lost.startswith("increments/02"):  # what comes later cannot be there yet
        (copy / "increments/02/done").unlink(missing_ok=True)
        shutil.rmtree(copy / "increments/03")
    distill(tiny, copy)
    assert digests(copy) == digests(finished)


def test_figures_are_drawn_again_when_lost_or_when_a_number_changed(
    finished: Path, tiny: Config, tmp_path: Path
) -> None:
    root = shutil.copytree(finished, tmp_path / "run")
    figure, metrics = root / "figures" / "accuracy.png", root / "metrics.json"
    drawn = figure.read_bytes()

    def written_again() -> bool:
        before = figure.stat().st_mtime_ns if figure.exists() else 0
        distill(tiny, root)
        assert figure.read_bytes() == drawn
        return figure.stat().st_mtime_ns != before

    assert not written_again()
    (root / "figures" / "redundancy.svg").unlink()
    assert written_again()
    for text in ("{", "[]", metrics.read_text().replace('"accuracy": ', '"accuracy": 1')):
        metrics.write_text(text)
        assert written_again()
        assert json.loads(metrics.read_text())["method"] == "lgd"
    assert not written_again()


def test_workers_do_not_change_a_byte(finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "increments")
    shutil.rmtree(copy / "evaluation")
    distill(with_values(tiny, {"compute.workers": 2}), copy)
    assert digests(copy) == digests(finished)


def test_another_configuration_is_refused_and_nothing_lost(finished: Path, tiny: Config) -> None:
    before = digests(finished)
    with pytest.raises(UserError, match=r"guidance.omega \(1.0 there, 0.5 here\); seed \(0 there, 4 here\)"):
        distill(with_values(tiny, {"seed": 4, "guidance.omega": 0.5}), finished)
    assert digests(finished) == before


def test_overwrite_starts_anew(finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / "increments/09").mkdir()
    other = with_values(tiny, {"stages.increments": 1, "evaluation.redundancy_seeds": 0})
    distill(other, copy, overwrite=True)
    assert [path.name for path in (copy / "increments").iterdir()] == ["01"]
    assert json.loads((copy / "metrics.json").read_text())["redundancy"] is None


@pytest.mark.parametrize(
    "file",
    [
        "increments/01/3/01-0001.png",
        "increments/02/groups/0001.json",
        "increments/02/groups/0000.safetensors",
        "increments/03/learners/0.safetensors",
        "evaluation/accuracy-convnet-02-1.json",
        "dataset/7/02-0000.png",
        "judge.safetensors",
        "generator/transformer/diffusion_pytorch_model.safetensors",
    ],
)
def test_a_file_corrupted_after_it_was_written_is_found_told_and_made_again_to_the_bit(
    file: str, finished: Path, tiny: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Flips one bit, so that the file can still be read; no other file is made again."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    path = copy / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("increments/*/*/*") if p.is_file()}
    distill(tiny, copy)
    assert digests(copy) == digests(finished)
    assert sha256(path) == sha256(finished / file)
    assert f"{path}: corrupt, not what was written; made again" in caplog.text
    again = {p.parent.parent for p, time in before.items() if p.stat().st_mtime_ns != time}
    assert again <= {path.parent.parent}


def test_a_lost_image_is_made_again(finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / "increments/02/3/02-0001.png").unlink()
    distill(tiny, copy)
    assert digests(copy) == digests(finished)


def test_files_that_a_loss_of_power_left_empty_are_made_again(finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    for name in ("3/02-0001.png", "groups/0000.json", "groups/.0000.json.sha256"):
        (copy / "increments/02" / name).write_bytes(b"")
    distill(tiny, copy)
    assert digests(copy) == digests(finished)


def test_a_receipt_cannot_make_us_remove_a_file_outside(finished: Path, tiny: Config, tmp_path: Path) -> None:
    copy, mine = tmp_path / "run", tmp_path / "thesis.tex"
    shutil.copytree(finished, copy)
    mine.write_text("years of work")
    receipt = copy / "increments/02/groups/.0001.json.sha256"
    receipt.write_text(f"{'0' * 64}  ../../../../thesis.tex\n")
    distill(tiny, copy)
    assert mine.read_text() == "years of work"
    assert digests(copy) == digests(finished)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("increments/02/3/02-0001.png", b"\x00", r"02-0001\.png: corrupt: its SHA-256 differs"),
        ("increments/02/3/02-0001.png", None, r"02-0001\.png: no such file"),
        ("increments/02/manifest.jsonl", b"{", r"manifest\.jsonl: corrupt, not JSON"),
        ("increments/02/manifest.jsonl", b'{"file": "../../x"}\n', r"manifest\.jsonl: corrupt manifest"),
        ("reference.safetensors", b"xx", r"reference\.safetensors: corrupt"),
        ("generator/transformer/diffusion_pytorch_model.safetensors", b"xx", "generator/transformer: cannot be loaded"),
        ("config.json", b"{}", r"made with another configuration: "),
    ],
)
def test_without_receipts_a_corrupt_file_is_named_and_the_rest_stays(
    file: str, damage: bytes | None, message: str, finished: Path, tiny: Config, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    for receipt in copy.rglob(".*.sha256"):
        receipt.unlink()
    if file.startswith("generator"):
        shutil.rmtree(copy / "increments/03")
    path = copy / file
    path.write_bytes(damage) if damage is not None else path.unlink()
    before = digests(copy)
    with pytest.raises(UserError, match=message):
        distill(tiny, copy)
    after = digests(copy)
    assert {name: after.get(name) for name in before} == before


def test_random_takes_every_image_once(tiny: Config, tmp_path: Path) -> None:
    run = distill(with_values(tiny, {"method": "random", "evaluation.redundancy_seeds": 0}), tmp_path / "run")
    rows = [row for i in (1, 2, 3) for row in read_manifest(run.increment(i))]
    sources = [row.source for row in rows]
    assert len(set(sources)) == 60
    train = cached_splits(tiny.dataset).train
    for row in rows:
        assert train.labels[row.source].item() == row.label  # type: ignore[index]
    assert sorted(sources) != list(range(60))


def test_random_refuses_more_than_there_are(tiny: Config, tmp_path: Path) -> None:
    greedy = with_values(tiny, {"method": "random", "stages.images_per_increment": 60})
    with pytest.raises(UserError, match=r"random: class '8' has 130 real images, fewer than the 180 asked for"):
        distill(greedy, tmp_path / "run")


def test_real_images_can_be_the_seed_set(tiny: Config, tmp_path: Path) -> None:
    config = with_values(
        tiny, {"stages.seed_method": "random", "stages.increments": 2, "evaluation.redundancy_seeds": 0}
    )
    run = distill(config, tmp_path / "run")
    assert all(row.source is not None for row in read_manifest(run.increment(1)))
    first = read_increment(run.increment(1), [str(c) for c in range(10)])
    latents = read_latents(run.increment(1))["0"]
    torch.testing.assert_close((latents + 1) / 2 * 255, first.images[:2].float())


def test_a_method_that_needs_a_learner_cannot_be_the_seed(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stages.seed_method: 'lgd' cannot make a seed set; use one of"):
        distill(with_values(tiny, {"stages.seed_method": "lgd"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_method_suggests() -> None:
    with pytest.raises(UserError, match="unknown method 'rondom'; did you mean 'random'"):
        method_named("rondom")
