"""Stored images as they are shown: RGB in 8 bits, whatever the network sees of them."""

import numpy as np

from unfreeze import draws

SAMPLE = 256
"""Images that the scale of measured values is taken from."""
SHARES = (1.0, 99.5)
"""Percentiles of a channel that become black and full colour; a few values beyond them say nothing."""


class Pictures:
    """An array of stored images `[N, S, S, C]`, read as uint8 `[S, S, 3]` each.

    RGB is shown as it is, grey in three equal channels, and what is transparent on white. Measured values (float)
    get false colours: each channel is red, green or blue, scaled alike in all pictures to make them comparable.
    """

    def __init__(self, pixels: np.ndarray, seed: int) -> None:
        self.pixels, self.shape = pixels, (*pixels.shape[:3], 3)
        if pixels.dtype != np.uint8 and len(pixels):
            some = np.sort(draws.generator(seed, "report", "scale").permutation(len(pixels))[:SAMPLE])
            self.low, self.high = np.percentile(pixels[some], SHARES, axis=(0, 1, 2))

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> np.ndarray:
        image = self.pixels[row]
        if image.dtype != np.uint8:
            scaled = (image - self.low) / np.maximum(self.high - self.low, 1e-9)
            return np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
        if image.shape[-1] == 4:
            colours, alpha = image[..., :3].astype(np.float64), image[..., 3:] / 255
            return np.rint(colours * alpha + 255 * (1 - alpha)).astype(np.uint8)
        return np.broadcast_to(image, (*image.shape[:2], 3))
