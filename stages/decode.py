"""data/extracted.tar -> data/images: every image decoded once, at one stored size."""

from unfreeze.allocator import keep_freed_memory
from unfreeze.console import run
from unfreeze.data.bands import decode_bands
from unfreeze.data.images import DecodeParams, decode_tar
from unfreeze.params import load
from unfreeze.paths import EXTRACTED_CSV, EXTRACTED_TAR, IMAGES_CSV, PIXELS, REJECTED_CSV


def main() -> str:
    params = load("decode", decode=DecodeParams).decode
    keep_freed_memory()
    decode = decode_bands if params.bands else decode_tar
    summary = decode(EXTRACTED_TAR, EXTRACTED_CSV, params, PIXELS, IMAGES_CSV, REJECTED_CSV)
    others = "1 other file" if summary.passed_over == 1 else f"{summary.passed_over:,} other files"
    return (
        f"{summary.images:,} images stored at {params.size} x {params.size}, "
        f"{summary.rejected:,} rejected, {others} passed over"
    )


if __name__ == "__main__":
    run("decode", main)
