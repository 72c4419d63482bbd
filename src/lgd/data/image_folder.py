"""Folders of image files as a source: which folders below a root are the parts of a set, and which are classes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import join

import torch

from lgd.config import DatasetConfig
from lgd.errors import UserError

from .class_names import plain_name, wanted_classes
from .part_names import first_choice, parts_of
from .parts import Listing, Part
from .tree import beside, class_folders, contents, holds_images, scan

NAMED = 5  # folders that a message names

Layout = tuple[tuple[Path, ...], tuple[str, ...]]
"""the training part and the test part, or the whole, and messages about what is left out"""


def find_folders(paths: str, config: DatasetConfig) -> Sequence[Listing]:
    """List TRAIN,TEST; or the parts of a folder that holds some; or a folder of classes."""
    root = Path(paths).expanduser()
    if "," in paths and not root.exists():
        return [listing(Path(path).expanduser()) for path in train_and_test(paths)]
    parts, notes = divide(root, wanted_classes(config.classes))
    first, *others = map(listing, parts)
    return [replace(first, notes=notes), *others]


def train_and_test(paths: str) -> list[str]:
    """Split TRAIN,TEST. Errors: UserError."""
    parts = paths.split(",")
    if len(parts) > 2:
        raise UserError(f"dataset.source: {paths!r} names {len(parts)} paths; TRAIN,TEST are two")
    return parts


def listing(root: Path) -> Listing:
    """List the class folders of a part. Errors: UserError."""
    folders = class_folders(root)
    if not folders:
        raise UserError(f"{root}: no class folders in it; images are expected in {root / 'CLASS'}")

    def select(names: Sequence[str]) -> Part:
        tree = scan(root, {name: folders[name] for name in names})
        labels = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(tree.counts))
        key = f"{root.resolve()} {tree.fingerprint}"
        return Part(str(root), tree.files, torch.arange(len(labels)), labels, tuple(names), key, tree.notes)

    return Listing(str(root), tuple(folders), select)


def divide(root: Path, wanted: Sequence[str]) -> Layout:
    """Find the parts of a set in `root`, whose folders are parts or classes.

    A folder that is named as a training part is one if it holds class folders, and either a test part beside it holds
    some of the same or nothing else in `root` holds images. Folders that hold one folder alone, as archives make them,
    are looked through: `root` down to parts, a part down to classes. wanted: classes that were asked for; one that is
    named as a part is a class. Errors: UserError where a folder may be either.
    """
    folders = class_folders(root)
    asked = bool(wanted) and {plain_name(name) for name in wanted} <= set(folders)
    named = parts_of(folders.values())
    training = [folder for folder, role in named.items() if role == "train"]
    if not training and not asked and (only := only_folder(root)) and holds_training_part(only):
        parts, notes = divide(only, wanted)
        return parts, (*beside(root).notes(root), *notes)
    if not training or asked:
        if not asked:
            check_classes(root, list(named))
        return (root,), ()
    judging = first_choice(folder for folder, role in named.items() if role in ("test", "validation"))
    others = [folder for folder, role in named.items() if role is None]
    divided = [folder for folder in training if classes_in(root / folder)]
    if not divided:
        return undivided(root, training, judging, others)
    if len(divided) > 1:
        raise UserError(
            f"{root}: {enumerated(divided)} are training parts by their names; give the parts:"
            f" folder:{root / divided[0]},{root / (judging or ['TEST'])[0]}"
        )
    return with_train(root, divided[0], judging, [folder for folder in others + training if folder != divided[0]])


def only_folder(folder: Path) -> Path | None:
    """Return the folder that is alone in another, without images beside it; None for links, too."""
    found = contents(folder)
    only = folder / found.folders[0] if len(found.folders) == 1 and not found.images else None
    return None if only is None or only.is_symlink() else only


def holds_training_part(folder: Path) -> bool:
    """Return whether a folder, or the one alone in it, holds a folder named as a training part."""
    inside = class_folders(folder)
    if "train" in parts_of(inside.values()).values():
        return True
    return (only := only_folder(folder)) is not None and holds_training_part(only)


def class_root(part: Path) -> Path:
    """Return the folder that holds the class folders of a part: itself, or the one alone in it, as in TRAIN/TRAIN."""
    only = only_folder(part)
    return class_root(only) if only and contents(only).folders and not contents(only).images else part


def classes_in(part: Path) -> dict[str, str]:
    return class_folders(class_root(part))


def with_train(root: Path, train: str, judging: Sequence[str], others: Sequence[str]) -> Layout:
    """The parts of a root whose folder `train` holds class folders. Errors: UserError where it may be a class."""
    classes = set(classes_in(root / train))
    with_classes = [folder for folder in judging if classes_in(root / folder)]
    test = [folder for folder in with_classes if classes & set(classes_in(root / folder))][:1]
    rivals = [] if test else [folder for folder in others if holds_images(root / folder)]
    if rivals:
        if contents(root / train).images:
            return (root,), (f"{root}: {train!r} is read as a class, beside {enumerated(rivals)}",)
        raise UserError(
            f"{root}: {train!r} is a training part by its name and its folders {enumerated(sorted(classes))},"
            f" or a class beside {enumerated(rivals)}; folder:{root / train} reads the part,"
            f" --dataset.classes {join(sorted([*rivals, train]))} the classes"
        )
    if with_classes and not test:
        first = root / with_classes[0]
        raise UserError(
            f"{first}: its folders ({enumerated(list(classes_in(first)))}) are none of the classes in"
            f" {root / train}; folder:{root / train} reads the training part alone and splits it"
        )
    parts = [train, *test]
    for part in parts:
        if (root / part).is_symlink():
            raise UserError(
                f"{root / part} is a symbolic link; give where it leads: --dataset.source folder:TRAIN,TEST"
            )
    left_out = [f"{folder} (no class folders)" for folder in judging if folder not in with_classes]
    left_out += [folder for folder in (*with_classes, *others) if folder not in parts]
    note = f"{root}: {enumerated(parts)} {'are' if len(parts) > 1 else 'is'} read; left out: {', '.join(left_out)}"
    return tuple(class_root(root / part) for part in parts), (*((note,) if left_out else ()), *beside(root).notes(root))


def undivided(root: Path, training: Sequence[str], judging: Sequence[str], others: Sequence[str]) -> Layout:
    """A root whose `training` holds no class folders: a class beside others. Errors: UserError without others."""
    if any(holds_images(root / folder) for folder in others):
        return (root,), ()
    train = root / training[0]
    classes = join(sorted([*training, *judging]))
    hint = f"; --dataset.classes {classes} reads these folders as the classes" if judging else ""
    raise UserError(f"{train}: no class folders in it; images are expected in {train / 'CLASS'}{hint}")


def check_classes(root: Path, folders: Sequence[str]) -> None:
    """Errors: UserError for folders that are rather parts than classes: all hold the same folders, and no images."""
    below: list[set[str]] = []
    for folder in folders:
        inside = contents(root / folder)
        if inside.images:
            return
        below.append({plain_name(name) for name in inside.folders})
    if len(folders) == 1 and len(below[0]) > 1:
        raise UserError(
            f"{root}: only the class {folders[0]!r}; it takes two at least. If {enumerated(sorted(below[0]))} in it are"
            f" the classes: folder:{root / folders[0]}"
        )
    common = sorted(set.intersection(*below)) if len(below) > 1 else []
    if len(common) < 2:
        return
    found, inner = enumerated(folders), enumerated(common)
    if "train" in parts_of(common).values():
        raise UserError(
            f"{root}: {found} each hold the parts {inner}; parts are expected outermost, as in"
            f" {root / common[0] / folders[0]}. --dataset.classes {join(folders[:2])} ... reads them without parts"
        )
    raise UserError(
        f"{root}: {found} all hold the folders {inner}, as parts of a set do; give the parts:"
        f" folder:{root / folders[0]},{root / folders[1]}. If they are classes, name them:"
        f" --dataset.classes {join(folders[:2])} ..."
    )


def enumerated(names: Sequence[str]) -> str:
    """The first names, and how many more there are, joined by `and`."""
    shown = [*names[:NAMED], *([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
