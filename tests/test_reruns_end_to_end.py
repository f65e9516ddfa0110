"""Which stages run again when a param, a module or a file changes, asked of DVC on a real run."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from small_project import SMALL, STAGES, copy_run, dvc, ran, set_params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(small_run, tmp_path_factory) -> Path:
    """The whole chain as it was run once on the cut of the sample, to be changed and put back."""
    return copy_run(small_run, tmp_path_factory.mktemp("project"))


TORCH = ["precompute-features", "find-lr", "train-head", "unfreeze-finetune", "tta-evaluate"]
READS = {
    "seed": [*TORCH, "report"],
    "extract": ["extract"],
    "decode": ["decode"],  # whoever else must know how images are stored reads data/images/card.json
    "split": ["split"],
    "model": ["precompute-features", "unfreeze-finetune", "report"],
    "head": ["find-lr", "train-head"],
    "precompute": ["precompute-features"],
    "augment": ["unfreeze-finetune", "tta-evaluate"],
    "find_lr": ["find-lr"],
    "train_head": ["train-head"],
    **{
        f"train_head.{key}": ["find-lr", "train-head"]
        for key in (
            *("batch_size", "optimizer", "momentum", "weight_decay", "label_smoothing", "clip_norm", "balance"),
        )
    },
    "finetune": ["unfreeze-finetune"],
    "tta": ["tta-evaluate"],
    "submission": ["tta-evaluate"],
    "report": ["report"],
    "verify": [],
    "runtime": TORCH,
    "runtime.devices": ["unfreeze-finetune", "report"],
    "runtime.checkpoint_minutes": [],
}
"""Which stages a param is read by: the longest key that fits."""


def changed(folder: Path) -> list[str]:
    """The stages that DVC would run for their own deps and params, in the order of the pipeline.

    Asked in a process of its own, which need not import DVC again.
    """
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def look() -> None:
        os.chdir(folder)  # elsewhere DVC puts the path before the name
        with Repo() as repo:
            sender.send(list(repo.status()))

    process = context.Process(target=look)
    process.start()
    status = receiver.recv()
    process.join()
    return [name for name in STAGES if name in status]


def test_each_param_runs_exactly_the_stages_that_read_it(project):
    content = yaml.safe_load((project / "params.yaml").read_text())
    assert changed(project) == []
    for section, values in content.items():
        for key in values if isinstance(values, dict) else [None]:
            other = yaml.safe_load(yaml.safe_dump(content))
            if key is None:
                other[section] += 1
            else:
                other[section][key] = f"other than {values[key]}"
            (project / "params.yaml").write_text(yaml.safe_dump(other))
            path = section if key is None else f"{section}.{key}"
            reads = READS.get(path, READS[section])
            # The report shows every param that makes a difference.
            assert changed(project) == (reads if "report" in reads or not reads else [*reads, "report"]), path
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    assert changed(project) == []


def test_each_folder_of_modules_runs_exactly_the_stages_that_import_from_it(project):
    modules = {file.parent: file for file in sorted((project / "src").rglob("*.py"))}  # DVC asks by folder
    for file in [*modules.values(), *sorted((project / "stages").glob("*.py"))]:
        content, name = file.read_text(), str(file.relative_to(project))
        file.write_text(content + "# changed\n")
        needing = [
            stage
            for stage, each in STAGES.items()
            if any(dep == name or name.startswith(f"{dep}/") for dep in each["deps"])
        ]
        assert changed(project) == needing, name
        file.write_text(content)
    assert changed(project) == []


WHAT_RUNS = [
    ({"train_head__lr": 0.02}, "train-head"),
    ({"split__valid": 0.3}, "split"),  # features are of all images, whatever the split
    ({"find_lr__steps": 50}, "find-lr"),
    ({"finetune__lr": 0.01}, "unfreeze-finetune"),
    ({"augment__set": "flip"}, "unfreeze-finetune"),
    ({"precompute__views": 1}, "precompute-features"),
    ({"model__image_size": 28}, "precompute-features"),
    ({"model__stem": "small"}, "precompute-features"),
    ({"tta__views": 1}, "tta-evaluate"),
    ({"report__per_gallery": 3}, "report"),
]


@pytest.mark.parametrize(("changes", "first"), WHAT_RUNS, ids=[next(iter(c)) for c, _ in WHAT_RUNS])
def test_a_change_runs_nothing_before_the_stage_that_reads_it(project, changes, first):
    set_params(project, **SMALL | changes)
    planned = ran(dvc(project, "repro", "--dry"))
    set_params(project, **SMALL)
    assert planned[0] == first


def test_another_weights_file_computes_the_features_again(project):
    (project / "weights/mine.safetensors").write_bytes(b"changed")
    planned = ran(dvc(project, "repro", "--dry"))
    (project / "weights/mine.safetensors").unlink()
    assert planned[0] == "precompute-features"


def test_a_new_head_rate_touches_no_image(project):
    set_params(project, **SMALL, train_head__lr=0.02)
    planned = ran(dvc(project, "repro", "--dry"))
    set_params(project, **SMALL)
    assert planned == ["train-head", "report"]  # which shows the params
