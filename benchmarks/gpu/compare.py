"""Compare methods on one GPU, many sub-runs at once, and stop in time.

    benchmarks/gpu/run.sh compare CONFIG --seconds 600 --methods random dit lgd --runs 3 [--set FIELD=VALUE ...]
        [--variant NAME METHOD,METHOD FIELD=VALUE ...]

`lgd compare` makes one sub-run after another, which leaves a large GPU idle. This makes the same files in the same
directory ($OUT, default: benchmarks/gpu/out), as many sub-runs at once as --processes says, and ends all after so many
seconds; `lgd compare` on that directory then makes the table, or the rest. Networks that sub-runs share come first;
without methods they are all. A sub-run that samples waits for the folder generator.source, so that another process may
still be training it. --variant: sub-runs of some methods with other settings, in $OUT/NAME, on the same networks.
Methods come in the order given, all of one seed before the next seed, accuracies before everything else that is
measured.
"""

from __future__ import annotations

import argparse
import ast
import json
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from processes import Task, log_of, perform

from lgd.config import Config, load_config, to_dict, with_values
from lgd.data.cache import key_of
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.methods import INDEPENDENT, METHODS, methods_used, real_image_units, with_method
from lgd.distillation.stages import grow
from lgd.evaluation.cells import accuracy_cell, evaluation_units
from lgd.execution.local import Local
from lgd.execution.units import unfinished
from lgd.experiments.distill import complete
from lgd.experiments.prepare import MADE_FROM, check_images, prepare_asset, prepare_classifier, record_parts
from lgd.experiments.resolve import Experiment, resolve
from lgd.experiments.run_directory import claim, timed

ACCURACIES = "accuracies.done"
"""file in a sub-run's directory that is written when its accuracies are there"""


Variant = tuple[str, list[str], Config]
"""name, methods, configuration"""


def network(config: Config, assets: Path, name: str) -> None:
    """Train the reference or the judge."""
    base = resolve(config, [])
    own = base.assets(assets)
    prepare_classifier(own, name, Local(1, assets))
    with timed(assets, "generator"):  # `complete` asks for its seconds; another command trained it
        pass


def own_asset(config: Config, assets: Path, name: str) -> None:
    """Make an asset that a method has for itself."""
    base = resolve(config, [])
    known = [INDEPENDENT, *(asset for method in METHODS.values() for asset in method.assets)]
    asset = next(asset for asset in known if asset.name == name)
    prepare_asset(asset, base.assets(assets), base.splits.train)


def real_images(parts: list[Variant], assets: Path, done: Path) -> None:
    """Measure and order the real images as the methods will ask for them."""
    for _, methods, config in parts:
        base = resolve(config, methods)
        for method in methods:
            growth = base.with_method(method, base.config.seed).growth(Run(assets), base.assets(assets))
            Local(1, assets).run(unfinished(real_image_units(growth), assets), f"{method}: real images")
    done.touch()


def sub_run(config: Config, assets: Path, method: str, seed: int, root: Path, measured: bool) -> None:
    """Grow one set and measure its accuracies; `measured`: everything else, too."""
    base = resolve(config, [method])
    single, run, shared = base.with_method(method, seed), Run(root), base.assets(assets)
    root.mkdir(parents=True, exist_ok=True)
    claim(run.config, single.record())
    record_parts(run, shared, methods_used(single.config))
    if measured:
        complete(single, run, shared, Local(1, root))
        return
    growth = single.growth(run, shared)
    with timed(root, "stages"):
        list(grow(growth, Local(1, root)))
    evaluation = single.evaluation(shared)
    made = run.last_increment(single.config.stages.increments)
    evaluation = replace(evaluation, stages=replace(evaluation.stages, increments=made))
    Local(1, root).run([unit for unit in evaluation_units(evaluation, run) if unit.function is accuracy_cell], method)
    (root / ACCURACIES).touch()


