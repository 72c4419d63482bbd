"""The method that `auto` stands for, by what the recorded tables say (docs/method.md, "Which method")."""

from dataclasses import replace
from typing import Any

import torch

from lgd.classifiers.architectures import predict
from lgd.classifiers.train import accuracy
from lgd.config import Config, with_values
from lgd.diffusion.folder import open_generator
from lgd.distillation.fresh import images_per_class, some_classes
from lgd.distillation.judge import load_judge
from lgd.distillation.recipe import Assets
from lgd.distillation.seed_check import shows_classes
from lgd.progress import log
from lgd.rng import derive_seed
from lgd.storage.files import read_json, write_json

from .preview import preview_samples

FEW = 10  # images per class up to which no choice of real images was better than herding
SYNTHETIC = ("lgd", "dit")  # methods that sample, of which the trained generator decides
FILE = "method.json"


def settled(config: Config) -> Config:
    """Return the configuration with the method that `auto` stands for; a generated set's is decided by its generator.

    Logs the reason.
    """
    if config.method != "auto" or config.synthetic:
        return config
    count = config.stages.increments * config.stages.images_per_increment
    few = count <= FEW
    name = "herding" if few else "lgd-real-easiest"
    measured = "none was better than herding" if few else "it was better than herding"
    log.info(f"method auto: {name}, real images, because at {count} per class {measured} (docs/method.md)")
    return replace(config, method=name)


def choose_synthetic(config: Config, assets: Assets, data: Any) -> Config:
    """Return the configuration of a generated set: guided where the judge recognises the generator's samples.

    Else unguided samples that cover the class, as a guided image is no better than its generator. data: `Splits`. The
    choice is kept in the assets directory. Errors: as `open_generator`.
    """
    path = assets.root / FILE
    if not path.exists():
        names = data.train.class_names
        judge, classes = load_judge(assets), some_classes(len(names))
        folder, precision = assets.generator_folder, config.sampling.precision
        generator = open_generator(config.generator, folder, names, data.train.shape, assets.device, precision)
        each = images_per_class(classes)
        images = preview_samples(generator, classes, each, config.sampling, derive_seed(config.seed, "auto"))
        labels = torch.tensor(list(classes)).repeat_interleave(each)
        found = 100 * float((predict(judge, images).argmax(1) == labels).float().mean())
        real = accuracy(judge, data.test)
        write_json(path, {"recognised": found, "real": real, "shows": shows_classes(found, real, len(names))})
    record = read_json(path)
    name = SYNTHETIC[0] if record["shows"] else SYNTHETIC[1]
    log.info(
        f"method auto: {name}{'' if record['shows'] else ' with coverage'}, because the judge recognises"
        f" {record['recognised']:.0f} % of the generator's samples and {record['real']:.0f} % of real images"
    )
    if record["shows"]:
        return replace(config, method=name)
    covered = {"stages.coverage": "herding", "stages.candidates": max(2, config.stages.candidates)}
    return with_values(replace(config, method=name), covered)
