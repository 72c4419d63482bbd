"""Measure a generator by a reference classifier: the share of samples it recognises, and FID in its features.

    python benchmarks/generator_quality.py ASSETS [--per-class 100] [--scales 1 1.5 2 3]

ASSETS: a directory of `lgd compare` or a run, with config.json, generator/ and reference.safetensors. FID compares the
samples with the first test images of every class, as many as --per-class says. The last rows give the same numbers for
real images, as a bound. The features are the reference's, not Inception's: compare within one table only.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from lgd.analysis.fidelity import fid, precision, recall
from lgd.classifiers.architectures import features_of, predict
from lgd.classifiers.train import load_classifier
from lgd.config import load_config
from lgd.data.datasets import load_splits
from lgd.data.imageset import ImageSet
from lgd.diffusion.folder import open_generator
from lgd.experiments.preview import preview_samples


def first(images: ImageSet, count: int) -> ImageSet:
    """Return the first `count` images of every class."""
    return images.subset(torch.cat([images.indices_of(label)[:count] for label in range(len(images.class_names))]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    options = parser.parse_args()
    config = load_config(str(options.assets / "config.json"))
    splits, sampling = load_splits(config.dataset), config.sampling
    train = splits.train
    reference = load_classifier(options.assets / "reference.safetensors", config.reference, train, "cpu")
    generator = open_generator(
        config.generator, options.assets / "generator", train.class_names, train.shape, "cpu", sampling.precision
    )
    test = first(splits.test, options.per_class)
    real = features_of(reference, test)

    def row(name: str, images: ImageSet, rate: str = "-") -> str:
        features = features_of(reference, images)
        recognised = 100 * predict(reference, images).argmax(1).eq(images.labels).float().mean().item()
        near, covered = precision(real, features) or 0.0, recall(real, features) or 0.0
        return f"| {name} | {recognised:.1f} | {fid(real, features):.2f} | {near:.0f} | {covered:.0f} | {rate} |"

    print("| samples | recognised, % | FID | precision | recall | images/s |\n|---|---:|---:|---:|---:|---:|")
    for scale in options.scales:
        start = perf_counter()
        own = replace(sampling, classifier_free_scale=scale)
        samples = preview_samples(generator, range(len(train.class_names)), options.per_class, own, config.seed)
        print(row(f"CFG {scale}", samples, f"{len(samples) / (perf_counter() - start):.1f}"), flush=True)
    print(row("training images", first(train, options.per_class)))
    print(row("these test images", test))


if __name__ == "__main__":
    main()
