"""Readers of untrusted bytes return a valid value or raise a UserError of one line.

More examples: `LGD_EXAMPLES=20000 pytest tests/storage/test_hostile.py`. `benchmarks/fuzz.py` fuzzes by coverage.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lgd.config import Config, from_dict, load_config, to_dict
from lgd.data.folder import decode_image
from lgd.distillation.store import Row, encode_png, image_file, read_manifest, read_rows
from lgd.errors import UserError
from lgd.execution.receipts import damaged, receipt_of
from lgd.storage.files import load_tensors, read_json, safe_name, save_tensors

many = settings(
    max_examples=int(os.environ.get("LGD_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def refused(read: Callable[[], Any]) -> Any:
    """Return the result of `read`, or None after a UserError of one line."""
    try:
        return read()
    except UserError:
        return None


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in values.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += leaves(value, (*path, key))
    return found


WHOLE = to_dict(Config())


@many
@given(st.lists(st.tuples(st.sampled_from(leaves(WHOLE)), json_values), min_size=1, max_size=3))
def test_configurations_with_anything_anywhere(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    values = json.loads(json.dumps(WHOLE))
    for path, value in changes:
        node: Any = values
        for key in path[:-1]:
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node[path[-1]] = value
    config = refused(lambda: from_dict(values, "here"))
    assert config is None or from_dict(to_dict(config), "again") == config


@many
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass")))
def test_configuration_files_of_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    config = refused(lambda: load_config(str(path)))
    assert config is None or isinstance(config, Config)


ROW: dict[str, Any] = {
    "file": "3/01-0000.png", "class_name": "3", "label": 3, "increment": 1, "slot": 0, "chosen": 0,
    "candidates": [{"seed": 1, "score": 0.5, "learner_loss": 1.0, "reference_loss": 0.5, "valid": True}],
    "sha256": "0" * 64, "source": None,
}  # fmt: skip


@many
@given(st.dictionaries(st.sampled_from(sorted(ROW)), json_values, min_size=1, max_size=3))
def test_manifest_rows_with_anything_anywhere(changes: dict[str, Any]) -> None:
    rows = refused(lambda: read_rows(Path("m.jsonl"), [{**ROW, **changes}]))
    for row in rows or []:
        assert isinstance(row, Row)
        assert row.file == image_file(row.class_name, row.increment, row.slot)
        assert ".." not in Path(row.file).parts
        assert not Path(row.file).is_absolute()
        row.candidates[row.chosen]


@many
@given(
    st.binary(max_size=300) | st.lists(json_values, max_size=3).map(lambda v: "\n".join(map(json.dumps, v)).encode())
)
def test_manifests_of_any_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(data)
    refused(lambda: read_manifest(tmp_path))
    refused(lambda: read_json(tmp_path / "manifest.jsonl"))


@many
@given(st.text(max_size=100) | st.from_regex(r"([0-9a-f]{64}  [./a-z\x00]{1,20}\n){1,3}", fullmatch=True))
def test_receipts_of_any_text_name_nothing_outside(tmp_path: Path, text: str) -> None:
    root = tmp_path / "run"
    done = root / "a" / "done"
    done.parent.mkdir(parents=True, exist_ok=True)
    receipt_of(done).write_bytes(text.encode(errors="surrogatepass"))
    for path in refused(lambda: damaged(done, root)) or []:
        assert path.resolve().is_relative_to(root.resolve())


def mutated(whole: bytes) -> st.SearchStrategy[bytes]:
    """Return the bytes with a few overwritten, and possibly truncated."""
    edits = st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)

    def apply(changes: list[tuple[int, int]], length: int) -> bytes:
        data = bytearray(whole)
        for place, value in changes:
            data[place] = value
        return bytes(data[:length])

    return st.builds(apply, edits, st.integers(0, len(whole)) | st.just(len(whole)))


PNG = encode_png(torch.arange(64).view(1, 8, 8).byte())


@many
@given(mutated(PNG))
def test_images_that_were_changed(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.png").write_bytes(data)
    image = refused(lambda: decode_image(tmp_path / "x.png"))
    assert image is None or image.dtype == torch.uint8


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_tensors(path, {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)}, {"class_names": "[]"})
    return path.read_bytes()


@many
@given(data=st.data())
def test_weights_that_were_changed(tmp_path: Path, weights: bytes, data: st.DataObject) -> None:
    (tmp_path / "w.safetensors").write_bytes(data.draw(mutated(weights)))
    found = refused(lambda: load_tensors(tmp_path / "w.safetensors"))
    assert found is None or all(isinstance(tensor, torch.Tensor) for tensor in found.values())


LOOKALIKES = [
    "..", "../..", "a/b", "a\\b", "nul\0byte", "x" * 300, "..\u2025", "\u2024\u2024", "\uff0e\uff0e", "\u2215etc",
    "CON", "aux.txt", "COM\u00b9", "LPT9", "name.", "name ", " name", "-rf", "~root", "\u202egnp.exe", "\u0430pple",
    "a\nb", "\x1b[2J", "$(reboot)", "%2e%2e",
]  # fmt: skip


@pytest.mark.parametrize("name", LOOKALIKES, ids=ascii)
def test_class_names_that_would_lead_elsewhere(name: str, tmp_path: Path) -> None:
    safe = safe_name(name)
    path = tmp_path / "run" / safe / "01-0000.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(PNG)
    assert (tmp_path / "run" / safe).resolve().parent == (tmp_path / "run").resolve()
    assert [item.name for item in (tmp_path / "run").iterdir()] == [safe]
    assert safe.isascii()
    assert safe.isprintable()
    assert len(safe) <= 120


def test_lookalikes_are_kept_apart() -> None:
    assert len({safe_name(name).casefold() for name in LOOKALIKES}) == len(LOOKALIKES)


UNPICKLING = {"eval", "exec", "pickle.load", "pickle.loads", "torch.load", "joblib.load", "yaml.load", "dill.load"}


def test_nothing_of_a_users_is_ever_unpickled() -> None:
    """Searches the sources for calls that unpickle; torch's reader that builds tensors alone is no such call."""
    import lgd

    for path in Path(lgd.__file__).parent.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        restricted = [call for call in calls if "weights_only=True" in map(ast.unparse, call.keywords)]
        assert not UNPICKLING & {ast.unparse(call.func) for call in calls if call not in restricted}, path
        assert not [word for call in calls for word in call.keywords if ast.unparse(word) == "allow_pickle=True"], path
