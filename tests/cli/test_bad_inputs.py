"""Wrong, damaged and hostile input to every command: one line, the right exit code, and no file lost.

docs/bad-inputs.md lists these cases. `python -m tests.cli.test_bad_inputs` rewrites it, and a test compares.
"""

# ruff: noqa: E501 (a case is a line)

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.test_main import toml
from tests.conftest import tiny_config
from tests.diffusion.original_dit import random_weights
from tests.diffusion.pipelines import save_pipeline
from tests.diffusion.unets import save_class_unet, save_stable_diffusion

from lgd.cli.main import main
from lgd.distillation.store import encode_png
from lgd.storage.files import load_tensors_and_metadata, output_directory, save_tensors, sha256

TABLE = Path(__file__).parents[2] / "docs" / "bad-inputs.md"
HEAD = """\
# Bad input

`tests/cli/test_bad_inputs.py` runs every case and compares its output with this table. Each case prints at most one line on
standard error and changes no file that existed before. RUN is a finished run; OUT does not exist.

In Python the same text is that of an `lgd.UserError`. `tests/data/test_memory.py` has the cases of images in memory, and
`tests/guidance/test_own_denoisers.py` those of denoisers, for example `network: returned (2, 1, 2, 4) for x_t (2, 1, 4, 4);
expected the shape of x_t`.
"""

Damage = Callable[[Path], object]


class Case(NamedTuple):
    what: str
    """name of the case"""
    command: str
    damage: Damage = lambda place: None
    """changes the files in the directory in which the command runs"""
    code: int = 2
    """expected exit code"""
    run: bool = False
    """whether the damage reads RUN, although the command does not"""


def written(name: str, content: str | bytes) -> Damage:
    def write(place: Path) -> None:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(errors="surrogatepass") if isinstance(content, str) else content)

    return write


def changed(name: str, change: Callable[[Any], object]) -> Damage:
    """Return a damage that changes the content of a JSON file."""

    def apply(place: Path) -> None:
        value = json.loads((place / name).read_text())
        change(value)
        (place / name).write_text(json.dumps(value))

    return apply


def both(*damages: Damage) -> Damage:
    return lambda place: [damage(place) for damage in damages]


def gone(name: str) -> Damage:
    def remove(place: Path) -> None:
        path = place / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def without_receipts(place: Path) -> None:
    for path in (place / "RUN").rglob(".*.sha256"):
        path.unlink()


def link(name: str, target: str) -> Damage:
    def make(place: Path) -> None:
        path = place / name
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(target)

    return make


def pipe(name: str) -> Damage:
    return lambda place: os.mkfifo(place / name)


def row(**values: object) -> Damage:
    """Change values in the first row of increment 2's manifest, and delete the receipts that would repair it."""

    def change(place: Path) -> None:
        without_receipts(place)
        path = place / "RUN/increments/02/manifest.jsonl"
        first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps({**json.loads(first), **values}), *rest]) + "\n")

    return change


class Bomb:
    """An object whose pickle runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch EXPLODED",)


PICKLE = pickle.dumps(Bomb())


def checkpoint(name: str, value: Any) -> Damage:
    """A file of torch."""
    return lambda place: torch.save(value, place / name)


def dit_weights(width: int = 16, without: str = "") -> dict[str, Any]:
    weights = random_weights(width=width, classes=10)
    weights.pop(without, None)
    return weights


def pipeline_of_unknown_frequencies(place: Path) -> None:
    """P, a DiTPipeline as somebody saved it who trained it with diffusers' class."""
    save_pipeline(place / "P")
    (place / "P/generator.json").unlink()


