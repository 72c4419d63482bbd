"""One PNG file per image in one folder per class: for torchvision's ImageFolder and for `datasets`."""

import json
import re
from dataclasses import replace
from pathlib import Path

from lgd.data.class_names import plain_name
from lgd.errors import UserError, imported
from lgd.storage.files import copy_file, is_reserved, safe_name, save_tensors, write_file

from .parquet import LIBRARIES, columns_of, row_of
from .samples import Advance, Export, write_order

NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|%(?=[0-9A-Fa-f]{2})|^[. ]|^_(?=_)|[. ]$')
"""characters that a system, or a reader of image folders, does not take in the name of a folder"""
LONGEST = 120  # bytes


def write_imagefolder(export: Export, root: Path, advance: Advance) -> str:
    """Write <class>/*.png, order.csv and classes.json, which holds the names in the order of the labels."""
    for sample in export.samples:
        copy_file(sample.path, root / sample.file)
        advance()
    if export.logits is not None:
        files = json.dumps([sample.file for sample in export.samples])
        metadata = {"files": files, "class_names": json.dumps(export.class_names)}
        save_tensors(root / "soft_labels.safetensors", {"logits": export.logits}, metadata)
    write_order(export, root)
    return (
        "One folder per class, as torchvision's `ImageFolder` reads. Labels count the folders by name, as it does;"
        " `classes.json` lists the classes by label."
    )


def write_hf(export: Export, root: Path, advance: Advance) -> str:
    """Write the same and metadata.parquet, where `datasets` finds labels with their names.

    A metadata.csv has no place for names. Errors: UserError without the extra.
    """
    datasets, pa, pq = (imported(name, "hf needs") for name in LIBRARIES)
    columns = {"file_name": datasets.Value("string"), **columns_of(export)}
    rows = [{"file_name": sample.file, **row_of(export, place)} for place, sample in enumerate(export.samples)]
    write_imagefolder(export, root, advance)
    table = pa.Table.from_pylist(rows, schema=datasets.Features(columns).arrow_schema)
    write_file(root / "metadata.parquet", lambda temporary: pq.write_table(table, temporary))
    return '`datasets.load_dataset("PATH")`: columns image, label (a `ClassLabel`) and class_name, among others.'


def in_folders(export: Export) -> Export:
    """Return the export with a folder per class, and with labels that count the folders by name, as ImageFolder does.

    A folder has the name of its class where file systems allow it, so that the folders of a synthetic set are in the
    order of the real set's. Errors: UserError for two classes of one folder where case does not count.
    """
    folders = {name: folder_name(name) for name in export.class_names}
    taken: dict[str, str] = {}
    for name, folder in folders.items():
        if (other := taken.setdefault(folder.casefold(), name)) != name:
            raise UserError(
                f"classes {other!r} and {name!r} share the folder {folder!r} on systems that ignore case; --to"
                " parquet, webdataset or pt keeps them apart"
            )
    names = tuple(sorted(export.class_names, key=lambda name: folders[name]))
    samples = [
        replace(s, file=f"{folders[s.class_name]}/{s.path.name}", label=names.index(s.class_name))
        for s in export.samples
    ]
    logits = None if export.logits is None else export.logits[:, [export.class_names.index(name) for name in names]]
    return replace(export, samples=samples, class_names=names, logits=logits)


def folder_name(name: str) -> str:
    """Return the class's name as a folder, percent-encoded where it must be; `plain_name` gives the class again."""
    encoded = NOT_IN_NAMES.sub(lambda found: f"%{ord(found[0]):02X}", name)
    short = len(encoded.encode(errors="replace")) <= LONGEST
    return encoded if short and not is_reserved(encoded) and plain_name(encoded) == name else safe_name(name)
