import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up_results import params, pixels, results, several, table, without_lines
from PIL import Image

from unfreeze.core.console import UserError
from unfreeze.report import similarity
from unfreeze.report.album import encode_thumbnail
from unfreeze.report.page import render
from unfreeze.report.results import DUPLICATES, REJECTED
from unfreeze.report.template import shorten
from unfreeze.task.multi import Multi

VOID = {"meta", "img", "wbr", "br", "path", "use"}


class Outline(HTMLParser):
    """The tags, attributes and visible text of a page; fails on a tag that is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th", "p", "h3"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data


def squeezed(html: str) -> str:
    """The visible text with single spaces, and with x and - for the signs that look like them."""
    text = Outline(html).text.replace("\N{MULTIPLICATION SIGN}", "x").replace("\N{EN DASH}", "-")
    return " ".join(text.split())


def test_the_page_is_the_same_each_time_and_needs_nothing_else() -> None:
    html = render(results(["cat", "dog"], 20), pixels(20), params())
    assert html == render(results(["cat", "dog"], 20), pixels(20), params())
    page = Outline(html)
    assert [attributes.get("type") for tag, attributes in page.tags if tag == "script"] == [
        "application/json",
        None,
    ]
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object")]
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert "url(http" not in html
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_image_has_an_alternative_text_and_its_caption() -> None:
    page = Outline(render(results(["cat", "dog"], 20), pixels(20), params()))
    images = [attributes for tag, attributes in page.tags if tag == "img" and "data-row" in attributes]
    # 4 correct, 3 incorrect, 4 uncertain, 4 most correct of each class, all 2 + 1 incorrect ones
    assert len(images) == 4 + 3 + 4 + 8 + 3
    assert all(re.fullmatch(r"(cat|dog), predicted (cat|dog) with 80\.0%", image["alt"]) for image in images)
    assert "✗ dog 80.0% is cat 20.0% cat/0.png" in " ".join(page.text.split())


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'&_/<b>{{ 7*7 }}"]
)
def test_hostile_names_are_only_text(name: str) -> None:
    given = results([name, "dog"], 12)
    given = replace(
        given, rejected=table(REJECTED, (name, name)), duplicates=table(DUPLICATES, (name, name, "dropped"))
    )
    html = render(given, pixels(12), params(weights=name))
    page = Outline(html)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert html.count("</script>") == 2
    assert all(attributes["src"].startswith("data:") for tag, attributes in page.tags if tag == "img")
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert name in page.text
    assert "default-src 'none'" in next(a["content"] for t, a in page.tags if a.get("http-equiv"))


def test_the_sentence_says_what_was_trained_and_judged() -> None:
    text = squeezed(render(results(["cat", "dog"], 20), pixels(20), params()))
    assert "85.0% accuracy on 20 test images" in text
    assert "resnet18 with the weights IMAGENET1K_V1, trained on 0 images of 2 classes at 8 x 8 pixels" in text
    assert "took no part in training" in text
    text = squeezed(render(results(["cat", "dog"], 20, split="valid"), pixels(20), params(weights="none")))
    assert "accuracy on 20 validation images" in text
    assert "no transfer took place" in text
    assert "no labelled test images" in text


def test_a_perfect_model_is_told_so() -> None:
    text = squeezed(render(results(["cat", "dog"], 12, wrong=0), pixels(12), params()))
    assert "No mistakes here: every image was recognised." in text
    assert "No mistakes here, in any class." in text
    assert "No two classes are confused." in text


def test_a_model_that_is_always_wrong_has_a_page_too() -> None:
    text = squeezed(render(results(["cat", "dog"], 12, wrong=12), pixels(12), params()))
    assert "No image was recognised" in text
    assert "None of its images was recognised." in text


def test_numbers_stand_side_by_side_and_undefined_ones_are_dashes() -> None:
    given = results(["cat", "dog"], 20)
    ways = given.metrics["test"]
    valid = {"head": {**ways["plain"], "accuracy": 0.25, "top5": 0.75}, **ways}
    given = replace(given, metrics={"valid": valid, "test": ways})
    text = squeezed(render(given, pixels(20), params()))
    assert "20 validation head alone 25.0% 11.2-46.9% 75.0% 0.250 - 0.100" in text
    assert re.search(r"20 test whole network, TTA 85\.0% 64\.0-94\.8% - 0\.250 0\.\d+-0\.\d+ - 0\.100", text)
    assert "TTA +35.0 points" in text


def test_several_labels_have_a_page_of_their_own() -> None:
    html = render(several(), pixels(6), params())
    assert html == render(several(), pixels(6), params())
    text = squeezed(html)
    assert "0.565 F2 on 6 test images, 95% interval" in text and "of 3 labels at" in text
    low, high = map(float, re.search(r"95% interval ([\d.]+) to ([\d.]+)", text).groups())
    # F2 of the images: 1, 5/9, 5/6, 1, 0, 0
    assert 0.2 < low < (1 + 5 / 9 + 5 / 6 + 1) / 6 < high < 0.95
    assert "took no part in training" in text and "thresholds were tuned on them" not in text
    assert "6 test label frequencies 0.565 0.500 33.3% 0.250 0.500 - 0.500" in text
    assert "true ↓" not in text and "Confusions" not in text and "confused" not in text
    assert "<i>owl 0.500 0.250 0.500 - - 2" in text
    assert "all 6 6" in text and "cat 3 3" in text and "no label 2 2" in text
    given = text[text.index("Most wrongly given") : text.index("Most uncertain")]
    assert given.index("<i>owl") < given.index("✗ <i>owl 95.0% 4.png") and "✗ cat 60.0% 2.png" in given
    missed = text[text.index("Most missed") : text.index("Most wrongly given")]
    assert "○ dog 30.0% 1.png" in missed and "○ cat 40.0% 5.png" in missed and "owl" not in missed
    assert "✓ no label 3.png" in text
    alt = [attributes["alt"] for tag, attributes in Outline(html).tags if tag == "img"]
    assert "right: cat 80.0%, missed: dog 30.0%" in alt and "no label" in alt


def test_without_test_labels_the_page_says_what_the_thresholds_were_tuned_on() -> None:
    text = squeezed(render(several("valid", unlabelled=True), pixels(6), params()))
    assert "also guided the training, and the thresholds were tuned on them, so take this number" in text
    assert "unlabelled 1 1" in text and "5.png" not in text
    folds = {"folds": 3, "f2": {"mean": 0.5, "std": 0.25}, "map": {"mean": 0.25, "std": 0.125}}
    given = replace(several(), cross_validation=folds)
    assert "over 3 folds: F2 0.500 ± 0.250, mAP 0.250 ± 0.125 (mean" in squeezed(
        render(given, pixels(6), params())
    )


def test_many_labels_and_noisy_pictures_stay_under_8_mb() -> None:
    rng = np.random.default_rng(0)
    actual, predicted = (rng.integers(0, 2, (600, 60)).astype(np.float32) for _ in range(2))
    given = several()
    shown = replace(
        given.predictions, task=Multi([f"label {i}" for i in range(60)]), row=np.arange(600),
        path=np.array(["x.png"] * 600, object), split=np.full(600, 2), actual=actual, predicted=predicted,
        uncertainty=np.zeros(600, np.float32), probabilities=rng.random((600, 60), dtype=np.float32),
    )  # fmt: skip
    html = render(
        replace(given, predictions=shown, heat=given.heat[:0], gradcam=given.gradcam[:0]),
        pixels(600, 160),
        params(per_gallery=8),
    )
    assert len(html.encode()) < 8_000_000
    assert re.search(r"\d+ of 60 labels are shown", squeezed(html))


def test_cross_validation_is_shown_with_its_spread() -> None:
    cross_validation = {
        "folds": 5,
        "accuracy": {"mean": 0.95, "std": 0.01},
        "log_loss": {"mean": 0.2, "std": 0.02},
    }
    given = replace(results(["cat", "dog"], 20), cross_validation=cross_validation)
    assert "over 5 folds: accuracy 95.0% ± 1.0%, log loss 0.200 ± 0.020" in squeezed(
        render(given, pixels(20), params())
    )


def test_the_data_are_counted() -> None:
    given = results(["cat", "dog"], 20)
    given = replace(
        given,
        rejected=table(REJECTED, ("a", "empty file"), ("b", "empty file"), ("c", "truncated")),
        duplicates=table(DUPLICATES, ("d", "e", "dropped")),
    )
    text = squeezed(render(given, pixels(20, 16), params()))
    assert (
        "2 images stored at 16 x 16 pixels. The originals are 40 to 80 (median 60) pixels wide and 30 high" in text
    )
    assert "How they were read: labels from folders; 2 classes splits are given by folders: <b>train</b>/" in text
    assert "3 files could not be used: 2 x empty file, 1 x truncated." in text
    assert "1 image with the same pixels as another: 1 x dropped." in text
    assert "all 21 1 22" in text  # one unlabelled test image, one image in no split
    assert "unlabelled 1 0 1" in text


def test_stages_that_did_not_run_have_no_chart() -> None:
    given = results(["cat", "dog"], 20)
    text = squeezed(render(given, pixels(20), params()))
    assert "Learning-rate finder" in text and "Learning-rate finder of the whole network" in text
    given = replace(
        given,
        head=without_lines(given.head, "lr_curve", "steps", "epochs"),
        finetune=without_lines(given.finetune, "lr_curve"),
    )
    text = squeezed(render(given, pixels(20), params()))
    assert "Learning-rate finder" not in text
    assert "Learning-rate schedule" in text
    given = replace(
        given, finetune=without_lines(given.finetune, "steps", "epochs"), reliability=given.reliability[:0]
    )
    text = squeezed(render(given, pixels(20), params()))
    assert "Learning-rate" not in text and "Reliability" not in text and "Losses" not in text and "ROC" in text
    given = replace(given, features=given.features[:0])
    text = squeezed(render(given, pixels(20), params()))
    assert "Map of the features" not in text and "there are no near duplicates and outliers" in text


def test_what_was_not_fine_tuned_is_not_called_so() -> None:
    given = results(["cat", "dog"], 20)
    text = squeezed(render(given, pixels(20), params()))
    assert "whole network, TTA" in text and "backbone frozen and unfrozen" in text
    given.metrics["test"]["head"] = given.metrics["test"]["plain"]
    given = replace(given, finetune=without_lines(given.finetune, "lr_curve", "steps", "epochs"))
    text = squeezed(render(given, pixels(20), params()))
    assert "its backbone frozen and its head trained on 0 images" in text
    assert "frozen backbone and head, TTA" in text and "nothing was fine-tuned" in text
    assert "whole network" not in text and "backbone frozen and unfrozen" not in text
    assert "Accuracy on the test images: TTA +35.0 points" in text


def test_many_classes_and_noisy_pictures_stay_under_8_mb() -> None:
    classes = [f"class {i}" for i in range(120)]
    html = render(results(classes, 2400, wrong=1300), pixels(2400, 160), params(per_gallery=8))
    assert len(html.encode()) < 8_000_000
    text = squeezed(html)
    assert re.search(r"\d+ of 120 classes are shown", text)
    assert "true ↓ predicted →" not in text
    assert 'aria-label="Confusion matrix of 120 classes"' in html
    assert re.search(r"of the 2,400 test images, some of every pair", text)
    assert "Most confused pairs" in text
    assert re.search(r"Most correct of each class .*? class 0 ", text)


def test_only_the_rows_shown_are_read() -> None:
    class Counting(np.ndarray):
        read = 0

        def __getitem__(self, key):
            Counting.read += 1
            return np.asarray(self)[key]

    render(results(["cat", "dog"], 2000), pixels(2000).view(Counting), params(per_gallery=2))
    # 12 to guess their bytes, those in galleries, those to search, those that show where it looked or are suspect
    assert 0 < Counting.read <= 12 + 2 * 3 + 2 * 2 * 2 + 1500 + 3


def test_a_row_that_is_not_stored_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"predictions\.csv names a row outside the 19 stored images"):
        render(results(["cat", "dog"], 20), pixels(19), params())


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_small_images_are_kept_exactly() -> None:
    image = pixels(1, 64)[0]
    assert np.array_equal(np.asarray(decoded(encode_thumbnail(image))), image)


def test_large_images_are_made_small() -> None:
    image = np.full((400, 400, 3), (200, 100, 50), dtype=np.uint8)
    thumb = decoded(encode_thumbnail(image))
    assert thumb.size == (160, 160)
    assert np.abs(np.asarray(thumb).mean((0, 1)) - (200, 100, 50)).max() < 3


def test_long_names_lose_their_middle() -> None:
    assert shorten("a" * 120) == "a" * 120
    assert shorten("a" * 100 + "b" * 100) == "a" * 60 + "…" + "b" * 60


@pytest.mark.parametrize("most, told", [(0, True), (10**6, False)])
def test_it_says_when_not_all_pairs_were_compared_for_near_duplicates(monkeypatch, most, told):
    given = results(["cat", "dog"], 20)
    given.split.loc[16:, "split"] = "train"
    monkeypatch.setattr(similarity, "MOST_PAIRS", most)
    assert ("some may be missing" in render(given, pixels(22), params())) is told
