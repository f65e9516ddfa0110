"""Labels from folders, records or a label file; train, valid and test; what is standardised: data/split.csv..."""

import sys

from unfreeze.core import paths, tables
from unfreeze.core.arrays import open_array, write_array
from unfreeze.core.console import run
from unfreeze.core.files import write_json
from unfreeze.core.params import load
from unfreeze.labels.check import check_classes
from unfreeze.labels.params import SplitParams
from unfreeze.labels.records import read_record_fields
from unfreeze.labels.sources import read_files, read_images, read_labels
from unfreeze.labels.split import make_splits
from unfreeze.labels.standard import standardise
from unfreeze.labels.summary import summarise
from unfreeze.task.kinds import TASKS
from unfreeze.task.split_table import write_split


def main() -> str:
    params = load("split", split=SplitParams).split
    task = TASKS[params.kind]

    # 1. Read what is known of each image.
    images = read_images(params.labels)
    files = read_files(images)
    records = read_record_fields(images) if params.labels == "records" else None
    reading = read_labels(files, params, records)
    labels = reading.labels

    # 2. Decide where it goes.
    splits = make_splits(labels, images["pixels_sha256"], params)
    for warning in check_classes(labels, splits.split, task):
        print(f"split: {warning}", file=sys.stderr)
    summary = summarise(reading, splits, files.images, params)

    # 3. Write it down.
    write_split(
        paths.SPLIT_CSV,
        task=task,
        paths=files.images,
        labels=[label.label for label in labels],
        split=splits.split,
        fold=splits.fold,
    )
    duplicates = ((files.images[d.image], files.images[d.kept], d.action) for d in splits.duplicates)
    tables.write_rows(paths.DUPLICATES_CSV, ["path", "same_as", "action"], duplicates)
    tables.write_rows(paths.UNMATCHED_CSV, ["name", "reason"], reading.unmatched)
    write_json(paths.SUMMARY, summary)

    # 4. Standardise by the images that train.
    standard = standardise(
        pixels=open_array(paths.PIXELS),
        numbers=[label.numbers for label in labels],
        names=params.numbers,
        split=splits.split,
    )
    write_json(paths.NORMALISATION, standard.channels)
    write_json(paths.NUMBERS_JSON, standard.columns)
    write_array(paths.NUMBERS, standard.inputs)

    # 5. Say what was taken.
    *lines, last = summary["lines"]
    for line in lines:
        print(f"split: {line}")
    return last


if __name__ == "__main__":
    run("split", main)
