"""Images as people see them: RGB in 8 bits, whatever the network sees of them."""

import numpy as np

from unfreeze.core import draws

SAMPLE = 256
"""Images that the scale of measured values is taken from."""
PERCENTILES = (1.0, 99.5)
"""Of a channel, that become black and full colour; a few values beyond them say nothing."""


class Pictures:
    """An array of images `[N, S, S, C]` that is read as uint8 `[S, S, 3]`, an image at a time.

    RGB stays as it is, grey gets three equal channels, and what is transparent lies on white. Measured values
    (float) get false colours: each channel becomes red, green or blue. One scale for all pictures makes them
    comparable.
    """

    def __init__(self, pixels: np.ndarray, seed: int) -> None:
        self.pixels, self.shape = pixels, (*pixels.shape[:3], 3)
        if pixels.dtype != np.uint8 and len(pixels):
            rows = np.sort(draws.generator(seed, "report", "scale").permutation(len(pixels))[:SAMPLE])
            self.low, self.high = np.percentile(pixels[rows], PERCENTILES, axis=(0, 1, 2))

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
