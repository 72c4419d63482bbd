"""The commands `lgd bench` and `lgd plan`."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

from lgd.errors import UserError

from .options import Quiet, SetOptions


@dataclass(frozen=True)
class BenchOptions(Quiet):
    """Measure the cost of guided sampling on this machine, with random networks or those of a run."""

    denoiser: Literal["tiny", "small", "base", "xl"] = "small"
    """Size of the random DiT: 11, 33, 130 or 675 M parameters."""
    vae: Literal["small", "sd"] = "small"
    """Autoencoder with random weights: a small AutoencoderKL of 4 channels, or Stable Diffusion's."""
    image_size: int = 64
    """Side of the images in pixels, a multiple of 16."""
    run: Path | None = None
    """Finished run whose generator, reference and last learners are used instead of random networks."""
    decoder: str = ""
    """Folder of a small decoder for guidance, with --run."""
    classes: int = 8
    """Number of classes sampled together, one image of each."""
    candidates: int = 3
    """Number of candidates per image."""
    steps: int = 20
    """Number of denoising steps, at least 4."""
    rounds: int = 5
    """Number of times that each variant is measured; medians are reported."""
    every: int = 2
    """Guide every N-th step, in the variants that say so."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the random denoiser and decoders; auto: bfloat16 where the hardware has instructions for it."""
    threads: int = 0
    """Number of CPU threads. 0: torch's default."""
    clock: Literal["wall", "cpu"] = "wall"
    """Clock: wall time, or cpu (processor time, for one thread on a busy machine)."""
    device: str = "auto"
    """Device: cpu, cuda, cuda:N, or auto (CUDA where available, else the CPU)."""
    quick: bool = False
    """Measure small networks and few images, in about a minute."""
    json: Path | None = None
    """File to which the result is written, too."""


@dataclass(frozen=True)
class PlanOptions(SetOptions):
    """Estimate the time and memory of a run before it starts."""

    classes: int = 0
    """Number of classes of an image set that is not on this machine."""
    images: int = 0
    """Number of training images of an image set that is not on this machine."""
    test_images: int = 0
    """Number of test images of an image set that is not on this machine. 0: a tenth of the training images."""
    rates: Path | None = None
    """Result of `lgd bench --json`, of this or another machine. Default: time matrix products here."""
    tflops: float = 0.0
    """Peak in bfloat16, in TFLOP/s, of a device that is not on this machine; float32 is taken to reach a quarter."""
    share: float = 0.4
    """Share of the peak that is reached, in (0, 1], where operations are counted."""
    count: bool = False
    """Count operations only, instead of also timing what is small enough."""
    json: Path | None = None
    """File to which the result is written, too."""


def bench(options: BenchOptions) -> None:
    check_bench(options)
    import torch

    from lgd.execution.hardware import check_device, computes_in_bfloat16, cpu_threads, resolve_device
    from lgd.profiling.bench import Settings, bench, table
    from lgd.profiling.networks import RandomNetworks, random_networks, run_networks
    from lgd.storage.files import write_json

    check_device(options.device)
    device = resolve_device(options.device)
    quick = options.quick
    classes, steps, rounds = (2, 10, 3) if quick else (options.classes, options.steps, options.rounds)
    if options.run:
        networks = run_networks(options.run, options.candidates, classes, device, options.decoder)
    else:
        precision: Any = options.precision
        if precision == "auto":
            precision = "bfloat16" if computes_in_bfloat16(device) else "float32"
        size = 32 if quick else options.image_size
        denoiser = "tiny" if quick else options.denoiser
        sizes = RandomNetworks(denoiser, options.vae, size, options.candidates, classes, precision)
        networks = random_networks(sizes, device)
    clock = perf_counter if options.clock == "wall" else process_time
    settings = Settings(steps, rounds, options.every, clock, matrix=512 if quick else 2048)
    with cpu_threads(options.threads or torch.get_num_threads()):
        result = bench(networks, settings)
    if options.json:
        write_json(options.json, result)
    print(table(result), end="")


def check_bench(options: BenchOptions) -> None:
    """Check the options of `lgd bench`. Errors: UserError."""
    for name in ("classes", "candidates", "rounds", "every"):
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


def plan(options: PlanOptions) -> None:
    from lgd.config import check
    from lgd.distillation.methods import with_method
    from lgd.execution.hardware import check_device
    from lgd.experiments.auto import check_budget
    from lgd.experiments.auto_method import SYNTHETIC, settled
    from lgd.experiments.budget import Budget
    from lgd.experiments.resolve import resolve
    from lgd.profiling.plan import plan, rates_of, table
    from lgd.profiling.sizes import sizes_of
    from lgd.storage.files import write_json

    if not 0 < options.share <= 1:
        raise UserError(f"--share must lie between 0 and 1, not {options.share}")
    config = check(options.config)
    check_device(config.compute.device)
    check_budget(config)
    config = settled(config)
    if config.minutes and not (options.count or options.tflops or options.classes or options.images):
        config = Budget(resolve(config), None).experiment.config
    config = with_method(config, SYNTHETIC[0] if config.method == "auto" else config.method)
    sizes = sizes_of(config, options.classes, options.images, options.test_images)
    rates = rates_of(options.rates, options.tflops, options.share, config.compute.device)
    fake = options.count or options.tflops > 0 or not sizes.loaded
    found = plan(config, sizes, rates, fake)
    if options.json:
        phases = [{**vars(p), "wall": p.wall} for p in found.phases]
        write_json(options.json, {"phases": phases, "seconds": found.seconds, "peak": found.peak})
    print(table(found, sizes, rates), end="")
