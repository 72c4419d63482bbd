"""Download the wheels that a machine with a CUDA build of torch may lack, for a machine without a network.

    python benchmarks/gpu/collect_wheels.py [--python 3.12] [--without-ray] [PACKAGE ...]

Fills benchmarks/gpu/wheels, which git ignores, for x86-64 Linux. PACKAGE: other packages, instead of the default ones.
Ray's wheel loses its parts for Java, its dashboard's pages and its libraries for reinforcement learning and language
models: 45 instead of 79 MB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

WHEELS = Path(__file__).parent / "wheels"
PACKAGES = [
    "diffusers",
    "importlib-metadata",
    "httpx",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "tyro",
    "docstring-parser",
    "typeguard",
    "loky",
    "cloudpickle",
]
"""without torch, numpy, scipy, scikit-learn, matplotlib, torchmetrics and other packages of most such machines"""
FOR_RAY = ["ray", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py"]
UNUSED = ("ray/jars/", "ray/dashboard/client/build/", "ray/rllib/", "ray/llm/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", default=[])
    parser.add_argument("--without-ray", action="store_true", help="enough for run.sh train")
    parser.add_argument("--python", default="3.12")
    options = parser.parse_args()
    packages = options.packages or PACKAGES + FOR_RAY * (not options.without_ray)
    WHEELS.mkdir(exist_ok=True)
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in (34, 31, 28, 27, 24, 17)]
    platforms += ["--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64"]
    choice = [
        "--no-deps",
        "--only-binary=:all:",
        f"--python-version={options.python}",
        "--implementation=cp",
        *platforms,
    ]
    command = [sys.executable, "-m", "pip", "download", "-q", *choice, *platforms, "-d", str(WHEELS), *packages]
    subprocess.run(command, check=True)
    for wheel in WHEELS.glob("ray-*.whl"):
        without(wheel, UNUSED)
    sizes = {wheel.name: wheel.stat().st_size for wheel in sorted(WHEELS.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size / 1e6:6.1f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:6.1f} MB")


def without(wheel: Path, folders: tuple[str, ...]) -> None:
    """Write a wheel again without some of its folders."""
    smaller = wheel.with_suffix(".smaller")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for entry in old.infolist():
            if not entry.filename.startswith(folders):
                new.writestr(entry, old.read(entry), zipfile.ZIP_DEFLATED, 9)
    smaller.replace(wheel)


if __name__ == "__main__":
    main()
