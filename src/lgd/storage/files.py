"""Read and write files. Writers use a temporary name and rename it, so that a file is either complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from lgd.errors import UserError

from .locks import HOLDER, LOCK, locked

if TYPE_CHECKING:
    from torch import Tensor

UNFINISHED = re.compile(r"\..+\.[0-9a-f]+\.tmp")
"""the temporary names of `write_file`"""
LARGEST_JSON = 256 * 2**20  # bytes; a manifest of a million images is smaller

_listeners: list[Callable[[Path], object]] = []


@contextmanager
def on_written(listener: Callable[[Path], object]) -> Iterator[None]:
    """Call `listener` with every file that this process finishes in the block, in order."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def written(path: Path) -> None:
    """Call the listeners with a file that is complete or deleted; `write_file` does so itself."""
    for listener in tuple(_listeners):
        listener(path)


def discard(path: Path) -> None:
    """Delete a file that this process wrote, and call the listeners."""
    path.unlink(missing_ok=True)
    written(path)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary)` and rename the result to `path`; after a failure no temporary file is left.

    Only SIGKILL leaves one, which `output_directory` removes. Temporary names are random, because process numbers
    repeat on machines that share a directory. Errors: OSError, also when a library reports a full disk by an error of
    its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if is_full_disk(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    written(path)


def is_full_disk(error: BaseException | None) -> bool:
    """Return whether an error or its cause reports a full disk; libraries in Rust and C++ say so in the message."""
    if error is None:
        return False
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return True
    return is_full_disk(error.__cause__ or error.__context__)


def write_stream(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with an open binary file, as `write_file` writes: libraries alone hide that a disk is full."""

    def through(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    write_file(path, through)


def write_bytes(path: Path, data: bytes) -> None:
    write_file(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON. Errors: ValueError for NaN and infinity, which are not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Errors: UserError naming a file that is missing, too large or not JSON (as NaN and infinity)."""
    return _parse(path, parse_json)


def read_json_lines(path: Path) -> list[Any]:
    """Read a JSON value per line. Errors: as `read_json`."""
    return _parse(path, lambda text: [parse_json(line) for line in text.splitlines() if line])


def read_limited(path: Path, largest: int) -> str:
    """Read the text of a regular file of at most `largest` bytes. Errors: UserError naming it."""
    try:
        if not path.exists():
            raise UserError(f"{path}: no such file")
        if not path.is_file():  # a pipe would never end
            raise UserError(f"{path}: not a file")
        with path.open("rb") as file:
            data = file.read(largest + 1)
        if len(data) > largest:
            raise UserError(f"{path}: larger than {largest >> 20} MiB; not one of our files")
        return data.decode()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: corrupt, not text ({error.reason} at byte {error.start})") from None


def _parse(path: Path, parse: Callable[[str], Any]) -> Any:
    text = read_limited(path, LARGEST_JSON)
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{path}: corrupt, not JSON ({error})") from None


def parse_json(text: str | bytes) -> Any:
    """Parse JSON from any source. Errors: ValueError, also for NaN, infinity and too deep nesting."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors, after moving tensors to the CPU.

    The metadata becomes one entry, `lgd`, of sorted JSON: safetensors writes several entries in a random order, and
    the same tensors must give the same bytes.
    """
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    entry = {"lgd": json.dumps(dict(metadata), sort_keys=True)} if metadata else None
    write_file(path, lambda temporary: save_file(plain, temporary, entry))


def load_tensors(path: Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or those in `names`. Errors: UserError naming the file."""
    return load_tensors_and_metadata(path, names)[0]


def load_tensors_and_metadata(
    path: Path, names: Collection[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors as `load_tensors`, and the metadata given to `save_tensors`; files of other writers have none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("lgd", "{}"))
            tensors = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, ValueError) as error:
        if is_pickle(path):
            raise UserError(
                f"{path}: a pickle, which can run code and is never opened; save it as safetensors"
            ) from None
        raise UserError(f"{path}: corrupt, not safetensors ({error})") from None
    except OSError as error:
        reason = "a directory, not a safetensors file" if path.is_dir() else error.strerror or error
        raise UserError(f"{path}: {reason}") from None
    return tensors, metadata if isinstance(metadata, dict) else {}


def is_pickle(path: Path) -> bool:
    """Return whether a file starts like a pickle, or like the archives in which torch stores pickles."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", *(bytes([0x80, version]) for version in range(2, 6)))


def safe_name(name: str) -> str:
    """Return a file name for any text: all but letters, digits, `_`, `-`, `.`, `~` and space is percent-encoded.

    The name is never `..`, hidden, or reserved by Windows, and holds no separator or NUL. Long names are cut and end in
    a digest.
    """
    encoded = quote(name, safe=" ", errors="surrogatepass") or "%00"
    if encoded[0] in ". " or is_reserved(encoded):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if encoded[-1] in ". ":
        encoded = f"{encoded[:-1]}%{ord(encoded[-1]):02X}"
    if len(encoded) > 120:
        encoded = encoded[:100] + "-" + hashlib.sha256(encoded.encode()).hexdigest()[:16]
    return encoded


def is_reserved(name: str) -> bool:
    """Return whether Windows takes a file name for a device."""
    stem = name.split(".")[0].upper()
    return stem in {"CON", "PRN", "AUX", "NUL"} or (stem[:3] in {"COM", "LPT"} and stem[3:].isdigit())


def copy_file(source: Path, target: Path) -> None:
    write_file(target, lambda temporary: shutil.copyfile(source, temporary))


@contextmanager
def output_directory(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Make `path` a directory that only this process writes to until the block ends.

    `overwrite` empties it first. Temporary files of a process that was killed are removed. Errors: UserError when it is
    a file, not writable, not made by lgd, held by another process, or holds a link that leads out of it.
    """
    path = path.absolute()
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; --out needs a directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}") from None
    with locked(path):
        contents = [item for item in path.iterdir() if not is_private(item)]
        if contents and not (path / "config.json").is_file():
            raise UserError(f"{path} is not empty and was not made by lgd; choose another --out")
        if overwrite:
            for item in contents:
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        _sweep(path)
        yield path


def is_private(path: Path) -> bool:
    """Return whether a file serves the process that holds its directory and is no result."""
    return path.name in (LOCK, HOLDER) or UNFINISHED.fullmatch(path.name) is not None


def _sweep(root: Path) -> None:
    """Remove temporary files. Errors: UserError for a link that leads out, since writes would follow it."""
    inside = root.resolve()
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            item = Path(folder, name)
            if UNFINISHED.fullmatch(name):
                item.unlink(missing_ok=True)
            elif item.is_symlink() and not item.resolve().is_relative_to(inside):
                raise UserError(f"{item} is a link that leads out of {root}; put a copy in its place")
