"""Wrong, damaged and hostile input to every command: one line, the right exit code, and nothing lost.

docs/bad-inputs.md is the table of these cases; `python -m tests.test_bad_inputs` writes it anew, and a test compares.
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
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from tests.cli.test_main import toml
from tests.conftest import tiny_config

from lgd.cli.main import main
from lgd.distillation.store import encode_png
from lgd.storage.files import load_tensors_and_metadata, output_directory, save_tensors, sha256

TABLE = Path(__file__).parents[2] / "docs" / "bad-inputs.md"
HEAD = """\
# Bad input

Every case is run by `tests/test_bad_inputs.py`, which compares what it prints with this table. In all of them there is one line
on standard error, and every file that was there before is there afterwards, unchanged. RUN is a finished run, OUT does not exist.
"""

Damage = Callable[[Path], object]


class CandidateSpec(NamedTuple):
    what: str
    command: str
    damage: Damage = lambda place: None
    """to the files in the place where the command is run"""
    code: int = 2


def written(name: str, content: str | bytes) -> Damage:
    def write(place: Path) -> None:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(errors="surrogatepass") if isinstance(content, str) else content)

    return write


def changed(name: str, change: Callable[[Any], object]) -> Damage:
    """A JSON file with something in it changed."""

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
    """The first row of the second increment's manifest with other values; no receipts that would mend it."""

    def change(place: Path) -> None:
        without_receipts(place)
        path = place / "RUN/increments/02/manifest.jsonl"
        first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps({**json.loads(first), **values}), *rest]) + "\n")

    return change


