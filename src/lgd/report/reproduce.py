"""The command that repeats a run."""

from __future__ import annotations

import shlex
from typing import Any

from lgd.config import Config, load_config, presets, to_dict


def command(config: dict[str, Any], out: str) -> str:
    """Return `lgd distill PRESET` with an option for every field that differs from the preset.

    config: as in config.json.
    """
    if config["name"] == "automatic":  # chosen by the images, perhaps otherwise by another version
        return shlex.join(["lgd", "distill", f"{out}/config.json", "--out", f"{out}-again"])
    preset = config["name"] if config["name"] in presets() else None
    base = to_dict(load_config(preset)) if preset else to_dict(Config())
    words = ["lgd", "distill", preset or f"{config['name']}.toml", "--out", out]
    words += flags(base, {key: value for key, value in config.items() if key not in ("name", "compute")})
    return shlex.join(words)


def flags(base: dict[str, Any], config: dict[str, Any], prefix: str = "") -> list[str]:
    """Return options for the values in `config` that differ from those in `base`."""
    words: list[str] = []
    for key, value in config.items():
        if isinstance(value, dict):
            words += flags(base.get(key, {}), value, f"{prefix}{key}.")
        elif base.get(key) != value:
            option = f"{prefix}{key}".replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--{prefix.replace('_', '-')}no-{key.replace('_', '-')}")
            else:
                values = value if isinstance(value, list) else [value]
                words += [f"--{option}", *map(str, values)]
    return words
