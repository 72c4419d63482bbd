"""A budget of minutes: measure this machine, validate augmentation, choose the amounts of work, and keep to the time.

All numbers are planned at the start. Before each piece of a run (amounts.py) is made, the rates that matter are
measured again and the time that is left is divided anew; the numbers of this piece are then final. `budget.json` of the
output directory keeps them, so that a command that goes on has the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Any

from lgd.config import Config, to_dict, with_values
from lgd.config.checks import section_of
from lgd.data.imageset import Splits
from lgd.data.splits import Survey
from lgd.distillation.methods import method_named, with_method
from lgd.errors import UserError
from lgd.execution.hardware import computes_in_bfloat16
from lgd.profiling.sizes import sizes_of
from lgd.profiling.speed import Speed, measure_again, measure_speed
from lgd.progress import begun, log
from lgd.storage.files import read_json, write_json

from .amounts import SHARES, Values, amounts_for, seconds_of_pieces
from .auto import patch_for, settings_for
from .auto_method import SYNTHETIC
from .prepare import Settle
from .resolve import Experiment, samples
from .validation import Augmentation, augmentation

FILE = "budget.json"
FINISHING = 20.0  # seconds of starting worker processes, measurements of finished sets, and figures
VALIDATION_SHARE = 0.08  # of the budget, to decide about random crops and flips
FEW_PATCHES = 5  # patches along a side of the smaller generator's input
ENOUGH_STEPS = 1000  # optimiser steps below which a smaller generator is chosen
RECOGNISED_FROM = 0.6
"""accuracy in the short validation from which a generator of minutes is expected to show its classes: an assumption, as
no set was measured between those that it shows and those that it does not (benchmarks/budget.md)"""
TRAININGS = ("reference", "judge", "learner", "evaluation.classifier", "influence.surrogate.classifier")
RATES = ("classifier", "classified", "unguided", "guided")
MEASURED = {"judge": ("judge",), "generator": RATES, "stages": RATES, "evaluation": ("classifier", "classified")}
"""kinds of work that are tried again before a piece is made"""
WRITTEN = ("config.json", "assets.json")  # files of the output directory that repeat the settings


class Budget:
    """The settings of a run or a comparison, some of which still follow from the time that is left.

    experiment: with the numbers as they are known now; without a budget they are all final. root: output directory,
    which keeps the numbers; None: nothing is kept. methods: of the sets that are made, each `runs` times; None: the
    configuration's own; empty: a generator alone is trained. A field that the user has set stays. Errors: UserError for
    a directory that was begun with another budget.
    """

    def __init__(self, base: Experiment, root: Path | None, methods: Sequence[str] | None = None, runs: int = 1):
        config = self.asked = base.config
        self.experiment = replace(base, config=replace(config, minutes=0.0))
        self.root, self.given, self.runs, self.start = root, methods, runs, begun.get() or monotonic()
        self.record: dict[str, Any] = {}
        if not config.minutes or config.generator.source:
            return
        self.plain, self.sizes = automatic(config, base.splits), sizes_of(config, 0, 0, 0)
        if root and (root / FILE).exists():
            self.record = read_json(root / FILE)
            if self.record["minutes"] != config.minutes:
                raise UserError(
                    f"{root} was begun with --minutes {self.record['minutes']:g}, not {config.minutes:g}; choose"
                    " another --out, or --overwrite to start anew"
                )
            self.start -= self.record["spent"]
            self.choose({})
            self.renew()
        else:
            self.plan()

    def run(self) -> Experiment:
        """Return the experiment of a run of the configuration's own method, or the one that `auto` most needs."""
        config = self.experiment.config
        return self.experiment.with_method(SYNTHETIC[0] if config.method == "auto" else config.method, config.seed)

    def decide(self, config: Config) -> None:
        """Take the configuration with the method that `auto` stands for."""
        self.experiment = replace(self.experiment, config=config)
        self.renew()

    def settle(self, piece: str, step: float = 0.0) -> Experiment:
        """Return the experiment of a run, in which the numbers of a piece are final: by the time left, or as recorded.

        step: seconds of a step of the generator; 0: as at the start.
        """
        if self.record and piece not in self.record["settled"]:
            config, speed = self.experiment.config, self.speed
            sampled = any(samples(with_method(config, name)) for name in self.methods)
            names = [name for name in MEASURED.get(piece, ()) if sampled or name not in ("unguided", "guided")]
            names = names if self.methods else []
            speed = replace(speed, generator=step or speed.generator)
            speed = measure_again(speed, names, config, self.sizes, self.experiment.device)
            self.record["speed"] = vars(speed)
            left = self.left()
            values = self.amounts(left, list(SHARES)[list(SHARES).index(piece) :])
            expected = {name: round(value, 1) for name, value in self.seconds(values).items()}
            self.record["settled"][piece] = {
                "left": round(left, 1),
                "expected_seconds": expected,
                **self.record["speed"],
            }
            self.keep(values)
            own = [f"{name} {value}" for name, value in values.items() if belongs(name, piece)]
            minutes = f"{max(0.0, left) / 60:.1f} of {self.asked.minutes:g} minutes"
            log.info(f"budget: {minutes} left for {piece}: {', '.join(own) or 'as configured'}")
        return self.run()

    def settling(self, folder: Path) -> Settle | None:
        """Return what `prepare` calls before it makes an asset in a folder; None where no number is open."""
        return (lambda piece, step: self.settle(piece, step).assets(folder)) if self.record else None

    def plan(self) -> None:
        """Measure, validate and choose all numbers, those of the pieces for now."""
        config, device = self.experiment.config, self.experiment.device
        speed = measure_speed(config, self.sizes, device)
        self.record = {"minutes": self.asked.minutes, "spent": 0.0, "speed": vars(speed), "settled": {}, "settings": {}}
        training = replace(config.reference.training, precision=speed.precision)
        images = VALIDATION_SHARE * 60 * self.asked.minutes / speed.classifier
        tried = replace(config, reference=replace(config.reference, training=training))
        chosen = augmentation(self.experiment.splits.train, tried, images, device)
        self.record["validation"] = vars(chosen)
        settings: Values = {"generator.flip": chosen.flips, "generator.threads": speed.threads}
        for part in TRAININGS:
            padding = attrgetter(part)(config).training.crop_padding if chosen.crops else 0
            settings[f"{part}.training.precision"] = speed.precision
            settings[f"{part}.training.crop_padding"] = padding
            settings[f"{part}.training.flip"] = chosen.flips
        self.choose(settings)
        values = self.amounts(self.left(), SHARES)
        if values.get("generator.steps", ENOUGH_STEPS) < ENOUGH_STEPS and not config.generator.autoencoder:
            smaller = {"generator.blocks": 3, "generator.heads": 3}
            smaller["generator.patch_size"] = patch_for(self.sizes.shape[1], FEW_PATCHES)
            self.choose(smaller)
            names = ("generator", "unguided", "guided")
            self.record["speed"] = vars(measure_again(speed, names, self.experiment.config, self.sizes, device))
            values = self.amounts(self.left(), SHARES)
        spent = 60 * self.asked.minutes - self.left()
        self.keep(values)
        tell(self.run().config, chosen, self.speed, sum(self.seconds({}).values()) + spent, self.asked)

    @property
    def methods(self) -> Sequence[str]:
        return [self.run().config.method] if self.given is None else self.given

    @property
    def speed(self) -> Speed:
        return Speed(**self.record["speed"])

    def left(self) -> float:
        """Return the seconds that are left for the pieces."""
        return 60 * self.asked.minutes - FINISHING - (monotonic() - self.start)

    def seconds(self, values: Values) -> dict[str, float]:
        """Return the seconds of each piece with these values of fields."""
        config = with_values(self.experiment.config, self.free(values))
        device = self.experiment.device
        return seconds_of_pieces(config, self.methods, self.runs, self.sizes, self.speed, device)

    def amounts(self, left: float, due: Iterable[str]) -> Values:
        """Choose the amounts of work of the pieces in `due`."""
        return self.free(amounts_for(left, self.seconds, self.asked, list(due)))

    def free(self, values: Values) -> Values:
        """Return the values of the fields that the user has not set."""
        asked, plain = self.asked, self.plain
        return {k: v for k, v in values.items() if attrgetter(k)(asked) == attrgetter(k)(plain)}

    def choose(self, values: Values) -> None:
        """Put values into the settings."""
        self.record["settings"] |= self.free(values)
        config = with_values(self.experiment.config, self.free(self.record["settings"]))
        self.experiment = replace(self.experiment, config=config)

    def keep(self, values: Values) -> None:
        """Put values into the settings and into the files of the output directory."""
        self.choose(values)
        self.record["spent"] = round(monotonic() - self.start, 1)
        if self.root is not None:
            write_json(self.root / FILE, self.record)
        self.renew()

    def renew(self) -> None:
        """Repeat the settings in the files that were written before they were final."""
        now = to_dict(self.run().config)
        for path in (self.root / name for name in WRITTEN if self.root and self.record):
            if path.exists():
                there = read_json(path)
                for field in self.free(self.record["settings"]):
                    section, key = section_of(there, field), field.rpartition(".")[2]
                    if key in section:
                        section[key] = section_of(now, field)[key]
                write_json(path, there)


