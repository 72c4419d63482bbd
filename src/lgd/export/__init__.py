"""Export a run's dataset in the formats that other software reads."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from lgd import CallablePackage
from lgd.errors import UserError, nearest
from lgd.progress import log, progress_bar
from lgd.storage.files import write_json, write_text


def export(
    run: str | Path, to: str, out: str | Path, overwrite: bool = False, push: str | None = None, statistics: str = ""
) -> Path:
    """Write the dataset of a finished run to the directory `out` in a format of other software, with a card.

    to: imagefolder, hf, parquet, webdataset or pt. push: a dataset repository on the Hugging Face Hub to upload it to.
    statistics: what pt normalises by: cifar, imagenet, none, or MEAN,.../STD,...; empty: by what the data set is.
    The export is written beside `out` and then renamed: a failure leaves no part of it, and keeps what `overwrite`
    would replace. Returns `out`. Errors: UserError for a target that exists, an unfinished or damaged run, a missing
    extra or a missing token.
    """
    run, out = Path(run), Path(out)
    from .card import card
    from .formats import FORMATS
    from .record import FILE, record_of
    from .samples import read_export

    if to not in FORMATS:
        raise UserError(f"--to: unknown format {to!r}{nearest(to, FORMATS)}")
    if statistics and not FORMATS[to].normalises:
        raise UserError(f"--statistics: {to} keeps images as they are; only tensors are normalised (--to pt)")
    _refuse(out, run, overwrite)
    hub = _hub() if push else None
    own = replace(read_export(run), statistics=statistics)
    content = FORMATS[to].arrange(own)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        with progress_bar(len(content.samples), f"export to {to}") as advance:
            how_to_read = FORMATS[to].write(content, temporary, advance)
        write_json(temporary / FILE, record_of(own))
        write_text(temporary / "README.md", card(content, FORMATS[to], how_to_read, temporary))
        if out.exists():
            shutil.rmtree(out)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.info(f"{out}: {len(content.samples)} images")
    if content.class_names != own.class_names:
        log.info(f"{out}: labels count the folders by name, as ImageFolder does, not as {run}/classes.json does")
    if push and hub:
        hub.create_repo(push, repo_type="dataset", exist_ok=True)
        hub.upload_folder(folder_path=str(out), repo_id=push, repo_type="dataset")
        log.info(f"uploaded to {push}")
    return out


def _refuse(out: Path, run: Path, overwrite: bool) -> None:
    """Errors: UserError for a target that must not be replaced."""
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or --overwrite to replace it")
    if out.is_file():
        raise UserError(f"{out} is a file; --out names a directory")
    if out.exists() and not (out / "README.md").is_file() and any(out.iterdir()):
        raise UserError(f"{out} is not an export of lgd; not overwritten")
    inside, target = run.resolve(), out.resolve()
    if target == inside or target in inside.parents or inside in target.parents:
        raise UserError(f"{out}: choose a place outside the run {run}")


def _hub() -> Any:
    """Return the Hub's client. Errors: UserError without a token, before any work is done."""
    import huggingface_hub

    if not huggingface_hub.get_token():
        raise UserError("--push needs a token: `hf auth login`, or set HF_TOKEN")
    return huggingface_hub.HfApi()


sys.modules[__name__].__class__ = CallablePackage
