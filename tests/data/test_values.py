"""Values beyond eight bits, EXIF, transparency, and images of one colour."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.drawn import folder, load, picture

from lgd.data.decode import BrokenImageError, decode, header
from lgd.data.imageset import Splits
from lgd.errors import UserError

GREY = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
GREY[:, 0, 0] = 255


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of uint16 (H, W, C): grey, grey with alpha, RGB or RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_set(root: Path, factor: int, kind: str = "png", dtype: type = np.uint16) -> Path:
    for i, image in enumerate(GREY):
        path = root / "ab"[i % 2] / f"{i:02d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(dtype) * factor).save(path)
    return root


def pixels(splits: Splits) -> set[bytes]:
    return {image.numpy().tobytes() for part in (splits.train, splits.test) for image in part.images}


@pytest.mark.parametrize(
    ("factor", "kind", "dtype", "bits"),
    [
        (1, "png", np.uint16, 8),
        (1, "tif", np.int32, 8),
        (4, "png", np.uint16, 10),
        (16, "tif", np.uint16, 12),
        (16, "tif", np.int32, 12),
        (256, "png", np.uint16, 16),
        (257, "pgm", np.uint16, 16),
    ],
)
def test_sixteen_bits_are_scaled_by_what_they_hold(
    factor: int, kind: str, dtype: type, bits: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    splits = load(deep_set(tmp_path, factor, kind, dtype))
    assert pixels(splits) == {image.tobytes() for image in GREY}
    told = f"12 images of 16 bits hold no value above {2**bits - 1} and are read as {bits}-bit"
    assert (told in caplog.text) == (bits < 16)


def test_dark_images_of_more_than_twelve_bits_are_told_and_can_be_brightened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = deep_set(tmp_path, 64)
    assert pixels(load(root)) == {(image // 4).tobytes() for image in GREY}
    assert "hold no value above 16383 and are read as 16-bit; --dataset.bits says otherwise" in caplog.text
    assert pixels(load(root, bits=14)) == {image.tobytes() for image in GREY}


def test_one_bright_image_does_not_darken_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = deep_set(tmp_path, 16)
    hot = GREY[0].astype(np.uint16) * 16
    hot[5, 5] = 65535
    Image.fromarray(hot).save(root / "a" / "hot.png")
    expected = GREY[0].copy()
    expected[5, 5] = 255
    assert pixels(load(root)) == {image.tobytes() for image in (*GREY, expected)}
    assert "read as 12-bit" in caplog.text
    assert f"Larger values become white in {root}/a/hot.png" in caplog.text


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_colours_of_sixteen_bits_keep_their_lower_bits(channels: int, bits: int) -> None:
    """Pillow gives the upper byte alone."""
    values = np.random.default_rng(channels).integers(0, 2**bits, (16, 16, channels)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    values[..., 3:] = 65535
    data = deep_png(values)
    colours = values[..., :1].repeat(3, -1) if channels == 2 else values[..., :3]
    expected = (colours >> (bits - 8)).astype(np.uint8)
    assert np.array_equal(decode(io.BytesIO(data), 3, 16, bits), expected.transpose(2, 0, 1))
    largest = header(io.BytesIO(data)).largest
    assert largest is not None
    assert max(8, largest.bit_length()) == bits


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_sixteen_bits_in_tiff(order: str, compression: str | None) -> None:
    values = np.random.default_rng(7).integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    data = tiff(values, order) if compression is None else compressed_tiff(values)
    assert np.array_equal(decode(io.BytesIO(data), 3, 16, 12), (values >> 4).astype(np.uint8).transpose(2, 0, 1))


def tiff(values: np.ndarray, order: str) -> bytes:
    """An uncompressed TIFF of RGB in one strip."""
    height, width, _ = values.shape
    data = values.astype(f"{order}u2").tobytes()
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 14 + len(data))
    body = b"".join(
        struct.pack(order + "HHI", tag, kind, count)
        + (struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value))
        for tag, kind, count, value in entries
    )
    depths = struct.pack(order + "HHH", 16, 16, 16)
    # bits per sample stand between the header and the pixels
    body = body.replace(struct.pack(order + "HHIHH", 258, 3, 3, 8, 0), struct.pack(order + "HHII", 258, 3, 3, 8))
    return head + depths + data + struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", 0)


def compressed_tiff(values: np.ndarray) -> bytes:
    """The same by deflate, which Pillow leaves to libtiff."""
    plain = tiff(values, "<")
    data = zlib.compress(values.astype("<u2").tobytes())
    start = 14 + values.size * 2
    body = plain[start:].replace(struct.pack("<HHIHH", 259, 3, 1, 1, 0), struct.pack("<HHIHH", 259, 3, 1, 8, 0))
    body = body.replace(struct.pack("<HHII", 279, 4, 1, values.size * 2), struct.pack("<HHII", 279, 4, 1, len(data)))
    return b"II*\0" + struct.pack("<I", 14 + len(data)) + plain[8:14] + data + body


def turned_jpeg(tags: list[tuple[int, int, int, bytes]]) -> bytes:
    """A JPEG whose EXIF holds these tags: number, type, count and bytes."""
    file = io.BytesIO()
    picture(0, (60, 40)).save(file, "JPEG")
    start, body, data = 8 + 2 + 12 * len(tags) + 4, b"", b""
    for tag, kind, count, value in sorted(tags):
        if len(value) <= 4:
            body += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        else:
            body += struct.pack("<HHII", tag, kind, count, start + len(data))
            data += value + b"\0" * (len(value) % 2)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + body + struct.pack("<I", 0) + data
    plain = file.getvalue()
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]


SIX = struct.pack("<H", 6)
TURNED = (0x112, 3, 1, SIX)


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize(
    "tags",
    [
        [TURNED],
        [TURNED, (282, 2, 3, b"72\0")],  # a resolution as text
        [TURNED, (259, 2, 5, b"JPEG\0")],  # a compression as text
        [TURNED, (277, 4, 1, struct.pack("<I", 65536))],  # a number that is too large
        [TURNED, (305, 5, 1, struct.pack("<II", 1, 1))],  # a name as a ratio
        [TURNED, (262, 3, 2, SIX * 2)],  # two values where one is expected
        [TURNED, (306, 1, 1, b"\x01")],  # a date as a byte
        [TURNED, (34665, 4, 1, struct.pack("<I", 2**31))],  # a table that starts behind the file's end
        [(0x112, 4, 1, struct.pack("<I", 6))],  # the orientation itself as a long number
        [(0x112, 3, 2, SIX * 2)],
        [(0x112, 2, 2, b"6\0")],
        [(0x112, 5, 1, struct.pack("<II", 6, 1))],
    ],
)
def test_exif_that_pillow_cannot_write_still_turns_the_image(tags: list[tuple[int, int, int, bytes]]) -> None:
    file = io.BytesIO(turned_jpeg(tags))
    stored = np.asarray(Image.open(io.BytesIO(turned_jpeg([]))).convert("RGB"))
    assert np.array_equal(decode(file, 3, 40), np.rot90(stored, -1)[10:50].transpose(2, 0, 1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("junk", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(30), b"\xff" * 50])
def test_exif_that_nobody_can_read_leaves_the_image_as_it_is(junk: bytes) -> None:
    plain = turned_jpeg([])
    length = struct.unpack(">H", plain[4:6])[0]
    block = b"Exif\0\0" + junk
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[4 + length :]
    stored = np.asarray(Image.open(io.BytesIO(plain)).convert("RGB"))
    assert np.array_equal(decode(io.BytesIO(data), 3, 40), stored[:, 10:50].transpose(2, 0, 1))


def test_transparency_is_laid_on_a_colour_of_choice(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgba).save(file, "PNG")
    background = (250, 128, 7)
    got = decode(file, 3, 16, background=background)
    share = rgba[..., 3:] / 255
    expected = rgba[..., :3] * share + np.array(background) * (1 - share)
    assert np.abs(got.transpose(1, 2, 0) - expected).max() <= 1
    assert np.array_equal(decode(file, 3, 16), rgba[..., :3].transpose(2, 0, 1))
    palette = picture(0, (16, 16)).convert("P")
    file = io.BytesIO()
    palette.save(file, "GIF", transparency=3)
    got = decode(file, 3, 16, background=background).transpose(1, 2, 0)
    clear = np.asarray(palette) == 3
    assert (got[clear] == background).all()
    with pytest.raises(UserError, match=r"dataset.background: unknown colour 'whit'; use a name such as white"):
        load(folder(tmp_path, ("a", "b")), background="whit")


def test_images_that_all_come_out_as_one_colour_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Icons: the shape is in the transparency, and black under it."""
    for i in range(8):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        icon = Image.new("RGBA", (32, 32))
        icon.putalpha(picture(i, mode="L"))
        icon.save(path)
    load(tmp_path)
    assert "8 of 8 images come out as one colour, 0/0/0 of 255" in caplog.text
    assert [record.levelname for record in caplog.records if "come out" in record.message] == ["WARNING"]
    caplog.clear()
    load(tmp_path)  # from the cache
    assert "8 of 8 images come out as one colour" in caplog.text
    caplog.clear()
    assert load(tmp_path, background="white").train.images.float().std() > 40
    assert "colour" not in caplog.text


@pytest.mark.parametrize("values", [(0, 0), (30000, 30100), (65535, 65535)])
def test_narrow_values_of_sixteen_bits_are_told(
    values: tuple[int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(8):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        low, high = values
        array = np.random.default_rng(i).integers(low, high + 1, (16, 16)).astype(np.uint16)
        Image.fromarray(array).save(path)
    load(tmp_path)
    assert "8 of 8 images come out as one colour" in caplog.text


def test_a_few_blank_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path, ("a", "b"), 10)
    for i in range(5):
        Image.new("RGB", (32, 32), (i, 0, 0)).save(tmp_path / "a" / f"blank{i}.png")
    load(tmp_path)
    assert "5 of 25 images are of one colour each: " in caplog.text
    assert "a/blank2.png, and 2 more" in caplog.text


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_range_are_refused(dtype: type) -> None:
    file = io.BytesIO()
    Image.fromarray(GREY[0].astype(dtype) * 1000 - 5).save(file, "TIFF")
    with pytest.raises(BrokenImageError, match=r"floating-point values|values from -?\d+ to \d+; up to 16 bits"):
        decode(file, 1, 16)
