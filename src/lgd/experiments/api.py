"""The functions of `lgd`: what a notebook calls, on images in memory as well as on names and folders."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lgd.analysis.context import AnalysisConfig
from lgd.data.imageset import LabelledImages
from lgd.data.memory import image_set
from lgd.distillation.layout import Run, runs_below
from lgd.distillation.store import load as load_run
from lgd.errors import UserError, in_one_line
from lgd.export.load import load_export
from lgd.storage.object_store import fetched, is_remote

from .analyze import analyze as analyze_sets
from .compare import compare_methods
from .distill import distill as distill_config
from .inputs import configuration, in_memory


def distill(
    images: Any,
    out: str | Path,
    overwrite: bool = False,
    *,
    labels: Any = None,
    test: Any = None,
    **settings: Any,
) -> Run:
    """Make and evaluate a small synthetic set in the directory `out`; the same call continues an interrupted run.

    images: images in memory: arrays (N, H, W, C) or a list of PIL images with `labels`, a torch Dataset, a split of
    `datasets` or an `lgd.ImageSet`; or a source such as "folder:PHOTOS", a preset's name, a TOML file, a `Config`.
    test: test images in memory, such as (images, labels); None: a quarter is held out, or the source has its own.
    settings: `per_class` (images per class), `increments`, `seed`, `method`, and any field of the configuration with
    `__` for the dot: `guidance__omega=0.5`, `learner__architecture=my_network`. Errors: UserError.

        lgd.distill(images, "runs/mine", labels=labels, per_class=10, seed=3)
    """
    return distill_config(configuration(images, labels, test, settings), out, overwrite)


def compare(
    images: Any,
    methods: Sequence[str],
    out: str | Path,
    runs: int = 3,
    *,
    test: Any = None,
    overwrite: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Run several methods on the same generator, reference and seeds; returns the content of comparison.json.

    images, test, settings and errors: as `distill`, arrays as the pair (images, labels). Accuracies are in percent.
    """
    names = [methods] if isinstance(methods, str) else methods
    return compare_methods(configuration(images, None, test, settings), names, out, runs, overwrite)[0]


def analyze(
    sets: str | Path | Sequence[str | Path], out: str | Path, test: Any = None, overwrite: bool = False, **settings: Any
) -> dict[str, Any]:
    """Measure runs or folders of <class>/*.png: redundancy, learning dynamics, validity, ...; returns analysis.json.

    sets: one path or several. test: the real images of plain folders: a preset, a source, or images in memory; runs
    know their own. settings: `seeds`, `epochs`, `increments` and `split_seed` of the analysis. Errors: UserError.
    """
    paths = [Path(path) for path in ([sets] if isinstance(sets, str | Path) else sets)]
    name = test if test is None or isinstance(test, str) else in_memory(image_set(test), None)
    known = AnalysisConfig.__dataclass_fields__
    for field in settings:
        if field not in known:
            raise UserError(f"analyze: unknown setting {field!r}; known: {', '.join(known)}")
    return analyze_sets(paths, Path(out), name, AnalysisConfig(**settings), 1, overwrite)


def load(source: str | Path, transform: Callable[[Tensor], Any] | None = None) -> LabelledImages:
    """Read a set as a torch dataset: a run, an export of any format, or such an export on the Hub.

    source: directory, URL or OWNER/NAME; or a file of torch with images and labels. transform: applied to each float
    image in [0, 1], (C, H, W). The set has `classes`, `class_to_idx` and `targets` as torchvision's; a run's also has
    `metrics` and `rows`. Errors: UserError.
    """
    if not is_remote(source) and not Path(source).exists() and str(source).count("/") == 1:
        return load_export(downloaded(str(source)), transform)
    with fetched(source) as root:
        if runs_below(root) or ((root / "classes.json").is_file() and (root / "config.json").is_file()):
            return load_run(root, transform)
        if not root.exists():
            raise UserError(f"{source}: no such directory; lgd.read_images reads sources of real images")
        return load_export(root, transform)


def downloaded(name: str) -> Path:
    """Download a dataset of the Hub and return its folder. Errors: UserError."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, repo_type="dataset"))
    except Exception as error:  # of many kinds, from three libraries
        reason = in_one_line(error)
        raise UserError(f"{name}: no such directory, and not to be had from the Hub: {reason:.200}") from None


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path,
    analysis: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML page about runs or compare directories to `out`, and return its path.

    analysis: a directory of `analyze`, whose figures are included. Errors: UserError.
    """
    from lgd.report.html import write_report

    paths = [Path(path) for path in ([runs] if isinstance(runs, str | Path) else runs)]
    write_report(paths, Path(out), None if analysis is None else Path(analysis), overwrite)
    return Path(out)
