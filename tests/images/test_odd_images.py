import numpy as np
import pytest
from image_files import pack

from unfreeze.images.convert import decode_image
from unfreeze.images.decode import DecodeParams, decode_tar
from unfreeze.images.members import ExtractedTar, Rejection
from unfreeze.images.outs import Counts, ImageFiles


@pytest.mark.parametrize("scene", ["Landscape", "Portrait"])
def test_photos_of_all_orientations_show_the_same_scene(odd_images, scene):
    paths = [odd_images / "exif" / f"{scene}_{i}.jpg" for i in range(1, 9)]
    decoded = [decode_image(path.read_bytes(), 96, "crop") for path in paths]
    first = decoded[0]
    assert first.width > first.height if scene == "Landscape" else first.width < first.height
    for other in decoded[1:]:
        assert (other.width, other.height) == (first.width, first.height)
        # The photos differ by a number in the middle and by compression.
        assert np.abs(other.pixels.astype(int) - first.pixels).mean() < 2


ODD = {  # mean colour, or the start of the reason; the colours were looked at
    "1_trns.png": (124, 124, 124),  # dithered, its white transparent
    "broken.png": "not an image",
    "broken_data_stream.png": "damaged (unrecognized data stream contents",
    "crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": (255, 255, 255),  # libtiff forgives its fax code
    "crash-2020-10-test.tif": "damaged (decoder error",
    "decompression_bomb.gif": "more than 200,000,000 pixels",
    "decompression_bomb.ico": "more than 200,000,000 pixels",
    "dummy.container": "not an image",
    "empty.jpg": "empty file",
    "hopper.bmp": (90, 80, 95),
    "hopper.gif": (90, 80, 95),
    "hopper.jpg": (90, 80, 95),
    "hopper.png": (90, 80, 95),
    "hopper.ppm": (90, 80, 95),
    "hopper.tif": (90, 80, 95),
    "hopper.webp": (90, 80, 95),
    "hopper_16bit.pgm": (84, 84, 84),  # as hopper_gray.jpg: the 16 bits are not clipped
    "hopper_bad_exif.jpg": (126, 126, 126),
    "hopper_gray.jpg": (85, 85, 85),
    "invalid-exif.jpg": (92, 92, 92),
    "iss634.gif": (135, 137, 90),  # animated
    "iss634.webp": (135, 137, 90),  # animated
    "la.tga": (125, 125, 125),  # a transparent hole, white
    "lfs_pointer_000bec180eb18c7604dcecc8fe0dba07.jpg": "Git-LFS pointer",
    "lfs_pointer_001513dfcb2ffafc82cccf4d8bbaba97.jpg": "Git-LFS pointer",
    "p_trns_single.png": (128, 176, 163),  # a transparent rectangle, white
    "photoshop-200dpi-broken.jpg": (92, 92, 92),
    "pil123rgba.png": (186, 184, 167),  # a bird on white
    "pil_sample_cmyk.jpg": (30, 5, 7),  # RED in red on black, as an inverted CMYK must come out
    "png_decompression_dos.png": "damaged (Decompressed data too large",
    "png_named.jpg": (90, 80, 95),
    "psd-oob-write-overflow.psd": (128, 128, 128),  # its whole picture is good, only a layer is not
    "sugarshack_bad_mpo_header.jpg": (123, 112, 101),
    "text.jpg": "not an image",
    "tiff_16bit_RGB.tiff": (36, 28, 22),
    "tiff_16bit_RGBa.tiff": (210, 202, 197),
    "tiff_strip_cmyk_jpeg.tif": (30, 5, 7),
    "truncated_app14.jpg": (28, 5, 4),
    "truncated_image.png": "damaged (image file is truncated",
    "truncated_jpeg.jpg": "damaged (image file is truncated",
    "uncompressed_la.png": (241, 241, 241),
}


def test_each_odd_image_has_its_expected_result(odd_images):
    paths = sorted((odd_images / "mixed").iterdir())
    assert [path.name for path in paths] == sorted(ODD)
    wrong = {}
    for path in paths:
        expected = ODD[path.name]
        try:
            mean = decode_image(path.read_bytes(), 128, "crop").pixels.mean((0, 1))
            good = not isinstance(expected, str) and np.abs(mean - expected).max() < 2
        except Rejection as rejection:
            mean = str(rejection)
            good = isinstance(expected, str) and mean.startswith(expected)
        if not good:
            wrong[path.name] = mean
    assert wrong == {}


def test_odd_images_make_a_data_set(odd_images, tmp_path):
    pack(tmp_path, {path.name: path.read_bytes() for path in (odd_images / "mixed").iterdir()})
    rejects = sum(isinstance(result, str) for result in ODD.values())
    counts = decode_tar(
        source=ExtractedTar(tar=tmp_path / "extracted.tar", index=tmp_path / "extracted.csv"),
        params=DecodeParams(image_size=16, fit="crop", channels="rgb", max_rejected=1.0),
        out=ImageFiles.in_folder(tmp_path / "out"),
        workers=2,
    )
    assert counts == Counts(images=len(ODD) - rejects, rejected=rejects, other_files=0)
