"""`lgd bench` and `lgd plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

from lgd.config import Config
from lgd.errors import UserError
from lgd.progress import log

from .options import Fields
from .parsing import parse, preset_first


@dataclass(frozen=True)
class BenchOptions:
    """Measure what guided sampling costs on this machine: with random networks, or those of a run."""

    denoiser: Literal["tiny", "small", "base", "xl"] = "small"
    """DiT of 11, 33, 130 or 675 M parameters"""
    vae: Literal["small", "sd"] = "small"
    """AutoencoderKL of 4 channels: a small one, or Stable Diffusion's"""
    image_size: int = 64
    """pixels of a side, a multiple of 16"""
    run: Path | None = None
    """a finished run, whose generator, reference and last learners to take instead"""
    decoder: str = ""
    """with --run: folder of a small decoder for guidance"""
    classes: int = 8
    """drawn together, one slot of each"""
    candidates: int = 3
    steps: int = 20
    rounds: int = 5
    """turns that every variant has; medians are reported"""
    every: int = 2
    """guide every so many-th step, in the variants that say so"""
    lineage_slots: int = 1
    """slots that the lineage's loop draws"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of denoiser and decoders, with random networks"""
    threads: int = 0
    """on the CPU; 0: torch's own number"""
    clock: Literal["wall", "cpu"] = "wall"
    """cpu: processor time, for one thread on a busy machine"""
    device: str = "auto"
    quick: bool = False
    """small and few: a minute, for a first look"""
    json: Path | None = None
    """also write everything here"""
    quiet: bool = False


@dataclass(frozen=True)
class PlanOptions:
    """What a run will take in time and memory, before it starts."""

    classes: int = 0
    """of a set that is not here"""
    images: int = 0
    """training images of a set that is not here"""
    test_images: int = 0
    rates: Path | None = None
    """result of lgd bench --json, also of another machine; without it products of matrices are timed here"""
    tflops: float = 0.0
    """peak in bfloat16 of a device that is not here; that in float32 is taken to be a quarter"""
    share: float = 0.4
    """of the peak that is reached, where operations are counted"""
    count: bool = False
    """count operations only, instead of trying what is small enough"""
    json: Path | None = None
    """also write the result here"""
    quiet: bool = False
    config: Fields = field(default_factory=Config)


def bench(arguments: Sequence[str]) -> int:
    options = parse(BenchOptions, "lgd bench", arguments)
    check_bench(options)
    import torch

    from lgd.execution.hardware import check_device, computes_in_bfloat16, cpu_threads, resolve_device
    from lgd.profiling.bench import Settings, bench, table
    from lgd.profiling.networks import random_networks, run_networks
    from lgd.storage.files import write_json

    check_device(options.device)
    device = resolve_device(options.device)
    q = options.quick
    classes, steps, rounds = (2, 10, 3) if q else (options.classes, options.steps, options.rounds)
    if options.run:
        networks = run_networks(options.run, options.candidates, classes, device, options.decoder)
    else:
        precision: Any = options.precision
        if precision == "auto":
            precision = "bfloat16" if computes_in_bfloat16(device) else "float32"
        size = 32 if q else options.image_size
        kind = "tiny" if q else options.denoiser
        networks = random_networks(kind, options.vae, size, options.candidates, classes, device, precision)
    settings = Settings(
        steps,
        rounds,
        options.every,
        options.lineage_slots,
        perf_counter if options.clock == "wall" else process_time,
        matrix=512 if q else 2048,
    )
    with cpu_threads(options.threads or torch.get_num_threads()):
        result = bench(networks, settings, log.info)
    if options.json:
        write_json(options.json, result)
    print(table(result), end="")
    return 0


def check_bench(options: BenchOptions) -> None:
    """Errors: UserError for a number that makes no sense."""
    for name in ("classes", "candidates", "rounds", "every", "lineage_slots"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.steps < 4:
        raise UserError(f"--steps must be at least 4, not {options.steps}")
    if options.image_size % 16 or options.image_size < 16:
        raise UserError(f"--image-size must be a multiple of 16, not {options.image_size}")
    if options.clock == "cpu" and (options.threads != 1 or options.device != "cpu"):
        raise UserError("--clock cpu needs --threads 1 and --device cpu")
    if options.decoder and not options.run:
        raise UserError("--decoder belongs to --run; random networks have a small decoder of their own")


def plan(arguments: Sequence[str]) -> int:
    preset, config, rest = preset_first("plan", arguments)
    options = parse(PlanOptions, f"lgd plan {preset}", rest, PlanOptions(config=config))
    from lgd.config import check
    from lgd.distillation.methods import with_method
    from lgd.execution.hardware import check_device
    from lgd.profiling.plan import plan, table
    from lgd.profiling.sizes import sizes_of
    from lgd.profiling.throughput import rates_of
    from lgd.storage.files import write_json

    if not 0 < options.share <= 1:
        raise UserError(f"--share must lie between 0 and 1, not {options.share}")
    config = check(options.config)
    config = with_method(config, config.method)
    check_device(config.compute.device)
    sizes = sizes_of(config, options.classes, options.images, options.test_images)
    rates = rates_of(options.rates, options.tflops, options.share, config.compute.device)
    fake = options.count or options.tflops > 0 or not sizes.loaded
    found = plan(config, sizes, rates, fake)
    if options.json:
        phases = [{**vars(p), "wall": p.wall} for p in found.phases]
        write_json(options.json, {"phases": phases, "seconds": found.seconds, "peak": found.peak})
    print(table(found, sizes, rates), end="")
    return 0