def tasks_of(base: Experiment, variants: list[Variant], runs: int, out: Path) -> list[Task]:
    """Return the tasks in the order in which they should start."""
    config, own = base.config, base.assets(out)
    used = {
        (variant, name): methods_used(with_method(changed, name))
        for variant, names, changed in variants
        for name in names
    }
    networks = [  # one after another: each adds its seconds to one file
        Task("reference", network, (config, out, "reference"), own.reference_file),
        Task("judge", network, (config, out, "judge"), own.judge_file, (own.reference_file,)),
    ]
    extra = {
        asset.name: Task(
            asset.name, own_asset, (config, out, asset.name), out / asset.name / asset.done, (own.judge_file,)
        )
        for parts in used.values()
        for part in parts
        for asset in part.assets
    }
    sampled = {name for (_, name), parts in used.items() if any(part.needs_generator for part in parts)}
    orders: list[Task] = []  # one after another: they share files
    for kind in ("real", "sampled"):
        parts = [
            (name, [m for m in names if (m in sampled) == (kind == "sampled")], changed)
            for name, names, changed in variants
        ]
        if not any(names for _, names, _ in parts):
            continue
        needs = [order.done for order in orders] or [own.reference_file]
        if kind == "sampled":
            needs += [Path(changed.generator.source) / "classes.json" for _, names, changed in parts if names]
        done = out / f"{kind}-{key_of(parts)}.done"
        orders.append(Task(f"{kind} images", real_images, (parts, out, done), done, tuple(needs)))
    accuracies, rest = [], []
    for seed in range(config.seed, config.seed + runs):
        for variant, names, changed in variants:
            for name in names:
                root = out / variant / f"{name}-seed{seed}"
                ordered = orders[-1 if name in sampled else 0].done
                first = (ordered, *(extra[a.name].done for p in used[variant, name] for a in p.assets))
                told, arguments = f"{variant} {root.name}".strip(), (changed, out, name, seed, root)
                accuracies.append(Task(f"{told} accuracy", sub_run, (*arguments, False), root / ACCURACIES, first))
                metrics = root / "metrics.json"
                rest.append(Task(told, sub_run, (*arguments, True), metrics, (root / ACCURACIES, own.judge_file)))
    return [*networks, *extra.values(), *orders, *accuracies, *rest]


def values_of(words: list[str]) -> dict[str, Any]:
    """Return the values of words FIELD=VALUE; a VALUE that is no Python literal is a text."""

    def value(text: str) -> Any:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    return {field: value(text) for field, text in (word.split("=", 1) for word in words)}


def main(arguments: list[str] | None = None) -> int:
    begun = monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, required=True, help="of the whole command")
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--variant", nargs="+", action="append", default=[], metavar=("NAME", "METHOD"))
    options = parser.parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    config = with_values(load_config(options.config), values_of(options.set))
    if any(len(words) < 2 for words in options.variant):
        parser.error("--variant needs a name and methods: --variant NAME METHOD,METHOD FIELD=VALUE ...")
    variants = [("", options.methods, config)] if options.methods else []
    variants += [
        (name, names.split(","), with_values(config, values_of(rest))) for name, names, *rest in options.variant
    ]
    base = resolve(config, [])  # decodes the images, once for all processes
    claim(out / "config.json", {**to_dict(config), "method": "lgd"})
    claim(out / "assets.json", {name: to_dict(getattr(base.assets(out), name)) for name in MADE_FROM})
    check_images(out, cached_splits(config.dataset))
    print(f"images read after {monotonic() - begun:.0f} s", flush=True)
    tasks = tasks_of(base, variants, options.runs, out)
    ended = perform(tasks, options.processes, lambda: monotonic() - begun > options.seconds, out / "logs")
    (out / "tasks.json").write_text(json.dumps(ended, indent=1) + "\n")
    print(json.dumps(ended, indent=1))
    for name in (name for name, state in ended.items() if state.startswith("FAILED")):
        print(f"--- {name}\n" + log_of(out / "logs", name).read_text()[-1500:])
    return 1 if any(state.startswith("FAILED") for state in ended.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
