"""The command that repeats a run."""

import shlex
from collections.abc import Sequence
from typing import Any

from lgd.config import Config, load_config, presets, to_dict
from lgd.distillation.methods import METHODS


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


def command_of_all(configs: Sequence[dict[str, Any]], methods: Sequence[str], out: str) -> str | None:
    """Return the one `lgd compare` that repeats a comparison of several methods or seeds; None for other sets of runs.

    configs: of all runs, those of one method with successive seeds.
    """
    seeds = sorted({config["seed"] for config in configs})
    if len(configs) < 2 or len(configs) != len(methods) * len(seeds) or seeds != list(range(seeds[0], seeds[-1] + 1)):
        return None
    if not set(methods) <= METHODS.keys():
        return None
    first = next(config for config in configs if config["method"] == methods[0])
    single = shlex.split(command({**first, "method": "lgd", "seed": seeds[0]}, out))
    ours = METHODS[methods[0]].fields
    if any(f"--{name}".replace("_", "-") in single for name in ours):  # an ablation sets fields that compare must not
        return None
    single[1] = "compare"
    return shlex.join([*single, "--methods", *methods, "--runs", str(len(seeds))])


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
