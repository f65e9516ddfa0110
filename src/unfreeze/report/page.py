"""The report: one HTML page that needs no other file and no network.

It is complete without its script, which adds what can be clicked. Its size is bounded whatever the data: galleries
by class stop at a number of bytes, tables at a number of lines, and the page says what it left out. Names from the
data are hostile: jinja2 escapes them, the script only ever sets them as text, and the page's
Content-Security-Policy forbids all requests and any script but this one.
"""

from typing import Any

import numpy as np

from unfreeze.core.console import UserError
from unfreeze.report import making
from unfreeze.report.album import TINY, Album, PixelArray, choose_side
from unfreeze.report.charts import draw_charts
from unfreeze.report.intervals import compute_intervals
from unfreeze.report.results import Results
from unfreeze.report.sections import confusion, data, feature_map, galleries, gradcam, problems, scores, search
from unfreeze.report.template import hash_script, load_template, read_beside
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions
from unfreeze.task.split_table import PARTS


def render(results: Results, pixels: PixelArray, params: dict[str, Any]) -> str:
    """Return the page as HTML text.

    Args:
        results: see `Results`.
        pixels: uint8 `[M, S, S, 3]`, may be a memory map: only the pictures shown are read.
        params: params.yaml, as far as it has to do with the result.

    Raises:
        UserError: predictions.csv names a row that `pixels` does not have.
    """
    split = "test" if "test" in results.metrics else "valid"
    shown = _take_labelled(results.predictions, split)
    if len(shown.row) and (shown.row.min() < 0 or shown.row.max() >= len(pixels)):
        raise UserError(f"predictions.csv names a row outside the {len(pixels)} stored images: run dvc repro")
    seed, count = params["seed"], params["report"]["per_gallery"]
    expected = min(len(shown.row), (3 + 2 * len(shown.classes)) * count)
    album = Album(pixels, choose_side(pixels, shown.row, count=expected, room=galleries.MOST_BYTES))
    intervals = compute_intervals(results.metrics[split]["tta"], shown, seed)
    searched = search.build(shown, pixels)
    finetuned = len(results.finetune.epochs) > 0
    recipe, changes = making.find_closest_recipe(params, results.recipes)
    script = read_beside("viewer.js") + "\n" + read_beside("page.js")
    return load_template("page.html.j2").render(
        multi=shown.task.kind == Multi.kind,
        split=split,
        split_name={"test": "test", "valid": "validation"}[split],
        classes=shown.classes,
        score=scores.build(results.metrics, shown, split, intervals, finetuned),
        finetuned=finetuned,
        cross_validation=results.cross_validation,
        galleries=galleries.build(shown, album, count=count, seed=seed),
        search=searched,
        confusion=confusion.build(results.confusion, results.per_class, shown.task, split),
        gradcam=gradcam.build(results, shown, pixels, params["model"]["image_size"]),
        problems=problems.build(results, album),
        has_features=len(results.features) > 0,
        charts=draw_charts(results, shown, split),
        map=feature_map.build(results, shown, count=len(searched["images"]), seed=seed),
        data=data.build(results),
        params=params,
        all_params=making.flatten(params),
        making={"recipe": recipe, "changes": changes},
        size=pixels.shape[1],
        tiny=pixels.shape[1] <= TINY,
        style=read_beside("page.css"),
        script=script,
        script_hash=hash_script(script),
    )


def _take_labelled(predictions: Predictions, split: str) -> Predictions:
    """Return the predictions of the images of a split that have a label."""
    return predictions.take(np.flatnonzero((predictions.split == PARTS.index(split)) & predictions.labelled))
