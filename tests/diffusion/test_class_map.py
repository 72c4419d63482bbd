from __future__ import annotations

from pathlib import Path

import pytest

from lgd.diffusion.class_map import imagenet_labels, map_classes, pipeline_vocabulary, read_table, vocabulary
from lgd.errors import UserError

KNOWN = vocabulary("G", 4, [("cat", 0), ("Tabby Cat", 0), ("dog", 1), ("crane", 2), ("crane", 3)])


def test_names_are_found_in_any_order_and_spelling() -> None:
    assert map_classes(["dog", "CAT"], KNOWN, {}) == (1, 0)
    assert map_classes(["tabby_cat", "Dog "], KNOWN, {}) == (0, 1)


def test_the_table_comes_first_and_takes_ids_and_names() -> None:
    assert map_classes(["dog", "heron", "kitten"], KNOWN, {"dog": 3, "heron": 2, "kitten": "cat"}) == (3, 2, 0)


def test_an_exact_name_beats_its_plain_form() -> None:
    known = vocabulary("G", 2, [("a_b", 0), ("a b", 1)])
    assert map_classes(["a b", "a_b"], known, {}) == (1, 0)


@pytest.mark.parametrize(
    ("names", "table", "message"),
    [
        (["dog", "axolotl"], {}, "class 'axolotl' is unknown to G: map every class"),
        ([f"x{i}" for i in range(7)], {}, "classes 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more are unknown to G"),
        (["cat", "tabby cat"], {}, "classes 'cat', 'tabby cat' are mapped to one class of G, 0"),
        (["dog", "wolf"], {"wolf": 1}, "classes 'dog', 'wolf' are mapped to one class of G, 1"),
        (["crane"], {}, "class 'crane' is the name of 2 classes of G: 2, 3; give its id"),
        (["dog"], {"dog": 4}, "G has no class 4, only 0 to 3"),
        (["dog"], {"dog": "lion"}, "class 'dog' is unknown"),
    ],
)
def test_gaps_and_doubles_are_named(names: list[str], table: dict[str, int | str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        map_classes(names, KNOWN, table)


def test_wordnet_ids_need_imagenets_labels() -> None:
    ends = {"0": "tench, Tinca tinca", "999": "toilet tissue, toilet paper"}
    assert pipeline_vocabulary("G", 1000, ends).find("n01440764") == 0
    assert pipeline_vocabulary("G", 1000, ends).find("n15075141") == 999
    assert pipeline_vocabulary("G", 1000, {"0": "tench"}).find("n01440764") is None
    assert pipeline_vocabulary("G", 10, ends).find("n01440764") is None
    assert pipeline_vocabulary("G", 1000, None).find("n01440764") is None


def test_imagenets_list_is_whole() -> None:
    known = list(imagenet_labels())
    assert len(known) == 1000
    assert known == sorted(known)
    nette = "n01440764 n02102040 n02979186 n03000684 n03028079 n03394916 n03417042 n03425413 n03445777 n03888257"
    assert [known.index(wnid) for wnid in nette.split()] == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes = 3", "needs a table"),
        ("[classes]\ndog = 1.5", "'dog' must be mapped to an id or a name, not 1.5"),
        ("[classes]\ndog = true", "'dog' must be mapped"),
        ("[classes]\ndgo = 1", "'dgo' is not a class of the image set"),
        ("[classes", "not TOML"),
        ("[classes]\ndog = " + "9" * 5000, "not TOML"),
        ("x = " + "[" * 100_000, "not TOML"),
        (None, "no such file"),
    ],
)
def test_a_bad_table_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_table(str(path), ["dog"])
