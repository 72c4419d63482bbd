"""The command line: run a command, and turn errors into one line on standard error and an exit code."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from time import monotonic
from typing import Any

from lgd import __version__
from lgd.errors import IncompleteError, UserError, is_out_of_memory, nearest
from lgd.execution.hardware import keep_freed_memory
from lgd.progress import begun, show_messages
from lgd.storage.files import is_full_disk

USAGE = """\
usage: lgd COMMAND ...

Distil a dataset: make a small synthetic training set by learnability-guided diffusion.

commands:
  distill   PRESET_OR_TOML --out RUN                      make a set and evaluate it
  compare   PRESET_OR_TOML --methods random dit lgd --out DIR [--runs N]
                                                          compare methods on the same generator and seeds
  select    PRESET_OR_TOML --per-class 10 --out DIR       select real images, without a generator
  evaluate  DATASET_DIR --test PRESET_OR_TOML             evaluate any folder of <class>/*.png
  ablate    PRESET_OR_TOML --over FIELD=VALUE,... --out DIR [--runs N]
                                                          compare every combination of some fields' values
  analyze   RUN_OR_FOLDER... --out DIR                    measure redundancy, learning dynamics, validity, ...
  reference train PRESET_OR_TOML --out DIR                train the reference classifier alone
  report    RUN... --out FILE.html                        write one HTML page about runs
  export    RUN --to FORMAT --out DIR                     copy a set into a format that other software reads
  status    RUN                                           show finished and remaining work
  generator import | train | sample | show                import or train a generator, sample from it, describe it
  plan      PRESET_OR_TOML                                estimate the time and memory of a run
  bench                                                   measure the cost of guided sampling on this machine
  doctor                                                  show versions, devices, memory and cache, for bug reports
  completion bash | zsh | tcsh                            print a script that completes commands and options
  help      [COMMAND]                                     show this, or the help of a command
  version                                                 show the version

PRESET_OR_TOML may also name images: a folder, parquet:TRAIN,TEST or hf:NAME[:CONFIG][@REVISION].
`lgd COMMAND --help` shows the main options, `--help-all` every one; presets: {presets}
Any field of the configuration is an option: --guidance.omega 0.5 --stages.increments 3

options:
  -h, --help     show this
  -V, --version  show the version
"""
GENERATOR_USAGE = """\
usage: lgd generator VERB ...

  import  SOURCE --out DIR                     make a generator of published weights
  train   PRESET_OR_TOML --out DIR             train a generator on the preset's images
  sample  GENERATOR --out FILE.png             sample images of every class
  show    GENERATOR                            show its networks, classes and training

`lgd generator VERB --help` lists every option
"""
MODULES = {
    "experiments": (
        *("distill", "compare", "select", "evaluate", "ablate", "analyze"),
        *("reference train", "report", "export", "status"),
    ),
    "generator": ("generator import", "generator train", "generator sample", "generator show"),
    "profiling": ("bench", "plan"),
    "support": ("doctor", "completion"),
}
COMMANDS = {name: module for module, names in MODULES.items() for name in names}
"""the module of each command, which has a function of its name; it is imported when the command is run"""

OUTSIDE = (errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG)
"""Numbers of operating-system errors that are reported in one line."""


def entry_point() -> None:
    """Run `main` on the process's arguments and exit with its code."""
    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as schedulers stop a job: end as after Ctrl-C
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of names that the terminal's encoding lacks
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns 0, 1 when some units failed, 2 for a user's mistake, 130 when it was interrupted."""
    show_messages(quiet="--quiet" in arguments)
    token = begun.set(monotonic())
    try:
        return dispatch(list(arguments))
    except UserError as error:
        return fail(str(error))
    except IncompleteError as error:
        for failure in error.failures:
            fail(f"{failure.name} failed: {failure.reason}")
        return fail("finished work is kept; the same command tries the rest again", 1)
    except KeyboardInterrupt:
        return fail("interrupted; finished work is kept, the same command continues it", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        place = getattr(error, "filename", None) or "while writing"
        if is_full_disk(error):
            return fail(f"No space left on device: {place}; finished work is kept")
        if isinstance(error, OSError) and error.errno in OUTSIDE:
            return fail(f"{error.strerror}: {place}; finished work is kept")
        if is_out_of_memory(error) or "allocate memory" in str(error):
            return fail("not enough memory; finished work is kept: try smaller networks, batches or --compute.workers")
        raise
    finally:
        begun.reset(token)


def fail(message: str, code: int = 2) -> int:
    """Print one line on standard error and return the code; control characters are escaped."""
    line = " ".join(message.split())
    print("lgd: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), file=sys.stderr)
    return code


def dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "--help-all"):
        from lgd.config import presets

        print(USAGE.format(presets=", ".join(presets())), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version", "version"):
        print(f"lgd {__version__}")
        return 0
    if arguments[0] == "generator" and (len(arguments) == 1 or arguments[1] in ("-h", "--help")):
        print(GENERATOR_USAGE, end="")
        return 2 if len(arguments) == 1 else 0
    name, rest = named(arguments)
    from .parsing import parse_command

    command(name)(parse_command(options_of(name), name, rest))
    return 0


def named(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Split words into the name of a command, its verb included, and the rest. Errors: UserError for an unknown one."""
    name, *rest = arguments
    verbs = [known.partition(" ")[2] for known in COMMANDS if known.startswith(f"{name} ")]
    if name in COMMANDS:
        return name, rest
    if not verbs:
        raise UserError(f"unknown command {name!r}{nearest(name, {known.partition(' ')[0] for known in COMMANDS})}")
    if rest and rest[0] in verbs:
        return f"{name} {rest[0]}", rest[1:]
    if len(verbs) == 1:
        raise UserError(f"lgd {name} has one verb: lgd {name} {verbs[0]} PRESET_OR_TOML --out DIR")
    raise UserError(f"unknown verb {rest[0]!r} of lgd {name}{nearest(rest[0], verbs)}")


def command(name: str) -> Callable[[Any], None]:
    """Import the function of a command, one of COMMANDS, which takes its options."""
    return getattr(import_module(f".{COMMANDS[name]}", __package__), name.replace(" ", "_"))


def options_of(name: str) -> type:
    """Return the dataclass of a command's options."""
    return command(name).__annotations__["options"]