class Bomb:
    """What a pickle would do if anybody loaded it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch EXPLODED",)


PICKLE = pickle.dumps(Bomb())


def png(width: int, height: int) -> bytes:
    """A small file that claims to be large."""

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
    """safetensors whose header says that it is an exbibyte long."""
    return written(name, struct.pack("<Q", 2**60) + b"{}")


def huge_tensor(name: str) -> Damage:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    return written(name, struct.pack("<Q", len(header)) + header)


def photos(place: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 8) -> None:
    """A folder of grey images, PHOTOS/CLASS/N.png."""
    for name in classes:
        for i in range(count):
            image(f"PHOTOS/{name}/{i}.png", "L", (8, 8), 20 * i)(place)


def parquet(**columns: list[Any]) -> Damage:
    """A table of those columns, T.parquet."""

    def write(place: Path) -> None:
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(pyarrow.table(columns), place / "T.parquet")

    return write


def half_trained(place: Path) -> None:
    """GEN, a generator in training, by the files that lie there."""
    config = json.loads((place / "RUN/config.json").read_text())
    written("GEN/config.json", json.dumps({name: config[name] for name in ("dataset", "generator")}))(place)
    written("GEN/training.jsonl", "")(place)


DISTILL = "lgd distill PRESET --out OUT"
RESUME = "lgd distill PRESET --out RUN --quiet"
EVALUATE = "lgd evaluate RUN --test PRESET --seeds 1 --quiet"
DEEP = '{"a":' * 100_000
FOLDER = "lgd distill folder:PHOTOS --out OUT --quiet"
TABLE_OF = "lgd distill parquet:T.parquet --out OUT --quiet"
TRAIN = "lgd generator train PRESET --out GEN --quiet"
TUNE = f"{TRAIN} --generator.source RUN/generator --generator.tune difffit"
SAMPLE = "lgd generator sample RUN/generator --out OUT.png --quiet"
REFERENCE = "lgd reference train PRESET --out OUT --quiet"
PIXELS = [encode_png(torch.full((1, 8, 8), 9, dtype=torch.uint8))] * 2

CASES = [
    CandidateSpec("no command", "lgd"),
    CandidateSpec("a misspelt command", "lgd destill digits"),
    CandidateSpec("no preset", "lgd distill"),
    CandidateSpec("a misspelt preset", "lgd distill digts --out OUT"),
    CandidateSpec("no such TOML file", "lgd distill none.toml --out OUT"),
    CandidateSpec("no --out", "lgd distill PRESET"),
    CandidateSpec("a misspelt option", f"{DISTILL} --guidance.strenght 1"),
    CandidateSpec("text for a number", f"{DISTILL} --guidance.strength much"),
    CandidateSpec("NaN for a number", f"{DISTILL} --guidance.strength nan"),
    CandidateSpec("a negative number", f"{DISTILL} --guidance.strength -1"),
    CandidateSpec("an absurd number", f"{DISTILL} --stages.increments 99999999999"),
    CandidateSpec("an unknown choice", f"{DISTILL} --guidance.space image"),
    CandidateSpec("an unknown method", f"{DISTILL} --method lgdd"),
    CandidateSpec("a seed set by a method that needs one", f"{DISTILL} --stages.seed-method lgd"),
    CandidateSpec("more real images than there are", f"{DISTILL} --method random --stages.images-per-increment 900"),
    CandidateSpec("a small decoder where there are no latents", f"{DISTILL} --guidance.decoder small"),
    CandidateSpec("a window outside of the steps", f"{DISTILL} --guidance.window 1 90"),
    CandidateSpec("an unknown architecture", f"{DISTILL} --learner.architecture convnot"),
    CandidateSpec("a network too deep for the images", f"{DISTILL} --reference.depth 9"),
    CandidateSpec("a network of a billion channels", f"{DISTILL} --reference.width 1000000000"),
    CandidateSpec("a denoiser of a billion heads", f"{DISTILL} --generator.heads 1000000000"),
    CandidateSpec("a patch that does not fit", f"{DISTILL} --generator.patch-size 3"),
    CandidateSpec("a device that is not there", f"{DISTILL} --compute.device cuda:77"),
    CandidateSpec("a teacher that is a pickle", f"{DISTILL} --evaluation.protocol soft --evaluation.teacher.weights t.pt",
         written("t.pt", PICKLE)),
    CandidateSpec("a teacher that is not there", f"{DISTILL} --evaluation.protocol soft --evaluation.teacher.weights t.pt"),
    CandidateSpec("a Ray cluster that is not there", f"{DISTILL} --engine ray --address 127.0.0.1:1"),
    CandidateSpec("an address that is none", f"{DISTILL} --engine ray --address somewhere"),
    CandidateSpec("a store of an unknown kind", "lgd distill PRESET --out s9://bucket/run"),
    CandidateSpec("--out names a file", "lgd distill PRESET --out FILE", written("FILE", "mine")),
    CandidateSpec("--out names a directory of someone else", "lgd distill PRESET --out MINE", written("MINE/thesis.tex", "years")),
    CandidateSpec("the same with --overwrite", "lgd distill PRESET --out MINE --overwrite", written("MINE/thesis.tex", "years")),
    CandidateSpec("--out where nobody can write", "lgd distill PRESET --out /proc/x"),
    CandidateSpec("an --out of 300 characters", f"lgd distill PRESET --out {'x' * 300}"),
    CandidateSpec("another configuration in the directory", f"{RESUME} --seed 5 --guidance.omega 0.5"),
    CandidateSpec("TOML that is none", "lgd distill bad.toml --out OUT", written("bad.toml", "[dataset\n")),
    CandidateSpec("TOML with an unknown field", "lgd distill bad.toml --out OUT", written("bad.toml", "[guidance]\nomga = 1\n")),
    CandidateSpec("TOML with a value of another type", "lgd distill bad.toml --out OUT", written("bad.toml", 'seed = "one"\n')),
    CandidateSpec("TOML with a date for a number", "lgd distill bad.toml --out OUT", written("bad.toml", "seed = 2020-01-01\n")),
    CandidateSpec("TOML of 2 MiB", "lgd distill bad.toml --out OUT", written("bad.toml", "#" * 2**21)),
    CandidateSpec("TOML nested 100,000 deep", "lgd distill bad.toml --out OUT", written("bad.toml", "x = " + "[" * 100_000)),
    CandidateSpec("TOML with a number of 10,000 digits", "lgd distill bad.toml --out OUT", written("bad.toml", "seed = " + "9" * 10_000)),
    CandidateSpec("TOML that is binary", "lgd distill bad.toml --out OUT", written("bad.toml", b"\xff\xfe\x00\x80")),
    CandidateSpec("TOML that is a directory", "lgd distill bad.toml --out OUT", written("bad.toml/x", "")),
    CandidateSpec("TOML that is a pipe", "lgd distill bad.toml --out OUT", pipe("bad.toml")),
    CandidateSpec("TOML with control characters for the terminal", "lgd distill bad.toml --out OUT",
         written("bad.toml", '"\\u001b[2J" = 1\n')),
    CandidateSpec("a run whose configuration is not JSON", RESUME, written("RUN/config.json", "{")),
    CandidateSpec("... is empty JSON", RESUME, written("RUN/config.json", "{}")),
    CandidateSpec("... is nested 100,000 deep", RESUME, written("RUN/config.json", DEEP)),
    CandidateSpec("... is a list", RESUME, written("RUN/config.json", "[]")),
    CandidateSpec("a run with a link out of it", RESUME, both(gone("RUN/dataset"), link("RUN/dataset", "/tmp"))),
    CandidateSpec("a run whose lock is a link", RESUME, both(written("mine", "years"), link("RUN/.lock", "../mine"))),
    CandidateSpec("a manifest with a path upwards", RESUME, row(file="../../../mine")),
    CandidateSpec("... with an absolute path", RESUME, row(file="/etc/passwd")),
    CandidateSpec("... with a NUL in a path", RESUME, row(file="0/02\x000000.png")),
    CandidateSpec("... with another class's path", RESUME, row(class_name="..")),
    CandidateSpec("... with a Windows path", RESUME, row(file="0\\..\\..\\mine")),
    CandidateSpec("... with a candidate that is not there", RESUME, row(chosen=7)),
    CandidateSpec("... with a number for a name", RESUME, row(class_name=3)),
    CandidateSpec("... that is no JSON", RESUME,
         both(without_receipts, written("RUN/increments/02/manifest.jsonl", "{"))),
    CandidateSpec("... with a number that is none", RESUME,
         both(without_receipts, written("RUN/increments/02/manifest.jsonl", '{"file": NaN}\n'))),
    CandidateSpec("an image that another hash was told of", RESUME,
         both(without_receipts, image("RUN/increments/02/3/02-0001.png", "L", (8, 8)))),
    CandidateSpec("a reference that is a pickle", RESUME,
         both(without_receipts, gone("RUN/evaluation"), written("RUN/reference.safetensors", PICKLE))),
    CandidateSpec("... with a header of an exbibyte", RESUME,
         both(without_receipts, gone("RUN/metrics.json"), huge_header("RUN/reference.safetensors"))),
    CandidateSpec("... with a tensor of 4 TiB", RESUME, both(without_receipts, huge_tensor("RUN/reference.safetensors"))),
    CandidateSpec("a generator whose weights are a pickle", RESUME,
         both(without_receipts, gone("RUN/increments/03"),
              gone("RUN/generator/transformer/diffusion_pytorch_model.safetensors"),
              written("RUN/generator/transformer/diffusion_pytorch_model.bin", PICKLE))),
    CandidateSpec("a directory that another process holds", RESUME, lambda place: None),
    CandidateSpec("no methods", "lgd compare PRESET --out OUT"),
    CandidateSpec("an unknown method to compare", "lgd compare PRESET --methods dit magic --out OUT"),
    CandidateSpec("a method twice", "lgd compare PRESET --methods dit dit --out OUT"),
    CandidateSpec("no runs", "lgd compare PRESET --methods dit --out OUT --runs 0"),
    CandidateSpec("a folder that is not there", "lgd evaluate none --test PRESET"),
    CandidateSpec("a folder of other classes", "lgd evaluate D --test PRESET", image("D/cat/1.png", "L", (8, 8))),
    CandidateSpec("a folder without images", "lgd evaluate D --test PRESET", written("D/0/readme", "")),
    CandidateSpec("an image of another size", EVALUATE, image("RUN/dataset/3/x.png", "L", (9, 8))),
    CandidateSpec("an image with colours", EVALUATE, image("RUN/dataset/3/x.png", "RGB", (8, 8))),
    CandidateSpec("an image that is text", EVALUATE, written("RUN/dataset/3/x.png", "hello")),
    CandidateSpec("a truncated image", EVALUATE, written("RUN/dataset/3/x.png", encode_png(torch.arange(64).view(1, 8, 8).byte())[:50])),
    CandidateSpec("a bomb: 67 kB of header for 4 gigapixels", EVALUATE, written("RUN/dataset/3/x.png", png(65500, 65500))),
    CandidateSpec("an image that is a PostScript program", EVALUATE, written("RUN/dataset/3/x.png", "%!PS-Adobe-3.0 EPSF-3.0\n")),
    CandidateSpec("an image that is a pipe", EVALUATE, pipe("RUN/dataset/3/x.png")),
    CandidateSpec("an --epochs-factor of zero", f"{EVALUATE} --epochs-factor 0"),
    CandidateSpec("a sweep over an unknown field", "lgd ablate PRESET --over guidance.omg=1,2 --out OUT"),
    CandidateSpec("a sweep without values", "lgd ablate PRESET --over guidance.omega --out OUT"),
    CandidateSpec("a sweep with a wrong value", "lgd ablate PRESET --over guidance.omega=0,x --out OUT"),
    CandidateSpec("a value twice", "lgd ablate PRESET --over guidance.omega=1,1 --out OUT"),
    CandidateSpec("an analysis of nothing", "lgd analyze none --out OUT"),
    CandidateSpec("an analysis of a plain folder without --test", "lgd analyze D --out OUT", image("D/0/1.png", "L", (8, 8))),
    CandidateSpec("an analysis with one epoch", "lgd analyze RUN --out OUT --epochs 1"),
    CandidateSpec("an analysis of a manifest with a path upwards", "lgd analyze RUN --out OUT", row(file="../../../mine")),
    CandidateSpec("a report about nothing", "lgd report none --out OUT"),
    CandidateSpec("a report onto a file that is there", "lgd report RUN --out FILE", written("FILE", "mine")),
    CandidateSpec("a report of metrics that are a list", "lgd report RUN --out OUT", written("RUN/metrics.json", "[]")),
    CandidateSpec("an export of nothing", "lgd export none --to pt --out OUT"),
    CandidateSpec("an export to an unknown format", "lgd export RUN --to zip --out OUT"),
    CandidateSpec("an export into the run", "lgd export RUN --to pt --out RUN/export"),
    CandidateSpec("an export of an image that was changed", "lgd export RUN --to pt --out OUT",
         image("RUN/dataset/3/02-0001.png", "L", (8, 8))),
    CandidateSpec("an export of a table with a path upwards", "lgd export RUN --to imagefolder --out OUT",
         written("RUN/dataset/metadata.csv",
                 "file_name,label,class_name,increment,slot,score,sha256\n../../mine,0,0,1,0,,x\n")),
    CandidateSpec("an export of a table that is binary", "lgd export RUN --to pt --out OUT",
         written("RUN/dataset/metadata.csv", b"\xff\xfe\x00")),
    CandidateSpec("no verb", "lgd generator"),
    CandidateSpec("a misspelt verb", "lgd generator trian digits"),
    CandidateSpec("a generator without --out", "lgd generator train PRESET"),
    CandidateSpec("checkpoints every zero minutes", f"{TRAIN} --save-every 0"),
    CandidateSpec("a generator into somebody's directory", "lgd generator train PRESET --out MINE", written("MINE/thesis.tex", "years")),
    CandidateSpec("a generator that is there already", f"{TRAIN} --generator.source RUN/generator"),
    CandidateSpec("an autoencoder that is not there", f"{TRAIN} --generator.autoencoder none"),
    CandidateSpec("... of a class that names code", f"{TRAIN} --generator.autoencoder A",
         written("A/config.json", '{"_class_name": "os.system"}')),
    CandidateSpec("... whose weights are a pickle", f"{TRAIN} --generator.autoencoder A",
         both(written("A/config.json", '{"_class_name": "AutoencoderKL"}'),
              written("A/diffusion_pytorch_model.bin", PICKLE))),
    CandidateSpec("another configuration in a generator's folder", f"{TRAIN} --generator.steps 7", half_trained),
    CandidateSpec("a checkpoint that is a pickle", TRAIN, both(half_trained, written("GEN/checkpoint.safetensors", PICKLE))),
    CandidateSpec("... of another network", TRAIN,
         both(half_trained, lambda place: save_tensors(place / "GEN/checkpoint.safetensors", {"x": torch.ones(2)}))),
    CandidateSpec("fine-tuning of nothing", f"{TRAIN} --generator.tune full"),
    CandidateSpec("an unknown way of fine-tuning", f"{TRAIN} --generator.tune some"),
    CandidateSpec("fine-tuning of a generator that is not there", f"{TRAIN} --generator.tune full --generator.source none"),
    CandidateSpec("fine-tuning of a pipeline that is none", f"{TRAIN} --generator.tune full --generator.source pretrained:RUN/generator"),
    CandidateSpec("fine-tuning of a pickle", f"{TUNE}",
         both(gone("RUN/generator/transformer/diffusion_pytorch_model.safetensors"),
              written("RUN/generator/transformer/diffusion_pytorch_model.bin", PICKLE))),
    CandidateSpec("fine-tuning for images of another size", "lgd generator train folder:PHOTOS --out GEN --quiet --dataset.size 6"
         " --generator.source RUN/generator --generator.tune full", photos),
    CandidateSpec("a class map that is not there", f"{TUNE} --generator.class-map none.toml"),
    CandidateSpec("... with an id that is not there", f"{TUNE} --generator.class-map M.toml", written("M.toml", "[classes]\n3 = 12345\n")),
    CandidateSpec("... with a class that is not there", f"{TUNE} --generator.class-map M.toml", written("M.toml", "[classes]\nant = 1\n")),
    CandidateSpec("... that is nested 100,000 deep", f"{TUNE} --generator.class-map M.toml", written("M.toml", "x = " + "[" * 100_000)),
    CandidateSpec("... that is a pipe", f"{TUNE} --generator.class-map M.toml", pipe("M.toml")),
    CandidateSpec("a picture of no generator", "lgd generator sample none --out OUT.png"),
    CandidateSpec("a picture onto a file that is there", "lgd generator sample RUN/generator --out FILE", written("FILE", "mine")),
    CandidateSpec("a picture of no images", f"{SAMPLE} --per-class 0"),
    CandidateSpec("a picture of a class that is not there", f"{SAMPLE} --classes ant"),
    CandidateSpec("a picture in no steps", f"{SAMPLE} --steps 0"),
    CandidateSpec("a picture from weights with a header of an exbibyte", SAMPLE,
         huge_header("RUN/generator/transformer/diffusion_pytorch_model.safetensors")),
    CandidateSpec("a picture from a denoiser of another class", SAMPLE,
         changed("RUN/generator/transformer/config.json", lambda value: value.update(num_layers="many"))),
    CandidateSpec("a generator's description of a run", "lgd generator show RUN"),
    CandidateSpec("... of a class map that is a list", "lgd generator show RUN/generator", written("RUN/generator/classes.json", "[]")),
    CandidateSpec("... of an id outside", "lgd generator show RUN/generator", written("RUN/generator/classes.json", '{"a": -1}')),
    CandidateSpec("a reference without a verb", "lgd reference"),
    CandidateSpec("a reference onto a file", "lgd reference train PRESET --out FILE", written("FILE", "mine")),
    CandidateSpec("a reference of weights that are not there", f"{REFERENCE} --reference.weights none.safetensors"),
    CandidateSpec("a reference of a pickle", f"{REFERENCE} --reference.weights R.pt", written("R.pt", PICKLE)),
    CandidateSpec("a reference of another width", f"{REFERENCE} --reference.width 9 --reference.weights RUN/reference.safetensors"),
    CandidateSpec("a reference that only guesses", f"{REFERENCE} --reference.training.epochs 1 --reference.weights R.safetensors",
         lambda place: guessing(place / "RUN/reference.safetensors", place / "R.safetensors")),
    CandidateSpec("a source of an unknown kind", f"{DISTILL} --dataset.source zip:x.zip"),
    CandidateSpec("a folder that is not there to learn from", "lgd distill folder:none --out OUT"),
    CandidateSpec("a folder without a name", "lgd distill folder: --out OUT"),
    CandidateSpec("three folders", "lgd distill folder:a,b,c --out OUT"),
    CandidateSpec("a folder without classes", FOLDER, lambda place: (place / "PHOTOS").mkdir()),
    CandidateSpec("a folder of one class", FOLDER, lambda place: photos(place, ("cat",))),
    CandidateSpec("a folder with an empty class", FOLDER, both(photos, written("PHOTOS/ant/readme", ""))),
    CandidateSpec("a folder with a truncated image", FOLDER, both(photos, written("PHOTOS/cat/9.png", PIXELS[0][:50]))),
    CandidateSpec("a folder with a bomb", FOLDER, both(photos, written("PHOTOS/cat/9.png", png(65500, 65500)))),
    CandidateSpec("a folder with a PostScript program", FOLDER, both(photos, written("PHOTOS/cat/9.png", "%!PS-Adobe-3.0 EPSF-3.0\n"))),
    CandidateSpec("a folder with a tiny image", FOLDER, both(photos, image("PHOTOS/cat/9.png", "L", (3, 3)))),
    CandidateSpec("a class that is a link out of the folder", FOLDER, both(photos, link("PHOTOS/ant", "/etc"))),
    CandidateSpec("a class that the test folder lacks", "lgd distill folder:PHOTOS,TEST --out OUT",
         both(photos, image("TEST/cat/1.png", "L", (8, 8)))),
    CandidateSpec("a class of the list that is not there", f"{FOLDER} --dataset.classes cat dgo", photos),
    CandidateSpec("a list of classes that is binary", f"{FOLDER} --dataset.classes L", both(photos, written("L", b"\xff\xfe"))),
    CandidateSpec("a list of classes that is a pipe", f"{FOLDER} --dataset.classes L", both(photos, pipe("L"))),
    CandidateSpec("a set in which every image is for the test", f"{FOLDER} --dataset.test-fraction 1", photos),
    CandidateSpec("a set of one image per class", FOLDER, lambda place: photos(place, count=1)),
    CandidateSpec("a side of minus eight pixels", f"{FOLDER} --dataset.size -8", photos),
    CandidateSpec("a table that is not there", TABLE_OF),
    CandidateSpec("a table that is a pickle", TABLE_OF, written("T.parquet", PICKLE)),
    CandidateSpec("a table that names a file of this machine", TABLE_OF,
         parquet(image=[{"bytes": None, "path": "/etc/passwd"}] * 4, label=[0, 0, 1, 1])),
    CandidateSpec("a table with two columns of images", TABLE_OF, parquet(a=PIXELS, b=PIXELS, label=[0, 1])),
    CandidateSpec("a table without labels", TABLE_OF, parquet(image=PIXELS)),
    CandidateSpec("a table with half a label", TABLE_OF, parquet(image=PIXELS, label=[0.5, 1.0])),
    CandidateSpec("a column that is not there", f"{TABLE_OF} --dataset.label-column kind", parquet(image=PIXELS, label=[0, 1])),
    CandidateSpec("a name that the Hub cannot have", "lgd distill hf:../../etc --out OUT"),
    CandidateSpec("a name of the Hub that is a folder here", "lgd distill hf:PHOTOS --out OUT", photos),
    CandidateSpec("the status of nothing", "lgd status none"),
    CandidateSpec("the status of a configuration that is a list", "lgd status RUN", written("RUN/config.json", "[]")),
]  # fmt: skip


def guessing(weights: Path, to: Path) -> None:
    """The same classifier with its weights at zero."""
    tensors, metadata = load_tensors_and_metadata(weights)
    save_tensors(to, {name: tensor * 0 for name, tensor in tensors.items()}, metadata)


def run_case(case: CandidateSpec, finished: Path, place: Path) -> tuple[int, str]:
    """Exit code and what was printed to standard error, with the names of `place` shortened; checks what must hold."""
    place.mkdir()
    shutil.copytree(finished, place / "RUN")
    if "PRESET" in case.command:
        shutil.copy(finished.parent / "tiny.toml", place / "PRESET")
    case.damage(place)
    before = contents(place)
    out, err = io.StringIO(), io.StringIO()
    holder = output_directory(place / "RUN") if "another process" in case.what else contextlib.nullcontext()
    signal.alarm(120)  # a command that waits for ever ends the whole test run, with its name
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


STATE = {".lock", "events.jsonl", "seconds.json"}
"""what a command that starts to work may write"""


def contents(place: Path) -> dict[str, str]:
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink() and path.name not in STATE]
    return {str(path.relative_to(place)): sha256(path) for path in files}


def table_row(case: CandidateSpec, code: int, text: str) -> str:
    cells = [case.what, f"`{shortened(case.command)}`", str(code), f"`{shortened(text.strip(), 240)}`"]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def shortened(text: str, most: int = 90) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    """The table's rows by their first two cells."""
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    return {" | ".join(line.split(" | ")[:2]): line for line in rows}


@pytest.fixture(scope="module")
def with_preset(finished: Path) -> Path:
    toml(tiny_config(), finished.parent / "tiny.toml")
    return finished


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_one_line_the_right_code_and_nothing_lost(
    case: CandidateSpec, with_preset: Path, tmp_path: Path, documented: dict[str, str]
) -> None:
    code, text = run_case(case, with_preset, tmp_path / "place")
    assert code == case.code, text
    assert text.startswith(("lgd: ", "usage: ")) or not text
    assert text.count("\n") == (case.command not in ("lgd", "lgd generator")), text
    assert text.replace("\n", "").isprintable()
    line = table_row(case, code, text)
    assert documented.get(" | ".join(line.split(" | ")[:2])) == line, "run `python -m tests.test_bad_inputs`"


def test_the_table_has_no_other_rows(documented: dict[str, str]) -> None:
    assert len(documented) == len(CASES) + 1  # and its head
    assert len(CASES) >= 60


def table() -> Iterator[str]:
    """docs/bad-inputs.md, line by line."""
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
