import json

from unfreeze.images.card import write_card
from unfreeze.images.values import read_ranges
from unfreeze.model.card import StoredData, read_stored_data


def test_the_network_s_card_takes_what_is_written(tmp_path):
    card, normalisation, numbers = (tmp_path / f"{name}.json" for name in ("card", "normalisation", "numbers"))
    write_card(card, image_size=75, fit="crop", channels="bands_mean")
    assert list(json.loads(card.read_text()).items()) == [
        ("image_size", 75), ("fit", "crop"), ("channels", "bands_mean"),
    ]  # fmt: skip
    normalisation.write_text('{"mean": [], "std": []}')
    numbers.write_text("[]")
    assert read_stored_data(card, normalisation, numbers) == StoredData(
        image_size=75, fit="crop", channels="bands_mean", normalisation={"mean": [], "std": []}, numbers=[]
    )


def test_ranges_go_along_where_there_are_any(tmp_path):
    card, normalisation, numbers = (tmp_path / f"{name}.json" for name in ("card", "normalisation", "numbers"))
    ranges = {"integers": (0, 4095), "floats": (-1.5, 2.0)}
    write_card(card, image_size=75, fit="crop", channels="grey", ranges=ranges)
    normalisation.write_text('{"mean": [], "std": []}')
    numbers.write_text("[]")
    data = read_stored_data(card, normalisation, numbers)
    assert data.ranges == {"integers": [0, 4095], "floats": [-1.5, 2.0]}
    assert read_ranges(data.ranges) == ranges