def belongs(field: str, piece: str) -> bool:
    """Return whether a field is settled with a piece."""
    section = field.partition(".")[0]
    return section == piece or (section, piece) == ("learner", "stages")


def automatic(config: Config, splits: Splits) -> Config:
    """Return the settings before a budget: a field that differs from them was set by the user."""
    train, names = splits.train, splits.train.class_names
    smallest = int(train.labels.bincount(minlength=len(names)).min())
    found = Survey(config.dataset, len(train), len(splits.test), names, smallest)
    return settings_for(found, computes_in_bfloat16())


def tell(config: Config, chosen: Augmentation, speed: Speed, seconds: float, asked: Config) -> None:
    """Say what the budget buys, before the work begins."""
    own, training = config.generator, config.reference.training
    sampled = method_named(config.method).needs_generator
    size = f"{own.blocks} blocks of width {own.heads * own.head_width}, patch {own.patch_size}"
    step = f"about {own.steps} steps of {1000 * speed.generator:.0f} ms"
    generator = f"generator {size}, {step}; " if sampled else ""
    log.info(
        f"budget {asked.minutes:g} minutes, {seconds / 60:.1f} expected: {generator}classifiers in {speed.precision},"
        f" {'random' if chosen.crops else 'no'} crops, {'' if chosen.flips else 'no '}flips (a short validation of the"
        f" reference reached {100 * chosen.accuracy:.0f} %); reference {training.epochs} epochs, learners"
        f" {config.learner.training.epochs}; {config.evaluation.seeds} evaluations. Each is an option. The numbers are"
        " settled as the work goes on"
    )
    if seconds > 1.2 * 60 * asked.minutes:
        log.info("warning: the least amounts of work take longer than these minutes on this machine as it is now")
    if sampled and chosen.accuracy < RECOGNISED_FROM:
        log.info(
            "warning: these images are hard: in this budget a new generator is not expected to show their classes"
            " (benchmarks/budget.md). --method auto chooses real images and needs none; or name a trained"
            " --generator.source, or give more --minutes"
        )
