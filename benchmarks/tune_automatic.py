"""Measure a generator with the automatic settings, or with others, on a validation part of an image folder.

    python benchmarks/tune_automatic.py FOLDER OUT [--size 32] [--steps 1500] [--rate 4e-3] [--prediction sample]
                                        [--batch 64] [--min-snr 0]

FOLDER: images by class. Generator and reference are trained without the validation part, the reference for four times
the automatic epochs. Samples twenty images per class on one thread, prints the share that the reference recognises, and
writes OUT with a grid of samples. Results: image-folders.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import process_time

import torch

from lgd.analysis.fidelity import fid
from lgd.classifiers.architectures import features_of, predict
from lgd.classifiers.train import train_classifier
from lgd.config import DatasetConfig, with_values
from lgd.data.imageset import ImageSet
from lgd.data.splits import load_splits
from lgd.diffusion.folder import load_generator
from lgd.diffusion.train_generator import GeneratorTraining, make_generator
from lgd.execution.hardware import keep_freed_memory
from lgd.experiments.auto import load_config
from lgd.experiments.preview import preview_samples, write_grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=0, help="side in pixels; 0: chosen from the images")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--prediction")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--min-snr", type=float)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    config = load_config(f"folder:{options.folder}", DatasetConfig(eval_split="validation", size=options.size))
    wanted = {
        "steps": options.steps,
        "learning_rate": options.rate,
        "prediction": options.prediction,
        "batch_size": options.batch,
        "min_snr": options.min_snr,
    }
    values = {f"generator.{name}": value for name, value in wanted.items() if value is not None}
    epochs = 4 * config.reference.training.epochs
    config = with_values(config, {"generator.threads": 1, "reference.training.epochs": epochs, **values})
    splits = load_splits(config.dataset)
    train, labels = splits.train, range(len(splits.train.class_names))
    reference = train_classifier(train, config.reference, 0)

    def recognised(images: ImageSet) -> float:
        return 100 * predict(reference, images).argmax(1).eq(images.labels).float().mean().item()

    start = process_time()
    make_generator(GeneratorTraining(config.generator, config.dataset, train, "cpu"), options.out)
    seconds, generator = process_time() - start, load_generator(options.out)
    real, cells = features_of(reference, train), []
    for scale in (1.5, 3.0):
        sampling = replace(config.sampling, classifier_free_scale=scale)
        samples = preview_samples(generator, labels, 20, sampling, config.seed)
        cells += [f"{recognised(samples):.0f}", f"{fid(real, features_of(reference, samples)):.0f}"]
        write_grid(samples, options.out / f"samples-{scale}.png")
    print("| processor s | validation images | CFG 1.5: recognised, % | FID | CFG 3: recognised, % | FID |")
    print(f"|---:|---:|---:|---:|---:|---:|\n| {seconds:.0f} | {recognised(splits.test):.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
