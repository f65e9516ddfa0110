"""Labels from folders, records or a label file; train, valid and test; what is standardised: data/split.csv..."""

import sys

from unfreeze.core import files, paths, tables
from unfreeze.core.arrays import open_array, write_array
from unfreeze.core.console import run
from unfreeze.core.params import load
from unfreeze.labels.check import check_classes
from unfreeze.labels.params import SplitParams
from unfreeze.labels.sources import read_images, read_labels
from unfreeze.labels.split import make_splits
from unfreeze.labels.standard import standardise
from unfreeze.labels.summary import describe_splits
from unfreeze.task.kinds import TASKS
from unfreeze.task.split_table import write_split


def main() -> str:
    params = load("split", split=SplitParams).split
    task = TASKS[params.kind]

    # 1. Read what is known of each image.
    images = read_images(params.labels)
    labels, unmatched = read_labels(images, params)

    # 2. Decide where it goes.
    splits = make_splits(labels, images["pixels_sha256"], params)
    for warning in check_classes(labels, splits.split, task):
        print(f"split: {warning}", file=sys.stderr)

    # 3. Write it down.
    image_paths = images["path"].tolist()
    write_split(
        paths.SPLIT_CSV,
        task=task,
        paths=image_paths,
        labels=[label.label for label in labels],
        split=splits.split,
        fold=splits.fold,
    )
    duplicates = ((image_paths[d.image], image_paths[d.kept], d.action) for d in splits.duplicates)
    tables.write_rows(paths.DUPLICATES_CSV, ["path", "same_as", "action"], duplicates)
    tables.write_rows(paths.UNMATCHED_CSV, ["name", "reason"], unmatched)

    # 4. Standardise by the images that train.
    standard = standardise(
        pixels=open_array(paths.PIXELS),
        numbers=[label.numbers for label in labels],
        names=params.numbers,
        split=splits.split,
    )
    files.write_json(paths.NORMALISATION, standard.channels)
    files.write_json(paths.NUMBERS_JSON, standard.columns)
    write_array(paths.NUMBERS, standard.inputs)
    return describe_splits(labels, splits, unmatched, task)


if __name__ == "__main__":
    run("split", main)
