"""Read configurations: built-in presets, TOML files and the config.json of a run."""

import json
import tomllib
from pathlib import Path

from lgd.errors import UserError, nearest
from lgd.storage.files import read_limited

from .checks import from_dict
from .fields import Config

LARGEST_TOML = 2**20  # bytes


def presets() -> dict[str, Path]:
    return {path.stem: path for path in sorted(Path(__file__).with_name("presets").glob("*.toml"))}


def load_config(name_or_path: str) -> Config:
    """Read a preset by its name, or a TOML file or a run's config.json by its path. Errors: UserError."""
    if name_or_path in presets():
        path = presets()[name_or_path]
    elif name_or_path.endswith((".toml", ".json")) or Path(name_or_path).is_file():
        path = Path(name_or_path)
    else:
        raise UserError(f"unknown preset {name_or_path!r}{nearest(name_or_path, presets())}; or give a .toml file")
    text = read_limited(path, LARGEST_TOML)
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with too many digits
        raise UserError(f"{path}: not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a configuration")
    return from_dict({"name": path.stem, **values}, str(path))
