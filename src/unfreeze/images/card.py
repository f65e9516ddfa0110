"""data/images/card.json: how every image is stored. Later stages read it and need no decoder to know."""

from collections.abc import Mapping
from pathlib import Path

from unfreeze.core.files import write_json


def write_card(
    path: Path,
    *,
    image_size: int,
    fit: str,
    channels: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Write the settings that made the pixels, under the keys that `model.card.read_stored_data` takes.

    Args:
        image_size: height and width in pixels.
        fit, channels: `decode.fit` and `decode.channels` of params.yaml.
        ranges: black and white of each kind of values of more than 8 bits (`values.Ranges`). Without any, the
            card has no such key.
    """
    card = {"image_size": image_size, "fit": fit, "channels": channels}
    write_json(path, {**card, "ranges": ranges} if ranges else card)
