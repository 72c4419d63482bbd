"""One-line messages about image sets: which images they name, and which were told before."""

from collections.abc import Callable, Sequence

from lgd.progress import log

SHOWN = 3  # images that a message names

Tell = Callable[[str], object]

_told_ahead: set[str] = set()


def tell_ahead(message: str) -> None:
    """Log a message before the images are read; `tell` does not repeat it then."""
    _told_ahead.add(message)
    log.info(message)


def tell(message: str) -> None:
    """Log a message, unless `tell_ahead` has just done so."""
    if message in _told_ahead:
        _told_ahead.remove(message)
    else:
        log.info(message)


def listed(names: Sequence[str], count: int, separator: str = ", ") -> str:
    """Name the first of `count` images, and say how many more there are."""
    shown = names[:SHOWN]
    more = [f"and {count - len(shown)} more"] if count > len(shown) else []
    return separator.join([*shown, *more])
