"""data/extracted.tar -> data/images: every image decoded once, at one stored size."""

from unfreeze.core import paths
from unfreeze.core.allocator import keep_freed_memory
from unfreeze.core.console import run
from unfreeze.core.params import load
from unfreeze.images.bands import decode_bands
from unfreeze.images.decode import decode_tar
from unfreeze.images.members import ExtractedTar
from unfreeze.images.outs import ImageFiles
from unfreeze.images.params import DecodeParams


def main() -> str:
    # 1. Read the settings.
    params = load("decode", decode=DecodeParams).decode
    source = ExtractedTar(tar=paths.EXTRACTED_TAR, index=paths.EXTRACTED_CSV)
    out = ImageFiles(
        pixels=paths.PIXELS, images=paths.IMAGES_CSV, rejected=paths.REJECTED_CSV, card=paths.IMAGES_CARD
    )

    # 2. Decode image files, or the records of radar bands.
    keep_freed_memory()
    decode = decode_bands if params.bands else decode_tar
    counts = decode(source=source, params=params, out=out)

    # 3. Say what came out.
    others = "1 other file" if counts.other_files == 1 else f"{counts.other_files:,} other files"
    return (
        f"{counts.images:,} images stored at {params.image_size} x {params.image_size}, "
        f"{counts.rejected:,} rejected, {others} passed over"
    )


if __name__ == "__main__":
    run("decode", main)
