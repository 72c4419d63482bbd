"""The command line. One line on standard error and exit code 2 for what the user can mend."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from lgd import __version__
from lgd.errors import IncompleteError, UserError, is_out_of_memory, nearest
from lgd.execution.hardware import keep_freed_memory
from lgd.progress import show_messages
from lgd.storage.files import is_full_disk

USAGE = """\
usage: lgd COMMAND ...

Grow a small synthetic training set that teaches as much as a large one (learnability-guided diffusion).

commands:
  distill   PRESET_OR_TOML --out RUN                      grow a set and judge it
  compare   PRESET_OR_TOML --methods random dit lgd --out DIR [--runs N]
                                                          methods side by side, on equal terms
  evaluate  DATASET_DIR --test PRESET_OR_TOML             judge any folder of <class>/*.png
  ablate    PRESET_OR_TOML --over FIELD=VALUE,... --out DIR [--runs N]
                                                          every combination of some fields' values
  analyze   RUN_OR_FOLDER... --out DIR                    what the parts of sets repeat and teach
  reference train PRESET_OR_TOML --out DIR                train the reference classifier alone
  report    RUN... --out FILE.html                        one page to look at
  export    RUN --to FORMAT --out DIR                     imagefolder, hf, parquet, webdataset or pt
  status    RUN                                           what is done and what is next
  generator import | train | sample | show                make a generator, and look at it
  plan      PRESET_OR_TOML                                what a run will take in time and memory
  bench                                                   what guided sampling costs on this machine

PRESET_OR_TOML may also name images: folder:PATH, parquet:TRAIN,TEST or hf:NAME[@REVISION].
`lgd COMMAND --help` lists every option; presets: {presets}
Any field of the configuration is an option: --guidance.omega 0.5 --stages.increments 3

options:
  -h, --help  show this
  --version   show the version
"""


OUTSIDE = (errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG)
"""errors of the machine, which are not ours"""


def entry_point() -> None:
    """Run `main` on the process's arguments and exit with its code."""
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code: 0, 1 when some units failed, 2 for a user's mistake, 130 after Ctrl-C."""
    show_messages(quiet="--quiet" in arguments)
    try:
        return dispatch(list(arguments))
    except UserError as error:
        return fail(str(error))
    except IncompleteError as error:
        for failure in error.failures:
            fail(f"{failure.name} failed: {failure.reason}")
        return fail("what did not fail is kept; the same command tries the rest again", 1)
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


def fail(message: str, code: int = 2) -> int:
    """Print one line on standard error; a file name's control characters are shown, not sent to the terminal."""
    line = " ".join(message.split())
    print("lgd: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), file=sys.stderr)
    return code


def dispatch(arguments: list[str]) -> int:
    """Find the command and hand it the rest."""
    if not arguments or arguments[0] in ("-h", "--help"):
        from lgd.config import presets

        print(USAGE.format(presets=", ".join(presets())), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"lgd {__version__}")
        return 0
    name, *rest = arguments
    from .commands import COMMANDS, command

    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}{nearest(name, COMMANDS)}")
    return command(name)(rest)