def png(width: int, height: int) -> bytes:
    """Return a small PNG file whose header claims a large image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def image(name: str, mode: str, size: tuple[int, int], grey: int = 0) -> Damage:
    def save(place: Path) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, grey).save(place / name)

    return save


def huge_header(name: str) -> Damage:
    """Write a safetensors file whose header claims a length of an exbibyte."""
    return written(name, struct.pack("<Q", 2**60) + b"{}")


def huge_tensor(name: str) -> Damage:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    return written(name, struct.pack("<Q", len(header)) + header)


def photos(place: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 8) -> None:
    """Write a folder of grey images, PHOTOS/CLASS/N.png."""
    for name in classes:
        for i in range(count):
            image(f"PHOTOS/{name}/{i}.png", "L", (8, 8), 20 * i)(place)


def lone_photos(place: Path) -> None:
    """Write one image of 64 greys per class to train on, PHOTOS/CLASS/0.png, and one to test on."""
    for part in ("PHOTOS", "TEST"):
        for name in ("cat", "dog"):
            written(f"{part}/{name}/0.png", encode_png(torch.arange(64).view(1, 8, 8).byte()))(place)


def parquet(**columns: list[Any]) -> Damage:
    """Write a table with these columns, T.parquet."""

    def write(place: Path) -> None:
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(pyarrow.table(columns), place / "T.parquet")

    return write


def archive(**arrays: Any) -> Damage:
    """Write x.npz with these arrays of a training part; 12 images of 8 x 8 and their labels by default."""

    def save(place: Path) -> None:
        arrays_of_part = {
            "images": np.arange(768, dtype=np.uint8).reshape(12, 8, 8),
            "labels": np.arange(12) % 3,
            **arrays,
        }
        np.savez(place / "x.npz", **{f"train_{name}": value for name, value in arrays_of_part.items()})

    return save


def stable_diffusion(place: Path) -> None:
    """SD, a tiny pipeline, and PHOTOS."""
    save_stable_diffusion(place / "SD")
    photos(place)


def named(folder: str, *classes: str) -> Damage:
    """Images as of `photos`, in another folder and of other classes."""

    def make(place: Path) -> None:
        shutil.rmtree(place / "PHOTOS")
        photos(place, classes)
        (place / "PHOTOS").rename(place / folder)

    return make


def class_unet(place: Path) -> None:
    """UNET, a tiny pipeline of cats and dogs without a null class, and PHOTOS in its colours."""
    save_class_unet(place / "UNET", 1)
    photos(place)


def half_trained(place: Path) -> None:
    """Write the files of a generator in training, GEN."""
    config = json.loads((place / "RUN/config.json").read_text())
    written("GEN/config.json", json.dumps({name: config[name] for name in ("dataset", "generator")}))(place)
    written("GEN/training.jsonl", "")(place)


DISTILL = "lgd distill PRESET --out OUT"
RESUME = "lgd distill PRESET --out RUN --quiet"
EVALUATE = "lgd evaluate RUN --test PRESET --seeds 1 --quiet"
DEEP = '{"a":' * 100_000
FOLDER = "lgd distill folder:PHOTOS --out OUT --quiet"
TABLE_OF = "lgd distill parquet:T.parquet --out OUT --quiet"
PROMPTED = f"{FOLDER} --generator.source pretrained:SD"
ARRAYS = "lgd distill arrays:x.npz --out OUT --quiet"
TRAIN = "lgd generator train PRESET --out GEN --quiet"
RECORD = '{"dataset": {"source": ""}, "evaluation": {}, "accuracy": {}}'
IMPORT = "lgd generator import --quiet --out GEN --heads 2"
TUNE = f"{TRAIN} --generator.source RUN/generator --generator.tune difffit"
SAMPLE = "lgd generator sample RUN/generator --out OUT.png --quiet"
REFERENCE = "lgd reference train PRESET --out OUT --quiet"
PIXELS = [encode_png(torch.full((1, 8, 8), 9, dtype=torch.uint8))] * 2

CASES = [
    Case("no command", "lgd"),
    Case("a misspelt command", "lgd destill digits"),
    Case("no preset", "lgd distill"),
    Case("a misspelt preset", "lgd distill digts --out OUT"),
    Case("a misspelt path of images", "lgd distill photos/trian --out OUT"),
    Case("no such TOML file", "lgd distill none.toml --out OUT"),
    Case("no --out", "lgd distill PRESET"),
    Case("a misspelt option", f"{DISTILL} --guidance.strenght 1"),
    Case("text for a number", f"{DISTILL} --guidance.strength much"),
    Case("NaN for a number", f"{DISTILL} --guidance.strength nan"),
    Case("a negative number", f"{DISTILL} --guidance.strength -1"),
    Case("a number that is too large", f"{DISTILL} --stages.increments 99999999999"),
    Case("an unknown choice", f"{DISTILL} --guidance.space image"),
    Case("a strength to calibrate in sample space", f"{DISTILL} --guidance.strength auto --guidance.space sample"),
    Case("coverage without surplus candidates", f"{DISTILL} --stages.coverage herding --stages.candidates 1"),
    Case("an unknown method", f"{DISTILL} --method lgdd"),
    Case("a budget of minutes for a preset", f"{DISTILL} --minutes 5"),
    Case("a negative budget", f"{DISTILL} --minutes -1"),
    Case("a synthetic set of real images", f"{DISTILL} --method herding --synthetic"),
    Case("a seed method that itself needs a seed set", f"{DISTILL} --stages.seed-method lgd"),
    Case("more images than the set has", f"{DISTILL} --method random --stages.images-per-increment 900"),
    Case("real candidates with a seed set that is sampled", f"{DISTILL} --method lgd-real --real.seed-method dit"),
    Case("a pool of fewer real images than the set has", f"{DISTILL} --method lgd-real --real.pool 2"),
    Case("anchors outside the steps", f"{DISTILL} --stages.anchor herding --stages.anchor-step 8"),
    Case("anchors that leave mode guidance no step",
         f"{DISTILL} --method mgd3 --stages.anchor herding --stages.anchor-step 3 --modes.stop 3"),
    Case("an unknown anchor", f"{DISTILL} --stages.anchor herd"),
    Case("no real candidates", f"{DISTILL} --method lgd-real --real.candidates 0"),
    Case("a small decoder for a generator of pixels", f"{DISTILL} --guidance.decoder small"),
    Case("a window outside the steps", f"{DISTILL} --guidance.window 1 90"),
    Case("an unknown architecture", f"{DISTILL} --learner.architecture convnot"),
    Case("a network too deep for the images", f"{DISTILL} --reference.depth 9"),
    Case("a judge of the reference's architecture", f"{DISTILL} --judge.architecture convnet"),
    Case("a network of a billion channels", f"{DISTILL} --reference.width 1000000000"),
    Case("a denoiser of a billion heads", f"{DISTILL} --generator.heads 1000000000"),
    Case("a patch that does not fit", f"{DISTILL} --generator.patch-size 3"),
    Case("a device that does not exist", f"{DISTILL} --compute.device cuda:77"),
    Case("a teacher that is a pickle", f"{DISTILL} --evaluation.protocol soft --evaluation.teacher.weights t.pt",
         written("t.pt", PICKLE)),
    Case("a teacher that does not exist", f"{DISTILL} --evaluation.protocol soft --evaluation.teacher.weights t.pt"),
    Case("a Ray cluster that does not answer", f"{DISTILL} --engine ray --address 127.0.0.1:1"),
    Case("an address without a port", f"{DISTILL} --engine ray --address somewhere"),
    Case("a URL of an unknown protocol", "lgd distill PRESET --out s9://bucket/run"),
    Case("--out names a file", "lgd distill PRESET --out FILE", written("FILE", "mine")),
    Case("--out names a directory that lgd did not make", "lgd distill PRESET --out MINE", written("MINE/thesis.tex", "years")),
    Case("... with --overwrite", "lgd distill PRESET --out MINE --overwrite", written("MINE/thesis.tex", "years")),
    Case("--out in a place without write access", "lgd distill PRESET --out /proc/x"),
    Case("an --out of 300 characters", f"lgd distill PRESET --out {'x' * 300}"),
    Case("another configuration in the directory", f"{RESUME} --seed 5 --guidance.omega 0.5"),
    Case("TOML that does not parse", "lgd distill bad.toml --out OUT", written("bad.toml", "[dataset\n")),
    Case("TOML with an unknown field", "lgd distill bad.toml --out OUT", written("bad.toml", "[guidance]\nomga = 1\n")),
    Case("TOML with a value of another type", "lgd distill bad.toml --out OUT", written("bad.toml", 'seed = "one"\n')),
    Case("TOML with a date for a number", "lgd distill bad.toml --out OUT", written("bad.toml", "seed = 2020-01-01\n")),
    Case("TOML of 2 MiB", "lgd distill bad.toml --out OUT", written("bad.toml", "#" * 2**21)),
    Case("TOML nested 100,000 deep", "lgd distill bad.toml --out OUT", written("bad.toml", "x = " + "[" * 100_000)),
    Case("TOML with a number of 10,000 digits", "lgd distill bad.toml --out OUT", written("bad.toml", "seed = " + "9" * 10_000)),
    Case("TOML that is binary", "lgd distill bad.toml --out OUT", written("bad.toml", b"\xff\xfe\x00\x80")),
    Case("TOML that is a directory", "lgd distill bad.toml --out OUT --quiet", written("bad.toml/x", "")),
    Case("TOML that is a pipe", "lgd distill bad.toml --out OUT", pipe("bad.toml")),
    Case("TOML with control characters for the terminal", "lgd distill bad.toml --out OUT",
         written("bad.toml", '"\\u001b[2J" = 1\n')),
    Case("a run whose configuration is not JSON", RESUME, written("RUN/config.json", "{")),
    Case("... is empty JSON", RESUME, written("RUN/config.json", "{}")),
    Case("... is nested 100,000 deep", RESUME, written("RUN/config.json", DEEP)),
    Case("... is a list", RESUME, written("RUN/config.json", "[]")),
    Case("a run with a link out of it", RESUME, both(gone("RUN/dataset"), link("RUN/dataset", "/tmp"))),
    Case("a run whose lock is a link", RESUME, both(written("mine", "years"), link("RUN/.lock", "../mine"))),
    Case("a manifest with a path upwards", RESUME, row(file="../../../mine")),
    Case("... with an absolute path", RESUME, row(file="/etc/passwd")),
    Case("... with a NUL in a path", RESUME, row(file="0/02\x000000.png")),
    Case("... with another class's path", RESUME, row(class_name="..")),
    Case("... with a Windows path", RESUME, row(file="0\\..\\..\\mine")),
    Case("... with a candidate that does not exist", RESUME, row(chosen=7)),
    Case("... with a number for a name", RESUME, row(class_name=3)),
    Case("... that is not JSON", RESUME,
         both(without_receipts, written("RUN/increments/02/manifest.jsonl", "{"))),
    Case("... with NaN for a number", RESUME,
         both(without_receipts, written("RUN/increments/02/manifest.jsonl", '{"file": NaN}\n'))),
    Case("an image whose SHA-256 differs from the manifest's", RESUME,
         both(without_receipts, image("RUN/increments/02/3/02-0001.png", "L", (8, 8)))),
    Case("a reference that is a pickle", RESUME,
         both(without_receipts, gone("RUN/evaluation"), written("RUN/reference.safetensors", PICKLE))),
    Case("... with a header of an exbibyte", RESUME,
         both(without_receipts, gone("RUN/metrics.json"), huge_header("RUN/reference.safetensors"))),
    Case("... with a tensor of 4 TiB", RESUME, both(without_receipts, huge_tensor("RUN/reference.safetensors"))),
    Case("a generator whose weights are a pickle", RESUME,
         both(without_receipts, gone("RUN/increments/03"),
              gone("RUN/generator/transformer/diffusion_pytorch_model.safetensors"),
              written("RUN/generator/transformer/diffusion_pytorch_model.bin", PICKLE))),
    Case("a directory that another process uses", RESUME, lambda place: None),
    Case("no methods", "lgd compare PRESET --out OUT"),
    Case("an unknown method to compare", "lgd compare PRESET --methods dit magic --out OUT"),
    Case("a method twice", "lgd compare PRESET --methods dit dit --out OUT"),
    Case("no runs", "lgd compare PRESET --methods dit --out OUT --runs 0"),
    Case("a folder that does not exist", "lgd evaluate none --test PRESET"),
    Case("a folder of other classes", "lgd evaluate D --test PRESET", image("D/cat/1.png", "L", (8, 8))),
    Case("a folder without images", "lgd evaluate D --test PRESET", written("D/0/readme", "")),
    Case("an export whose record is a list", "lgd evaluate D --test PRESET", written("D/accuracy.json", "[]")),
    Case("an export of images at a path, without them", "lgd evaluate D", written("D/accuracy.json", RECORD)),
    Case("an image of another size", EVALUATE, image("RUN/dataset/3/x.png", "L", (9, 8))),
    Case("an image with colours", EVALUATE, image("RUN/dataset/3/x.png", "RGB", (8, 8))),
    Case("an image that is text", EVALUATE, written("RUN/dataset/3/x.png", "hello")),
    Case("a truncated image", EVALUATE, written("RUN/dataset/3/x.png", encode_png(torch.arange(64).view(1, 8, 8).byte())[:50])),
    Case("a decompression bomb: a small file that claims 4 gigapixels", EVALUATE, written("RUN/dataset/3/x.png", png(65500, 65500))),
    Case("an image that is a PostScript program", EVALUATE, written("RUN/dataset/3/x.png", "%!PS-Adobe-3.0 EPSF-3.0\n")),
    Case("an image that is a pipe", EVALUATE, pipe("RUN/dataset/3/x.png")),
    Case("an --epochs-factor of zero", f"{EVALUATE} --epochs-factor 0"),
    Case("a sweep over an unknown field", "lgd ablate PRESET --over guidance.omg=1,2 --out OUT"),
    Case("a sweep without values", "lgd ablate PRESET --over guidance.omega --out OUT"),
    Case("a sweep with a wrong value", "lgd ablate PRESET --over guidance.omega=0,x --out OUT"),
    Case("a sweep over a field that the method sets",
         "lgd ablate PRESET --method lgd-anchored --over stages.anchor=none,herding --out OUT"),
    Case("a value twice", "lgd ablate PRESET --over guidance.omega=1,1 --out OUT"),
    Case("an analysis of a directory that does not exist", "lgd analyze none --out OUT"),
    Case("an analysis of a plain folder without --test", "lgd analyze D --out OUT", image("D/0/1.png", "L", (8, 8))),
    Case("an analysis with one epoch", "lgd analyze RUN --out OUT --epochs 1"),
    Case("an analysis of a manifest with a path upwards", "lgd analyze RUN --out OUT", row(file="../../../mine")),
    Case("a report about a directory that does not exist", "lgd report none --out OUT"),
    Case("a report onto an existing file", "lgd report RUN --out FILE", written("FILE", "mine")),
    Case("a report as PDF", "lgd report RUN --out OUT.pdf"),
    Case("an image folder without its test set", "lgd evaluate D", image("D/0/1.png", "L", (8, 8))),
    Case("a Mac's GPU", "lgd distill PRESET --out OUT --device mps"),
    Case("a preset in capital letters", "lgd distill DIGITS --out OUT"),
    Case("a size that the increments cannot share", "lgd distill PRESET --out OUT --per-class 7"),
    Case("a shell without completion", "lgd completion fish"),
    Case("a report of metrics that are a list", "lgd report RUN --out OUT", written("RUN/metrics.json", "[]")),
    Case("an export of a directory that does not exist", "lgd export none --to pt --out OUT"),
    Case("an export to an unknown format", "lgd export RUN --to zip --out OUT"),
    Case("an export into the run", "lgd export RUN --to pt --out RUN/export"),
    Case("an export of a changed image", "lgd export RUN --to pt --out OUT",
         image("RUN/dataset/3/02-0001.png", "L", (8, 8))),
    Case("an export of a table with a path upwards", "lgd export RUN --to imagefolder --out OUT",
         written("RUN/dataset/metadata.csv",
                 "file_name,label,class_name,increment,slot,score,sha256\n../../mine,0,0,1,0,,x\n")),
    Case("an export of a table that is binary", "lgd export RUN --to pt --out OUT",
         written("RUN/dataset/metadata.csv", b"\xff\xfe\x00")),
    Case("no verb", "lgd generator"),
    Case("a misspelt verb", "lgd generator trian digits"),
    Case("a generator without --out", "lgd generator train PRESET"),
    Case("checkpoints every zero minutes", f"{TRAIN} --save-every 0"),
    Case("a generator into a directory that lgd did not make", "lgd generator train PRESET --out MINE", written("MINE/thesis.tex", "years")),
    Case("alignment with a reference that ends without a feature map", f"{TRAIN} --generator.align 0.5 --reference.architecture vit"),
    Case("training of a generator that is trained already", f"{TRAIN} --generator.source RUN/generator"),
    Case("an autoencoder that does not exist", f"{TRAIN} --generator.autoencoder none"),
    Case("... whose class name is code", f"{TRAIN} --generator.autoencoder A",
         written("A/config.json", '{"_class_name": "os.system"}')),
    Case("... whose weights are a pickle", f"{TRAIN} --generator.autoencoder A",
         both(written("A/config.json", '{"_class_name": "AutoencoderKL"}'),
              written("A/diffusion_pytorch_model.bin", PICKLE))),
    Case("another configuration in a generator's folder", f"{TRAIN} --generator.steps 7", half_trained, run=True),
    Case("a checkpoint that is a pickle", TRAIN, both(half_trained, written("GEN/checkpoint.safetensors", PICKLE)),
         run=True),
    Case("... of another network", TRAIN,
         both(half_trained, lambda place: save_tensors(place / "GEN/checkpoint.safetensors", {"x": torch.ones(2)})),
         run=True),
    Case("an offset of an SNR that weighs nothing", f"{TRAIN} --generator.snr-offset 1"),
    Case("a flow of 500 steps", f"{TRAIN} --generator.prediction flow_prediction --generator.train-timesteps 500"),
    Case("fine-tuning without a source", f"{TRAIN} --generator.tune full"),
    Case("an unknown kind of fine-tuning", f"{TRAIN} --generator.tune some"),
    Case("fine-tuning of a generator that does not exist", f"{TRAIN} --generator.tune full --generator.source none"),
    Case("fine-tuning of a folder that is not a pipeline", f"{TRAIN} --generator.tune full --generator.source pretrained:RUN/generator"),
    Case("fine-tuning of a pickle", f"{TUNE}",
         both(gone("RUN/generator/transformer/diffusion_pytorch_model.safetensors"),
              written("RUN/generator/transformer/diffusion_pytorch_model.bin", PICKLE))),
    Case("fine-tuning for images of another size", "lgd generator train folder:PHOTOS --out GEN --quiet --dataset.size 6"
         " --generator.source RUN/generator --generator.tune full", photos),
    Case("an import without a source", "lgd generator import --out GEN"),
    Case("... of nothing", f"{IMPORT} none.pt"),
    Case("... of a pickle that runs code", f"{IMPORT} W.pt", written("W.pt", PICKLE)),
    Case("... of a checkpoint that runs code", f"{IMPORT} W.pt --vae V", checkpoint("W.pt", {"model": dit_weights(), "args": Bomb()})),
    Case("... of text", f"{IMPORT} W.pt", written("W.pt", "weights")),
    Case("... of weights without an autoencoder", f"{IMPORT} W.pt", checkpoint("W.pt", dit_weights())),
    Case("... of an unknown width", f"{IMPORT} W.pt --heads 0", checkpoint("W.pt", dit_weights(width=20))),
    Case("... with a missing name", f"{IMPORT} W.pt", checkpoint("W.pt", dit_weights(without="blocks.1.mlp.fc1.bias"))),
    Case("... with an unknown name", f"{IMPORT} W.pt", checkpoint("W.pt", {**dit_weights(), "blocks.0.\x1b[2J\n": torch.ones(2)})),
    Case("... with a layer of another width", f"{IMPORT} W.pt", checkpoint("W.pt", {**dit_weights(), "blocks.0.mlp.fc1.bias": torch.ones(3)})),
    Case("... with a tensor larger than the file", f"{IMPORT} W.pt",
         checkpoint("W.pt", {**dit_weights(), "final_layer.linear.bias": torch.ones(1).expand(2**40)})),
    Case("... whose time frequencies nothing tells", f"{IMPORT} P", pipeline_of_unknown_frequencies),
    Case("... onto a generator", f"{IMPORT} W.pt --out RUN/generator", written("RUN/generator/config.json", "{}")),
    Case("a generator whose time frequencies nothing tells", f"{DISTILL} --generator.source P", pipeline_of_unknown_frequencies),
    Case("... whose record says others", SAMPLE, written("RUN/generator/generator.json", '{"time_frequencies": "cosine"}')),
    Case("a class map that does not exist", f"{TUNE} --generator.class-map none.toml"),
    Case("... with an id that does not exist", f"{TUNE} --generator.class-map M.toml", written("M.toml", "[classes]\n3 = 12345\n")),
    Case("... with a class that does not exist", f"{TUNE} --generator.class-map M.toml", written("M.toml", "[classes]\nant = 1\n")),
    Case("... that is nested 100,000 deep", f"{TUNE} --generator.class-map M.toml", written("M.toml", "x = " + "[" * 100_000)),
    Case("... that is a pipe", f"{TUNE} --generator.class-map M.toml", pipe("M.toml")),
    Case("a pipeline of an unsupported family", PROMPTED,
         both(stable_diffusion, changed("SD/model_index.json", lambda value: value.update(_class_name="FluxPipeline")))),
    Case("... with a flow's scheduler, which Stable Diffusion has not", PROMPTED,
         both(stable_diffusion, written("SD/scheduler/scheduler_config.json", '{"_class_name": "FlowMatchEulerDiscreteScheduler"}'))),
    Case("... without its text encoder", PROMPTED, both(stable_diffusion, gone("SD/text_encoder"))),
    Case("... without its tokenizer", PROMPTED, both(stable_diffusion, gone("SD/tokenizer"))),
    Case("... with a tokenizer that is a list", PROMPTED,
         both(stable_diffusion, gone("SD/tokenizer"), written("SD/tokenizer/tokenizer.json", "[]"))),
    Case("... with a text encoder that is a pickle", PROMPTED,
         both(stable_diffusion, gone("SD/text_encoder/model.safetensors"), written("SD/text_encoder/pytorch_model.bin", PICKLE))),
    Case("float16 on a CPU", f"{PROMPTED} --sampling.precision float16", stable_diffusion),
    Case("DiffFit of a text-to-image U-Net", f"{PROMPTED} --generator.tune difffit", stable_diffusion),
    Case("LoRA of layers that do not exist", f"{PROMPTED} --generator.tune lora --generator.lora.targets to_x", stable_diffusion),
    Case("LoRA of rank 0", f"{PROMPTED} --generator.tune lora --generator.lora.rank 0", stable_diffusion),
    Case("LoRA for classes that make no prompt", f"{PROMPTED} --generator.tune lora".replace("PHOTOS", "WORDNET"),
         both(stable_diffusion, named("WORDNET", "n02102040", "n03000684"))),
    Case("class names that are WordNet ids, as prompts", PROMPTED.replace("PHOTOS", "WORDNET"),
         both(stable_diffusion, named("WORDNET", "n02102040", "n03000684"))),
    Case("... that are not ImageNet's", PROMPTED.replace("PHOTOS", "OTHERS"),
         both(stable_diffusion, named("OTHERS", "n00000001", "n00000002"))),
    Case("class names that are numbers, as prompts", PROMPTED.replace("PHOTOS", "NUMBERS"),
         both(stable_diffusion, named("NUMBERS", "0", "1"))),
    Case("a template of prompts without a class", f"{PROMPTED} --generator.prompts.templates 'a photo'", stable_diffusion),
    Case("a prompt that is too long", f"{PROMPTED} --generator.prompts.templates '{'very ' * 20}{{class}}'", stable_diffusion),
    Case("a table of prompts that does not exist", f"{PROMPTED} --generator.prompts.table P.toml", stable_diffusion),
    Case("... that lacks a class", f"{PROMPTED} --generator.prompts.table P.toml",
         both(stable_diffusion, written("P.toml", '[prompts]\ncat = "a cat"\n'))),
    Case("... with a number for a prompt", f"{PROMPTED} --generator.prompts.table P.toml",
         both(stable_diffusion, written("P.toml", '[prompts]\ncat = "a cat"\ndog = 3\n'))),
    Case("samples by prompts of no class", "lgd generator sample pretrained:SD --out OUT.png --quiet", stable_diffusion),
    Case("classifier-free guidance without a null class",
         f"{FOLDER} --generator.source pretrained:UNET --generator.class-map M.toml",
         both(class_unet, written("M.toml", "[classes]\ncat = 0\ndog = 1\n"))),
    Case("samples of a generator that does not exist", "lgd generator sample none --out OUT.png"),
    Case("samples onto an existing file", "lgd generator sample RUN/generator --out FILE", written("FILE", "mine")),
    Case("zero samples per class", f"{SAMPLE} --per-class 0"),
    Case("samples of an unknown class", f"{SAMPLE} --classes ant"),
    Case("samples in zero steps", f"{SAMPLE} --steps 0"),
    Case("samples from weights with a header of an exbibyte", SAMPLE,
         huge_header("RUN/generator/transformer/diffusion_pytorch_model.safetensors")),
    Case("samples from a denoiser with an invalid configuration", SAMPLE,
         changed("RUN/generator/transformer/config.json", lambda value: value.update(num_layers="many"))),
    Case("the description of a run as a generator", "lgd generator show RUN"),
    Case("... of a class map that is a list", "lgd generator show RUN/generator", written("RUN/generator/classes.json", "[]")),
    Case("... of an id out of range", "lgd generator show RUN/generator", written("RUN/generator/classes.json", '{"a": -1}')),
    Case("a reference without a verb", "lgd reference"),
    Case("a reference into a file", "lgd reference train PRESET --out FILE", written("FILE", "mine")),
    Case("a reference from weights that do not exist", f"{REFERENCE} --reference.weights none.safetensors"),
    Case("a reference from a pickle", f"{REFERENCE} --reference.weights R.pt", written("R.pt", PICKLE)),
    Case("a reference of another width", f"{REFERENCE} --reference.width 9 --reference.weights RUN/reference.safetensors"),
    Case("a reference as accurate as guessing", f"{REFERENCE} --reference.training.epochs 1 --reference.weights R.safetensors",
         lambda place: guessing(place / "RUN/reference.safetensors", place / "R.safetensors"), run=True),
    Case("a source of an unknown kind", f"{DISTILL} --dataset.source zip:x.zip"),
    Case("an archive of arrays that does not exist", ARRAYS),
    Case("an archive that is none", ARRAYS, written("x.npz", "hello")),
    Case("an archive of objects, which is a pickle", ARRAYS, archive(images=np.array([PurePath("x")]))),
    Case("an archive without labels", ARRAYS, lambda place: np.savez(place / "x.npz", train_images=np.ones((2, 8, 8)))),
    Case("an archive with fewer labels", ARRAYS, archive(labels=np.arange(3))),
    Case("an archive of flattened images", ARRAYS, archive(images=np.ones((12, 64)))),
    Case("an archive of floats up to 255", ARRAYS, archive(images=np.linspace(0, 255, 768, dtype=np.float32).reshape(12, 8, 8))),
    Case("an archive of normalised floats", ARRAYS, archive(images=np.linspace(-2, 2, 768).reshape(12, 8, 8))),
    Case("an archive of integers up to 1", ARRAYS, archive(images=np.ones((12, 8, 8), np.uint8))),
    Case("an archive of labels with fractions", ARRAYS, archive(labels=np.arange(12) / 3)),
    Case("a factory with other logits", f"{DISTILL} --learner.architecture tests.factories:three_logits"),
    Case("a factory of no network", f"{DISTILL} --reference.architecture tests.factories:no_network"),
    Case("a factory that cannot be imported", f"{DISTILL} --evaluation.architectures convnet nowhere:net"),
    Case("a selection by a method that samples", "lgd select PRESET --method dit --out OUT"),
    Case("a selection of no image", "lgd select PRESET --per-class 0 --out OUT"),
    Case("a selection of more images than there are", "lgd select PRESET --per-class 900 --out OUT --quiet"),
    Case("an image folder that does not exist", "lgd distill folder:none --out OUT"),
    Case("a folder without a name", "lgd distill folder: --out OUT"),
    Case("three folders", "lgd distill folder:a,b,c --out OUT"),
    Case("a folder without classes", FOLDER, lambda place: (place / "PHOTOS").mkdir()),
    Case("a folder of one class", FOLDER, lambda place: photos(place, ("cat",))),
    Case("a folder with an empty class", FOLDER, both(photos, written("PHOTOS/ant/readme", ""))),
    Case("a folder with a truncated image", FOLDER, both(photos, written("PHOTOS/cat/9.png", PIXELS[0][:50]))),
    Case("a folder with a decompression bomb", FOLDER, both(photos, written("PHOTOS/cat/9.png", png(65500, 65500)))),
    Case("a folder with a PostScript program", FOLDER, both(photos, written("PHOTOS/cat/9.png", "%!PS-Adobe-3.0 EPSF-3.0\n"))),
    Case("a folder with a tiny image", FOLDER, both(photos, image("PHOTOS/cat/9.png", "L", (3, 3)))),
    Case("a class that is a link out of the folder", FOLDER, both(photos, link("PHOTOS/ant", "/etc"))),
    Case("a class that the test folder lacks", "lgd distill folder:PHOTOS,TEST --out OUT",
         both(photos, image("TEST/cat/1.png", "L", (8, 8)))),
    Case("a class in the list that does not exist", f"{FOLDER} --dataset.classes cat dgo", photos),
    Case("a list of classes that is binary", f"{FOLDER} --dataset.classes L", both(photos, written("L", b"\xff\xfe"))),
    Case("a list of classes that is a pipe", f"{FOLDER} --dataset.classes L", both(photos, pipe("L"))),
    Case("a set with all images held out for testing", f"{FOLDER} --dataset.test-fraction 1", photos),
    Case("a set of one image per class", FOLDER, lambda place: photos(place, count=1)),
    Case("a class with one image to train on", "lgd distill folder:PHOTOS,TEST --out OUT --quiet",
         lone_photos),
    Case("a negative image size", f"{FOLDER} --dataset.size -8", photos),
    Case("a table that does not exist", TABLE_OF),
    Case("a table that is a pickle", TABLE_OF, written("T.parquet", PICKLE)),
    Case("a table that names a file on this machine", TABLE_OF,
         parquet(image=[{"bytes": None, "path": "/etc/passwd"}] * 4, label=[0, 0, 1, 1])),
    Case("a table with two columns of images", TABLE_OF, parquet(a=PIXELS, b=PIXELS, label=[0, 1])),
    Case("a table without labels", TABLE_OF, parquet(image=PIXELS)),
    Case("a table with fractional labels", TABLE_OF, parquet(image=PIXELS, label=[0.5, 1.0])),
    Case("a column that does not exist", f"{TABLE_OF} --dataset.label-column kind", parquet(image=PIXELS, label=[0, 1])),
    Case("a name that is invalid on the Hub", "lgd distill hf:../../etc --out OUT"),
    Case("a name on the Hub that is also a folder here", "lgd distill hf:PHOTOS --out OUT", photos),
    Case("the status of a directory that does not exist", "lgd status none"),
    Case("the status of a configuration that is a list", "lgd status RUN", written("RUN/config.json", "[]")),
]  # fmt: skip


def guessing(weights: Path, to: Path) -> None:
    """Write the same classifier with all weights zero."""
    tensors, metadata = load_tensors_and_metadata(weights)
    save_tensors(to, {name: tensor * 0 for name, tensor in tensors.items()}, metadata)


def run_case(case: Case, finished: Path, place: Path) -> tuple[int, str]:
    """Run a case; returns the exit code and standard error, with paths shortened. Asserts that no file was changed."""
    place.mkdir()
    if case.run or "RUN" in case.command:
        shutil.copytree(finished, place / "RUN")
    if "PRESET" in case.command:
        shutil.copy(finished.parent / "tiny.toml", place / "PRESET")
    case.damage(place)
    before = contents(place)
    out, err = io.StringIO(), io.StringIO()
    holder = output_directory(place / "RUN") if "another process" in case.what else contextlib.nullcontext()
    signal.signal(signal.SIGALRM, never_returned)
    signal.alarm(120)
    with holder, contextlib.chdir(place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(shlex.split(case.command)[1:])
        except SystemExit as stop:
            code = int(stop.code or 0)
    signal.alarm(0)
    after = contents(place)
    assert {name: after.get(name) for name in before} == before, "something was lost or changed"
    assert not (place / "EXPLODED").exists(), "a pickle was loaded"
    text = err.getvalue().replace(f"{place}/", "").replace(str(place), ".").replace(str(os.getpid()), "PID")
    return code, re.sub(r"PID on [\w.-]+", "PID on HOST", text)


def never_returned(*_: object) -> None:
    raise TimeoutError("the command did not return within two minutes")


STATE = {".lock", "events.jsonl", "seconds.json"}
"""files that a command may write before it fails"""


def contents(place: Path) -> dict[str, str]:
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink() and path.name not in STATE]
    return {str(path.relative_to(place)): sha256(path) for path in files}


def table_row(case: Case, code: int, text: str) -> str:
    cells = [case.what, f"`{shortened(case.command)}`", str(code), f"`{shortened(text.strip(), 240)}`"]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def shortened(text: str, most: int = 90) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    """Return the rows of the table by their first two cells."""
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    return {" | ".join(line.split(" | ")[:2]): line for line in rows}


@pytest.fixture(scope="module")
def with_preset(finished: Path) -> Path:
    toml(tiny_config(), finished.parent / "tiny.toml")
    return finished


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_one_line_the_right_code_and_nothing_lost(
    case: Case, with_preset: Path, tmp_path: Path, documented: dict[str, str]
) -> None:
    code, text = run_case(case, with_preset, tmp_path / "place")
    assert code == case.code, text
    assert text.startswith(("lgd: ", "usage: ")) or not text
    assert text.count("\n") == (case.command not in ("lgd", "lgd generator")), text
    assert text.replace("\n", "").isprintable()
    line = table_row(case, code, text)
    assert documented.get(" | ".join(line.split(" | ")[:2])) == line, "run `python -m tests.cli.test_bad_inputs`"


def test_the_table_has_no_other_rows(documented: dict[str, str]) -> None:
    assert len(documented) == len(CASES) + 1  # and its head
    assert len(CASES) >= 60


def table() -> Iterator[str]:
    """Yield docs/bad-inputs.md line by line."""
    from lgd.experiments.distill import distill

    yield HEAD
    yield f"{len(CASES)} cases.\n"
    yield "| | command | exit | what it prints |"
    yield "|---|---|---:|---|"
    with tempfile.TemporaryDirectory() as name:
        finished = distill(tiny_config(), Path(name) / "run").root
        toml(tiny_config(), finished.parent / "tiny.toml")
        for number, case in enumerate(CASES):
            try:
                yield table_row(case, *run_case(case, finished, Path(name) / f"place{number}"))
            except Exception as error:
                print(f"{case.what}: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    TABLE.write_text("\n".join(table()) + "\n")
