"""Tar files, for WebDataset."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np

from .samples import Advance, Export, shards, write_order


def write_webdataset(export: Export, root: Path, advance: Advance) -> str:
    """Write train-NNNNNN.tar with KEY.png, KEY.cls, KEY.json and, of soft labels, the logits as KEY.npy.

    The bytes are the same every time.

    Scores are in order.csv alone: images of the seed set have none, and readers that take the columns' types from the
    first samples would stumble over the first number.
    """
    for number, (start, shard) in enumerate(shards(export)):
        with tarfile.open(root / f"train-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, sample in enumerate(shard, start):
                facts = {"class_name": sample.class_name, "increment": sample.increment, "slot": sample.slot}
                members = {
                    "png": sample.path.read_bytes(),
                    "cls": str(sample.label).encode(),
                    "json": json.dumps(facts).encode(),
                }
                if export.logits is not None:
                    buffer = io.BytesIO()
                    np.save(buffer, export.logits[i].numpy(), allow_pickle=False)
                    members["npy"] = buffer.getvalue()
                for suffix, content in members.items():
                    entry = tarfile.TarInfo(f"{i:08d}.{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
                advance()
    write_order(export, root)
    return (
        '`datasets.load_dataset("webdataset", data_files="PATH/*.tar")`, `webdataset.WebDataset` and any reader of its'
        " tar files: KEY.png, KEY.cls (the label), KEY.json; `order.csv` has the scores."
    )
