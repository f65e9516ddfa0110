"""The `decode` section of params.yaml."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated

from pydantic import Field

from unfreeze.core.params import Number, Section
from unfreeze.images.convert import MAX_PIXELS, Channels
from unfreeze.images.fit import Fit
from unfreeze.images.values import Bits


class DecodeParams(Section):
    """The `decode` section."""

    image_size: Annotated[int, Field(ge=16, le=4096)]
    """Height and width in pixels at which every image is stored; about 1.15 x the largest training size."""

    fit: Fit
    """How an image becomes square: `crop` its centre, `squish` it, or `pad` it with its own reflection."""

    channels: Channels
    """What is stored of an image: `rgb`; `grey`, one channel; `rgba`, with its transparency as the fourth. Or of
    the records in JSON files the two radar bands and, as the third, their mean or their ratio (`images.bands`)."""

    max_rejected: Annotated[Number, Field(ge=0, le=1)]
    """Largest share of the images, 0..1, that may be rejected before the stage fails."""

    range: Bits = "auto"
    """How many bits a channel the values of 16-bit images fill: `auto`, or 8, 10, 12, 14 or 16. The largest value
    of so many bits is white, larger ones are clipped. `auto` takes the fewest bits that hold every value of the
    data set, and decode prints them. One range holds for all images, those that `unfreeze predict` is given too.
    Images of 8 bits stay as they are."""

    max_pixels: Annotated[int, Field(ge=1)] = MAX_PIXELS
    """Images of more pixels are rejected: a small file can hold a picture that fills the memory. The default,
    200 million, leaves room for photographs of 108 megapixels. A process takes 4 bytes a pixel, and a fraction of
    that for a JPEG that is stored much smaller."""

    @property
    def bands(self) -> bool:
        """Whether the pictures are bands of measured values in JSON files, instead of image files."""
        return self.channels.startswith("bands")

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.bands and self.fit != "crop":
            yield (
                f"decode.fit = {self.fit} has no effect with decode.channels = {self.channels}: bands are stored "
                "as they are; set crop"
            )
        if self.bands and self.range != "auto":
            yield (
                f"decode.range = {self.range} has no effect with decode.channels = {self.channels}: bands are "
                "stored as they are; set auto"
            )
