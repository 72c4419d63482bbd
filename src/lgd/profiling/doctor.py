"""A description of this machine and its software, for bug reports."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch
from loky import cpu_count

from lgd import __version__
from lgd.data.cache import cache_folder
from lgd.execution.hardware import bfloat16_factor, computes_in_bfloat16, device_name

PACKAGES = (
    "torch",
    "diffusers",
    "numpy",
    "scikit-learn",
    "pillow",
    "transformers",
    "datasets",
    "pyarrow",
    "ray",
    "s3fs",
)
"""those that results or errors depend on most, the extras among them"""
VARIABLES = (
    "OMP_",
    "MKL_",
    "ONEDNN_",
    "ATEN_",
    "CUDA_VISIBLE",
    "PYTORCH_",
    "THP_",
    "XDG_CACHE",
    "HF_HOME",
    "HF_HUB_OFFLINE",
)
"""beginnings of the names of environment variables that change results, speed or places"""


def doctor() -> str:
    memory, threads = psutil.virtual_memory(), torch.get_num_threads()
    rows = {
        "lgd": f"{__version__}, in {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": ", ".join(f"{name} {installed(name)}" for name in PACKAGES),
        "processor": f"{device_name('cpu')}, {cpu_count()} cores here, {threads} threads,"
        f" {torch.backends.cpu.get_cpu_capability()}",
        "memory": f"{size(memory.total)}, {size(memory.available)} of it available",
        **{
            f"device {name}": describe(name)
            for name in ("cpu", *map("cuda:{}".format, range(torch.cuda.device_count())))
        },
        "cache": cache(cache_folder()),
        "variables": variables(),
    }
    return "".join(f"{name:<16}{text}\n" for name, text in rows.items())


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def describe(device: str) -> str:
    about = ""
    if device != "cpu":
        free, total = torch.cuda.mem_get_info(device)
        about = f"{device_name(device)}, {size(total)}, {size(free)} of it free; "
    native = "native" if computes_in_bfloat16(device) else "emulated"
    return f"{about}float32; bfloat16 {native}, takes {bfloat16_factor(device):.2f} times as long as float32"


def cache(folder: Path) -> str:
    """Return the place, files and size of a cache folder, and the free space around it."""
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{folder}: {len(files)} files, {size(sum(files))}; {size(shutil.disk_usage(there).free)} free"


def variables() -> str:
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}
    return ", ".join(f"{name}={value}" for name, value in found.items()) or "none that matter"


def size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
