"""Compare methods on one GPU, many sub-runs at once, and stop in time.

    benchmarks/gpu/run.sh compare CONFIG --seconds 600 --methods random dit lgd --runs 3 [--set FIELD=VALUE ...]
        [--variant NAME FIELD=VALUE ...]

`lgd compare` makes one sub-run after another, which leaves a large GPU idle. This makes the same files in the same
directory ($OUT, default: benchmarks/gpu/out), each sub-run in a process of its own, and ends all of them after so many
seconds; `lgd compare` on that directory then makes the table, or the rest. Networks that sub-runs share come first. A
sub-run that samples waits for the folder generator.source, so that another process may still be training it.
--variant: sub-runs with other settings, in $OUT/NAME, on the same networks. Methods come in the order given, all of one
seed before the next seed.
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from time import monotonic
from typing import Any

from processes import Task, log_of, perform

from lgd.config import Config, load_config, to_dict, with_values
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, methods_used, real_image_units
from lgd.execution.local import Local
from lgd.execution.units import unfinished
from lgd.experiments.distill import complete
from lgd.experiments.prepare import MADE_FROM, check_images, prepare_asset, prepare_classifier, record_parts
from lgd.experiments.resolve import Experiment, resolve
from lgd.experiments.run_directory import claim, timed


def network(config: Config, assets: Path, name: str) -> None:
    """Train the reference or the judge."""
    base = resolve(config, [])
    own = base.assets(assets)
    prepare_classifier(own, name, Local(1, assets))


def own_asset(config: Config, assets: Path, name: str) -> None:
    """Make an asset that a method has for itself."""
    base = resolve(config, [])
    asset = next(asset for method in METHODS.values() for asset in method.assets if asset.name == name)
    prepare_asset(asset, base.assets(assets), base.splits.train)


def real_images(config: Config, assets: Path, methods: list[str], done: Path) -> None:
    """Measure and order the real images as the methods will ask for them."""
    base = resolve(config, methods)
    with timed(assets, "generator"):  # `complete` asks for its seconds; another command trained it
        pass
    for method in methods:
        growth = base.with_method(method, base.config.seed).growth(Run(assets), base.assets(assets))
        Local(1, assets).run(unfinished(real_image_units(growth), assets), f"{method}: real images")
    done.touch()


def sub_run(config: Config, assets: Path, method: str, seed: int, root: Path) -> None:
    """Grow and evaluate one set."""
    base = resolve(config, [method])
    single, run, shared = base.with_method(method, seed), Run(root), base.assets(assets)
    root.mkdir(parents=True, exist_ok=True)
    claim(run.config, single.record())
    record_parts(run, shared, methods_used(single.config))
    complete(single, run, shared, Local(1, root))


def tasks_of(base: Experiment, variants: dict[str, Config], methods: list[str], runs: int, out: Path) -> list[Task]:
    """Return the tasks in the order in which they should start."""
    config, own = base.config, base.assets(out)
    used = {name: methods_used(base.with_method(name, 0).config) for name in methods}
    generator = (Path(config.generator.source) / "classes.json",)
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
    sampled = {name for name, parts in used.items() if any(part.needs_generator for part in parts)}
    orders: list[Task] = []
    for variant, changed in variants.items():
        for kind, chosen in (("real", [n for n in methods if n not in sampled]), ("sampled", sorted(sampled))):
            done = out / f"{variant or 'orders'}-{kind}.done"
            first = orders[-1].done if orders else own.reference_file  # one after another: they share files
            needs = (first, own.judge_file, *(generator if kind == "sampled" else ()))
            orders.append(Task(done.stem, real_images, (changed, out, chosen, done), done, needs))
    found = []
    for seed in range(config.seed, config.seed + runs):
        for name in methods:
            for variant, changed in variants.items():
                root = out / variant / f"{name}-seed{seed}"
                ordered = out / f"{variant or 'orders'}-{'sampled' if name in sampled else 'real'}.done"
                needs = (own.judge_file, ordered, *(extra[a.name].done for p in used[name] for a in p.assets))
                arguments = (changed, out, name, seed, root)
                found.append(Task(f"{variant} {root.name}".strip(), sub_run, arguments, root / "metrics.json", needs))
    return [*networks, *extra.values(), *orders, *found]


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
    parser.add_argument("--variant", nargs="+", action="append", default=[], metavar=("NAME", "FIELD=VALUE"))
    options = parser.parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    config = with_values(load_config(options.config), values_of(options.set))
    variants = {name: with_values(config, values_of(rest)) for name, *rest in options.variant} or {"": config}
    base = resolve(config, [])  # decodes the images, once for all processes
    claim(out / "config.json", {**to_dict(config), "method": "lgd"})
    claim(out / "assets.json", {name: to_dict(getattr(base.assets(out), name)) for name in MADE_FROM})
    check_images(out, cached_splits(config.dataset))
    print(f"images read after {monotonic() - begun:.0f} s", flush=True)
    tasks = tasks_of(base, variants, options.methods, options.runs, out)
    ended = perform(tasks, options.processes, lambda: monotonic() - begun > options.seconds, out / "logs")
    (out / "tasks.json").write_text(json.dumps(ended, indent=1) + "\n")
    print(json.dumps(ended, indent=1))
    for name in (name for name, state in ended.items() if state.startswith("FAILED")):
        print(f"--- {name}\n" + log_of(out / "logs", name).read_text()[-1500:])
    return 1 if any(state.startswith("FAILED") for state in ended.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
