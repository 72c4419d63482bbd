import pytest

from lgd.data.part_names import title_of


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("digits", "digits"),
        ("cifar10", "cifar10"),
        ("folder:/home/ada/photos", "photos"),
        ("folder:photos/", "photos"),
        ("folder:/data/birds/train,/data/birds/val", "birds"),
        ("folder:/data/train-yard", "train-yard"),
        ("folder:.", "folder:."),
        ("parquet:/data/tiny/train.parquet,/data/tiny/test.parquet", "tiny"),
        ("parquet:/data/mnist/train-00000-of-00001.parquet", "mnist"),
        ("parquet:beans.v2.parquet", "beans.v2"),
        ("parquet:train.parquet", "parquet:train.parquet"),
        ("hf:ylecun/mnist@main", "ylecun/mnist@main"),
    ],
)
def test_a_title_names_the_images_and_no_machine(source: str, title: str) -> None:
    assert title_of(source) == title
