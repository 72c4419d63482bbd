"""Compare objectives of generator training at equal processor time, by the judge of a configuration.

    python benchmarks/generator_objectives.py cifar10 OUT --source parquet:TRAIN,TEST --autoencoder TAEF2 [--minutes 20]
                                              [--objectives x0 x0-snr1 ...] [--rates 1e-3] [--per-class 50]

Trains the configuration's generator for `minutes` of processor time by every objective and learning rate, from the same
weights, on one thread and at a constant rate, without the validation part of the training images. Samples from the
averaged weights and prints the share that the judge recognises, and FID in its features against the validation images.
OUT keeps judge, latents and generators: the same command goes on, and `generator.source` takes OUT/OBJECTIVE-RATE. The
reference, with which `x0-aligned` is aligned, is kept, too; its training and its feature maps are not part of the time.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from time import process_time

import torch

from lgd.analysis.fidelity import fid
from lgd.classifiers.architectures import Classifier, features_of, predict
from lgd.classifiers.train import load_classifier, save_classifier, train_classifier
from lgd.config import ClassifierConfig, Config, load_config, with_values
from lgd.data.imageset import ImageSet
from lgd.data.splits import load_splits
from lgd.diffusion.checkpoint import trained
from lgd.diffusion.families.dit import with_plain_attention
from lgd.diffusion.folder import load_generator, save_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.starts import new_start
from lgd.diffusion.train import begin, half_precision, train
from lgd.diffusion.train_generator import GeneratorTraining, feature_maps, learning_source
from lgd.distillation.recipe import assets_of
from lgd.evaluation.tables import number
from lgd.execution.hardware import keep_freed_memory
from lgd.experiments.preview import preview_samples, write_grid
from lgd.experiments.reference import feature_maps_of
from lgd.storage.files import read_json, write_json

NOISE: dict[str, object] = {"prediction": "epsilon"}
SAMPLE: dict[str, object] = {"prediction": "sample"}
OBJECTIVES: dict[str, dict[str, object]] = {
    "noise": NOISE,
    "noise-snr": {**NOISE, "min_snr": 5.0},
    "v": {"prediction": "v_prediction"},
    "v-snr": {"prediction": "v_prediction", "min_snr": 5.0},
    "x0": SAMPLE,
    "x0-snr": {**SAMPLE, "min_snr": 5.0},
    "x0-snr1": {**SAMPLE, "min_snr": 5.0, "snr_offset": 1.0},
    "x0-absolute": {**SAMPLE, "loss": "absolute"},
    "x0-absolute-snr1": {**SAMPLE, "loss": "absolute", "min_snr": 5.0, "snr_offset": 1.0},
    "flow": {"prediction": "flow_prediction"},
    "x0-aligned": {**SAMPLE, "align": 0.5},
}
"""`v` is EDM's preconditioning of data of unit variance; `snr` weighs by min(SNR, 5), `snr1` by min(1 + SNR, 5)"""
SCALES = (1.5, 3.0)
"""of classifier-free guidance"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", default="", help="images; by default the configuration's")
    parser.add_argument("--autoencoder", default="")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--objectives", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--per-class", type=int, default=50)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(1)
    config = load_config(options.config)
    shared = {"source": "", "autoencoder": options.autoencoder, "schedule": "constant", "steps": 10**6, "align": 0.0}
    values: dict[str, object] = {f"generator.{name}": value for name, value in shared.items()}
    values |= {"dataset.source": options.source or config.dataset.source, "dataset.eval_split": "validation"}
    config = with_values(config, values)
    splits = load_splits(config.dataset)
    options.out.mkdir(parents=True, exist_ok=True)
    judge = kept(options.out / "judge.safetensors", config.judge, splits.train)
    if "x0-aligned" in options.objectives:
        kept(options.out / "reference.safetensors", config.reference, splits.train)
    real = features_of(judge, splits.test)
    print("| objective | rate | steps | loss | " + " | ".join(f"CFG {s:g}: recognised, % | FID" for s in SCALES) + " |")
    print("|---|---:|---:|---:|" + "---:|---:|" * len(SCALES), flush=True)
    for name in options.objectives:
        for rate in options.rates:
            own = {f"generator.{field}": value for field, value in OBJECTIVES[name].items()}
            chosen, folder = (
                with_values(config, {**own, "generator.learning_rate": rate}),
                options.out / f"{name}-{rate:g}",
            )
            if not (folder / "steps.json").exists():
                learn(chosen, splits.train, folder, 60 * options.minutes)
            generator, told = load_generator(folder, splits.train.shape), read_json(folder / "steps.json")
            cells = [name, f"{rate:g}", str(told["steps"]), f"{told['loss']:.3f}"]
            for scale in SCALES:
                sampling = replace(config.sampling, classifier_free_scale=scale)
                labels = range(len(splits.train.class_names))
                samples = preview_samples(generator, labels, options.per_class, sampling, config.seed)
                recognised = 100 * predict(judge, samples).argmax(1).eq(samples.labels).float().mean().item()
                cells += [f"{recognised:.1f}", number(fid(real, features_of(judge, samples)))]
                write_grid(samples, folder / f"samples-{scale:g}.png")
            print(f"| {' | '.join(cells)} |", flush=True)


def kept(path: Path, config: ClassifierConfig, train: ImageSet) -> Classifier:
    """Return the classifier in a file; train it first where it is missing."""
    if not path.exists():
        save_classifier(train_classifier(train, config, 0), path, config, train)
    return load_classifier(path, config, train, "cpu")


def learn(config: Config, train_set: ImageSet, folder: Path, seconds: float) -> None:
    """Train a generator for some seconds of processor time and write its averaged weights and the number of steps."""
    own = config.generator
    start = new_start(own, train_set)
    encoder = feature_maps_of(assets_of(config, folder.parent, "cpu"), train_set) if own.align else None
    training = GeneratorTraining(own, config.dataset, train_set, "cpu", encoder)
    source, autoencoder = learning_source(training, start, folder.parent / "latents")
    if half_precision(own, "cpu"):
        with_plain_attention(start.denoiser)
    maps = feature_maps(training, folder.parent / "latents") if own.align else None
    state = begin(start.denoiser, own, len(train_set), start.family, maps=maps)
    begun = process_time()
    for _ in train(state, source, train_set.labels, start.scheduler, own):
        if process_time() - begun > seconds:
            break
    state.average.copy_to(trained(state))
    schedule, ids = dict(start.scheduler.config), start.conditions.class_ids
    denoiser = start.denoiser.eval().half()
    names = train_set.class_names
    save_generator(Generator(denoiser, schedule, autoencoder, names, ids, start.family), folder, start.network)
    last = state.losses[-min(len(state.losses), 500) :]
    write_json(folder / "steps.json", {"steps": state.step, "loss": sum(last) / len(last), "generator": asdict(own)})


if __name__ == "__main__":
    main()
