"""The command line: exit codes, errors of one line, and no file lost."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from tests.kills import alive, killed_when
from torch import Tensor

from lgd import __version__
from lgd.cli.main import entry_point, main
from lgd.config import Config, to_dict, with_values
from lgd.distillation.methods import sampling
from lgd.distillation.methods.candidates import CandidateSpec, SamplingContext
from lgd.progress import StandardError
from lgd.storage.files import sha256


def toml(config: Config, path: Path) -> Path:
    """Write the configuration as a TOML file."""
    lines: list[str] = []

    def section(values: dict[str, object], name: str) -> None:
        if name:
            lines.append(f"[{name}]")
        lines.extend(f"{k} = {json.dumps(v)}" for k, v in values.items() if not isinstance(v, dict | None))
        for k, v in values.items():
            if isinstance(v, dict):
                section(v, f"{name}.{k}" if name else k)

    section(to_dict(config), "")
    path.write_text("\n".join(lines))
    return path


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "distill" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lgd {__version__}\n"


def test_help_of_a_command_lists_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["distill", "--help-all"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--out",
        "--seed",
        "--guidance.omega",
        "--stages.candidates",
        "--epochs-factor",
        "--generator.steps",
    ):
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["destill", "digits"], "unknown command 'destill'; did you mean 'distill'?"),
        (["distill"], "distill needs a preset, a .toml file or folder:PATH first"),
        (["distill", "digts", "--out", "OUT"], "unknown preset 'digts'; did you mean 'digits'?"),
        (["distill", "none.toml", "--out", "OUT"], "none.toml: no such file"),
        (["distill", "digits"], "--out"),
        (["distill", "digits", "--out", "OUT", "--guidance.strenght", "1"], "--guidance.strenght"),
        (["distill", "digits", "--out", "OUT", "--guidance.strength", "much"], "no type matching FLOAT|{auto}"),
        (["distill", "digits", "--out", "OUT", "--guidance.strength", "nan"], "guidance.strength"),
        (["distill", "digits", "--out", "OUT", "--guidance.strength", "-1"], "guidance.strength"),
        (["distill", "digits", "--out", "OUT", "--guidance.space", "image"], "'image'"),
        (["distill", "digits", "--out", "OUT", "--method", "lgdd"], "unknown method 'lgdd'; did you mean 'lgd'?"),
        (["distill", "digits", "--out", "OUT", "--stages.increments", "0"], "stages.increments"),
        (["distill", "digits", "--out", "OUT", "--stages.images-per-increment", "0"], "stages.images_per_increment"),
        (["distill", "digits", "--out", "OUT", "--stages.candidates", "0"], "stages.candidates"),
        (["distill", "digits", "--out", "OUT", "--guidance.window", "10", "50"], "guidance.window"),
        (["distill", "digits", "--out", "OUT", "--dataset.source", "digit"], "dataset.source: unknown 'digit'"),
        (["distill", "digits", "--out", "OUT", "--reference.architecture", "x"], "unknown architecture 'x'"),
        (["distill", "digits", "--out", "OUT", "--reference.depth", "6"], "depth 6 is too deep"),
        (["distill", "digits", "--out", "OUT", "--compute.device", "cuda:77"], "compute.device"),
        (["distill", "digits", "--out", "OUT", "--compute.device", "quantum"], "compute.device"),
        (["distill", "digits", "--out", "OUT", "--generator.patch-size", "3"], "patch_size 3 does not fit"),
        (["distill", "digits", "--out", "FILE"], "is a file"),
        (["distill", "digits", "--out", "FOREIGN"], "not made by lgd"),
        (["distill", "digits", "--out", "FOREIGN", "--overwrite"], "not made by lgd"),
        (["distill", "digits", "--out", "/proc/x"], "cannot write to /proc/x"),
        (["compare", "digits", "--methods", "dit", "magic", "--out", "OUT"], "unknown method 'magic'"),
        (["compare", "digits", "--methods", "dit", "dit", "--out", "OUT"], "none twice"),
        (["compare", "digits", "--methods", "dit", "--out", "OUT", "--runs", "0"], "--runs must be at least 1"),
        (["evaluate", "OUT", "--test", "digits"], "no such directory"),
        (["distill", "DIGITS", "--out", "OUT"], "unknown preset 'DIGITS'; did you mean 'digits'?"),
        (["distill", "digits", "--out", "OUT", "--per-class", "7"], "cannot be divided into 5 equal increments"),
        (["distill", "digits", "--out", "OUT", "--device", "mps"], "compute.device: 'mps' is not supported"),
        (["report", "FOREIGN", "--out", "OUT.pdf"], "OUT.pdf: the report is one HTML page; name it OUT.html"),
        (["evaluate", "FOREIGN"], "no run of lgd; name the test set with --test, for example --test digits"),
        (["evaluate", "FOREIGN", "--test", "digits", "--seeds", "0"], "--seeds must be at least 1"),
        (["evaluate", "FOREIGN", "--test", "digits"], "no PNG images of class '0'"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FILE").write_text("mine")
    (tmp_path / "FOREIGN").mkdir()
    (tmp_path / "FOREIGN" / "notes.txt").write_text("mine")
    places = {name: str(tmp_path / name) for name in ("OUT", "FILE", "FOREIGN")}
    assert main([places.get(word, word) for word in arguments]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.startswith("lgd: ")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert not (tmp_path / "OUT").exists()
    assert (tmp_path / "FILE").read_text() == "mine"
    assert (tmp_path / "FOREIGN" / "notes.txt").read_text() == "mine"


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): sha256(p) for p in sorted(root.glob("dataset/**/*")) if p.is_file()}


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "lgd"]
    assert subprocess.check_output([*command, "--version"], text=True) == f"lgd {__version__}\n"
    done = subprocess.run([*command, "destill"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lgd: unknown command 'destill'")


def wait_for(path: Path, process: multiprocessing.process.BaseProcess) -> None:
    """Wait until `path` exists; the process must not end before."""
    while not path.exists():
        assert process.is_alive()
        time.sleep(0.005)


def forked(*arguments: str | Path, errors: Path | None = None) -> multiprocessing.process.BaseProcess:
    """Run the command in a fork of this process, which can be killed and need not import torch again.

    errors: a file for its standard error and that of its workers.
    """

    def run() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a process of its own
        if errors:
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
            sys.stderr = io.TextIOWrapper(open(2, "wb", buffering=0, closefd=False), write_through=True)  # noqa: SIM115
        sys.argv = ["lgd", *map(str, arguments)]
        try:
            entry_point()
        except SystemExit as end:
            os._exit(int(end.code or 0))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def test_killed_at_several_moments_ends_with_the_same_bytes(tiny: Config, finished: Path, tmp_path: Path) -> None:
    """SIGKILL, again and again on one run directory; then the same command to the end."""
    preset, out = toml(tiny, tmp_path / "tiny.toml"), tmp_path / "run"
    command = ("distill", preset, "--out", out, "--quiet")
    moments = [
        "assets.json",
        "generator/transformer/config.json",
        "reference.safetensors",
        "increments/01/groups/0000.json",
    ]
    moments += [
        "increments/02/learners",
        "increments/02/groups/0000.json",
        "increments/02/done",
        "dataset",
        "evaluation",
    ]
    for moment in moments:
        assert killed_when((out / moment).exists, command), moment
    assert main([*map(str, command)]) == 0
    assert digests(out) == digests(finished)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_stops_cleanly_and_can_be_resumed(
    tiny: Config, finished: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C, and the signal with which a scheduler ends a job."""
    preset, out, errors = toml(tiny, tmp_path / "tiny.toml"), tmp_path / "run", tmp_path / "errors"
    inner = sampling.sample_candidates

    def slow(context: SamplingContext, specs: Sequence[CandidateSpec]) -> Tensor:
        time.sleep(10 if context.resources.increment == 2 else 0)  # so that the signal comes before the end
        return inner(context, specs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "sample_candidates", slow)
        process = forked("distill", preset, "--out", out, "--compute.workers", "2", errors=errors)
    wait_for(out / "increments/02/learners/0.safetensors", process)
    workers = workers_of(process)
    os.kill(process.pid or 0, number)
    process.join(60)
    assert process.exitcode == 130
    assert not any(map(alive, workers))
    assert errors.read_text().splitlines()[-1].startswith("lgd: interrupted")
    assert "Traceback" not in errors.read_text()
    assert main(["distill", str(preset), "--out", str(out), "--quiet"]) == 0
    assert digests(out) == digests(finished)


