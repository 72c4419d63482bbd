"""Measure a generator: the shares of samples that judge and reference recognise, and FID in the judge's features.

    python benchmarks/generator_quality.py ASSETS [--generator FOLDER] [--per-class 100] [--scales 1 1.5 2 3]

ASSETS: a directory of `lgd compare` or a run, with config.json, generator/, and the networks. --generator: another one
than generator.source. FID compares the samples with the first test images of every class, as many as --per-class says.
The last rows give the same numbers for real images, as a bound. The features are the judge's, not Inception's: compare
within one table only.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from lgd.analysis.fidelity import fid, precision, recall
from lgd.classifiers.architectures import Classifier, features_of, predict
from lgd.classifiers.train import load_classifier
from lgd.config import load_config
from lgd.data.imageset import ImageSet
from lgd.data.splits import load_splits
from lgd.diffusion.folder import open_generator
from lgd.execution.hardware import resolve_device
from lgd.experiments.preview import preview_samples


def first(images: ImageSet, count: int) -> ImageSet:
    """Return the first `count` images of every class."""
    return images.subset(torch.cat([images.indices_of(label)[:count] for label in range(len(images.class_names))]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--generator", default="")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    options = parser.parse_args()
    config = load_config(str(options.assets / "config.json"))
    splits, sampling = load_splits(config.dataset), config.sampling
    train = splits.train
    device = resolve_device(config.compute.device)
    judge = load_classifier(options.assets / "judge.safetensors", config.judge, train, device)
    reference = load_classifier(options.assets / "reference.safetensors", config.reference, train, device)
    own = replace(config.generator, source=options.generator or config.generator.source)
    folder = options.assets / "generator"
    generator = open_generator(own, folder, train.class_names, train.shape, device, sampling.precision)
    test = first(splits.test, options.per_class)
    real = features_of(judge, test)

    def share(network: Classifier, images: ImageSet) -> float:
        return 100 * predict(network, images).argmax(1).eq(images.labels).float().mean().item()

    def row(name: str, images: ImageSet, rate: str = "-") -> str:
        features = features_of(judge, images)
        near, covered = precision(real, features) or 0.0, recall(real, features) or 0.0
        shares = f"{share(judge, images):.1f} | {share(reference, images):.1f}"
        return f"| {name} | {shares} | {fid(real, features):.2f} | {near:.0f} | {covered:.0f} | {rate} |"

    print("| samples | by the judge, % | by the reference, % | FID | precision | recall | images/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for scale in options.scales:
        start = perf_counter()
        scaled = replace(sampling, classifier_free_scale=scale)
        samples = preview_samples(generator, range(len(train.class_names)), options.per_class, scaled, config.seed)
        print(row(f"CFG {scale}", samples, f"{len(samples) / (perf_counter() - start):.1f}"), flush=True)
    print(row("training images", first(train, options.per_class)))
    print(row("these test images", test))


if __name__ == "__main__":
    main()