def test_a_message_reaches_the_terminal_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two pieces, the line that an interrupt ends with could follow the first of them."""

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            assert text.endswith("\n")
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", Terminal())
    StandardError().handle(logging.makeLogRecord({"msg": "increment 2"}))
    assert sys.stderr.getvalue() == "increment 2\n"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("forked_workers")
def test_workers_die_with_a_killed_parent(tiny: Config, tmp_path: Path) -> None:
    preset, out = toml(tiny, tmp_path / "tiny.toml"), tmp_path / "run"
    process = forked("distill", preset, "--out", out, "--compute.workers", "2", "--quiet")
    wait_for(out / "reference.safetensors", process)
    workers = workers_of(process)
    process.kill()
    process.join()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "worker processes outlive their parent"
        time.sleep(0.1)


def workers_of(process: multiprocessing.process.BaseProcess) -> list[int]:
    """Return the process numbers of the two workers of a command."""
    workers = [child.pid for child in psutil.Process(process.pid).children()]
    assert len(workers) >= 2
    return workers


def test_compare_prints_and_writes_its_table(tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = with_values(tiny, {"stages.increments": 2, "evaluation.seeds": 1})
    preset, out = toml(small, tmp_path / "small.toml"), tmp_path / "compare"
    command = ["compare", str(preset), "--methods", "random", "dit", "lgd", "--out", str(out), "--runs", "2", "--quiet"]
    assert main(command) == 0
    text = capsys.readouterr().out
    comparison = json.loads((out / "comparison.json").read_text())
    assert set(comparison["methods"]) == {"random", "dit", "lgd"}
    for method in comparison["methods"].values():
        assert list(method["accuracy"]) == ["2", "4"]
        assert {"mean", "std"} <= set(method["accuracy"]["4"])
    dit, ours = (comparison["methods"][name]["redundancy"] for name in ("dit", "lgd"))
    assert comparison["redundancy_reduction_vs_dit"] == pytest.approx(100 * (dit - ours) / dit)
    assert (out / "comparison.md").read_text().split("\n\n")[1] in text  # the first table, below its caption
    for name in ("redundancy.svg", "accuracy.svg"):
        assert (out / "figures" / name).exists()
    runs = [json.loads((out / f"{m}-seed{s}" / "metrics.json").read_text()) for m in ("lgd",) for s in (0, 1)]
    mean = sum(run["increments"][1]["accuracy"]["mean"] for run in runs) / 2
    assert comparison["methods"]["lgd"]["accuracy"]["4"]["mean"] == pytest.approx(mean)


def test_evaluate_takes_any_folder(
    finished: Path, tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset, result = toml(tiny, tmp_path / "tiny.toml"), tmp_path / "result.json"
    plain = tmp_path / "folder"
    shutil.copytree(finished / "dataset", plain)
    (plain / "metadata.csv").unlink()
    assert main(["evaluate", str(plain), "--test", str(preset), "--seeds", "2", "--json", str(result), "--quiet"]) == 0
    assert "over 2 seeds" in capsys.readouterr().out
    read = json.loads(result.read_text())
    assert read["images"] == 60
    own = json.loads((finished / "metrics.json").read_text())["increments"][-1]["accuracy"]["values"]
    assert len(read["accuracy"]["values"]) == 2
    assert all(0 <= value <= 100 for value in [*read["accuracy"]["values"], *own])


def test_evaluate_a_run_on_its_own_test_set(
    finished: Path, tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(finished), "--seeds", "1"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("accuracy on 450 real test images of digits, after training on the set alone:\n")
    assert "evaluates otherwise" not in output.err
    other = toml(with_values(tiny, {"evaluation.classifier.width": 4}), tmp_path / "other.toml")
    assert main(["evaluate", str(finished), "--test", str(other), "--seeds", "1"]) == 0
    told = capsys.readouterr().err
    assert f"{other} evaluates otherwise than {finished} did: evaluation.classifier.width (8 there, 4 here)" in told


def test_a_full_disk_is_one_line(tiny: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Uses a file system of 256 KiB, if this machine allows one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], capture_output=True).returncode
    ):
        pytest.skip("cannot mount a tmpfs here")
    try:
        preset = toml(tiny, tmp_path / "tiny.toml")
        assert main(["distill", str(preset), "--out", str(disk / "run"), "--quiet"]) == 2
        errors = capfd.readouterr().err
        assert "No space left on device" in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert not list((disk / "run").rglob("*.tmp"))
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
