"""What every task promises to the other rooms: the same checks for each kind."""

import numpy as np
import pytest
import torch

from unfreeze.task.base import Task
from unfreeze.task.kinds import TASKS, build_task

CLASSES = list("abcdefg")
LABELS = {
    "single": ["a", "g", "c", "c", "f", "b", "e", "d", "a", "b"],
    "multi": ["a", "a g", "-", "b c d", "f", "a b", "e", "-", "d g", "a b c d e f g"],
}
"""Of ten images, together all classes."""


def count_classes(task: Task, targets: np.ndarray) -> np.ndarray:
    """Count the images of each class, by what the task calls them."""
    named = [task.names(label) for label in task.describe(targets)]
    return np.array([sum(name in names for names in named) for name in task.classes])


@pytest.fixture(params=TASKS)
def task(request) -> Task:
    return TASKS[request.param](CLASSES)


@pytest.fixture
def targets(task) -> np.ndarray:
    return task.encode(LABELS[task.kind])


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(10, len(CLASSES), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def probabilities(task, logits) -> np.ndarray:
    return task.activate(logits)


@pytest.fixture
def thresholds(task, probabilities, targets) -> list[float] | None:
    """Those of each label, where the task uses any."""
    return task.tune(probabilities, targets).get("per_label")


def perfect(task, targets) -> np.ndarray:
    """Probabilities without a doubt."""
    return task.activate(100 * (2 * task.mixable(torch.from_numpy(targets)) - 1))


# Labels


def test_a_kind_is_known_by_its_name_and_its_heading():
    assert {kind: task.kind for kind, task in TASKS.items()} == {kind: kind for kind in TASKS}
    assert len({task.label_column for task in TASKS.values()}) == len(TASKS)


def test_labels_come_back(task, targets):
    labels = LABELS[task.kind]
    assert task.describe(targets) == labels
    assert type(task).of_labels([*labels, ""]).classes == CLASSES
    assert sorted({name for label in labels for name in task.names(label)}) == CLASSES
    assert task.is_labelled(targets).all()
    np.testing.assert_array_equal(task.encode(task.describe(targets)), targets)


def test_an_image_that_nobody_labelled_has_a_blank_target(task, targets):
    blank = task.blank_targets(3)
    assert blank.dtype == targets.dtype and blank.shape[1:] == targets.shape[1:] and len(blank) == 3
    assert not task.is_labelled(blank).any() and task.describe(blank) == [""] * 3
    np.testing.assert_array_equal(task.encode(["", "", ""]), blank)
    assert task.names("") == [] and task.blank_targets(0).shape == (0, *targets.shape[1:])
    mixed = task.encode(["", LABELS[task.kind][0]])
    assert task.is_labelled(mixed).tolist() == [False, True]


def test_an_unknown_class_is_a_key_error(task):
    with pytest.raises(KeyError, match="cow"):
        task.encode(["a", "cow"])


def test_classes_are_counted_among_the_known(task, targets):
    counts = count_classes(task, np.concatenate([targets, task.blank_targets(2)]))
    labels = LABELS[task.kind]
    assert counts.tolist() == [sum(name in task.names(label) for label in labels) for name in CLASSES]
    assert counts.dtype == np.int64


# Training


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixable_targets_have_the_loss_of_plain_ones(task, targets, logits, smoothing):
    plain = torch.from_numpy(targets)
    mixable = task.mixable(plain)
    assert mixable.dtype == torch.float32 and mixable.shape == logits.shape
    loss = task.loss(logits, plain, smoothing)
    assert loss.item() == pytest.approx(task.loss(logits, mixable, smoothing).item(), rel=1e-6)
    half = 0.5 * mixable + 0.5 * mixable.flip(0)
    mean = (task.loss(logits, mixable, smoothing) + task.loss(logits, mixable.flip(0), smoothing)) / 2
    assert task.loss(logits, half, smoothing).item() == pytest.approx(mean.item(), rel=1e-5)


def test_smoothing_costs_a_sure_network(task, targets):
    plain = torch.from_numpy(targets)
    sure = 20 * (2 * task.mixable(plain) - 1)
    assert task.loss(sure, plain).item() < 1e-6 < 0.1 < task.loss(sure, plain, 0.1).item()


def test_the_loss_of_half_precision_is_that_of_32_bits(task, targets, logits):
    plain, half = torch.from_numpy(targets), logits.bfloat16()
    assert task.loss(half, plain).dtype == torch.float32
    assert task.loss(half, plain).item() == task.loss(half.float(), plain).item()


def test_weights_lift_what_is_rare(task, targets, logits):
    plain = torch.from_numpy(targets)
    weight = task.loss_weight(plain)
    assert weight.dtype == torch.float32 and weight.shape == (len(CLASSES),) and (weight > 0).all()
    counts = count_classes(task, targets)
    assert weight[counts.argmin()] > weight[counts.argmax()]
    assert torch.isfinite(task.loss(logits, task.mixable(plain), weight=weight))


def test_the_score_of_an_epoch_is_that_of_the_evaluation(task, targets, logits, probabilities):
    plain = torch.from_numpy(targets)
    score, scores = task.score(logits, plain), task.scores(probabilities, targets)
    assert score.loss == pytest.approx(task.loss(logits, plain).item(), rel=1e-5)
    assert score.loss == pytest.approx(scores["log_loss"])
    assert score.value == pytest.approx(scores[task.headline])
    assert score.thresholds == task.tune(probabilities, targets)


# Probabilities and decisions


def test_probabilities_are_of_64_bits(task, logits, probabilities):
    assert probabilities.dtype == np.float64 and probabilities.shape == logits.shape
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert np.allclose(task.activation()(logits).numpy(), probabilities, atol=1e-6)


def test_thresholds_are_there_where_the_task_uses_any(task, probabilities, targets):
    tuned = task.tune(probabilities, targets)
    assert tuned.keys() == ({"global", "per_label"} if task.uses_thresholds else set())
    assert all(len(each) == len(CLASSES) and 0 <= min(each) <= max(each) <= 1 for each in tuned.values())
    assert type(build_task(CLASSES, tuned)) is type(task)


def test_decisions_are_targets(task, probabilities, thresholds):
    predicted = task.decide(probabilities, thresholds)
    labels = task.describe(predicted)
    np.testing.assert_array_equal(task.encode(labels), predicted)
    assert task.is_labelled(task.encode(labels)).all()  # a decision is never "nobody knows"
    confidence = task.confidence(probabilities, predicted)
    for p, label, sure in zip(probabilities, labels, confidence, strict=True):
        given = [p[CLASSES.index(name)] for name in task.names(label)]
        assert sure == (min(given) if given else 1 - p.max())


def test_without_a_doubt_all_is_right_and_nothing_uncertain(task, targets):
    p = perfect(task, targets)
    thresholds = task.tune(p, targets).get("global")
    predicted = task.decide(p, thresholds)
    np.testing.assert_array_equal(predicted, targets)
    assert task.uncertainty(p, thresholds) == pytest.approx(np.zeros(10), abs=1e-12)
    assert task.confidence(p, predicted) == pytest.approx(np.ones(10))
    wrong, _ = task.rank_mistakes(p, targets)
    assert (wrong < 1e-9).all()
    scores = task.scores(p, targets, thresholds)
    assert scores[task.headline] == 1 and scores["log_loss"] < 1e-6


def test_uncertainty_is_between_none_and_a_tie(task, probabilities, thresholds):
    uncertainty = task.uncertainty(probabilities, thresholds)
    assert uncertainty.shape == (10,) and ((uncertainty >= 0) & (uncertainty <= 1)).all()
    tie = np.full((1, len(CLASSES)), 1 / len(CLASSES))
    assert task.uncertainty(tie, tie[0].tolist()) == pytest.approx([1])


def test_the_worst_mistake_ranks_first_with_the_classes_that_tell_why(task, targets):
    p = perfect(task, targets)
    p[4] = p[4, ::-1]  # an f that is taken for a b
    wrong, two = task.rank_mistakes(p, targets)
    assert wrong.argmax() == 4 and wrong[4] == pytest.approx(1)
    assert two.shape == (10, 2) and sorted(CLASSES[c] for c in two[4]) == ["b", "f"]


# Metrics


def test_the_headline_is_the_first_of_the_metrics_and_all_are_scores(task, probabilities, targets, thresholds):
    assert task.metrics[0].key == task.headline and task.metrics[0].higher_is_better
    scores = task.scores(probabilities, targets, thresholds)
    assert next(iter(scores)) == "count" and scores["count"] == 10
    assert {metric.key for metric in task.metrics} <= scores.keys()
    assert len({metric.key for metric in task.metrics}) == len(task.metrics)


def test_each_metric_is_better_in_its_direction(task, targets):
    rng = np.random.default_rng(0)
    good = 0.7 * perfect(task, targets) + 0.3 * task.activate(torch.from_numpy(rng.normal(size=(10, 7))))
    bad = task.activate(torch.from_numpy(rng.normal(size=(10, 7))))
    better, worse = task.scores(good, targets), task.scores(bad, targets)
    for metric in task.metrics:
        if metric.key != "ece":  # a cautious guess can be well calibrated
            assert metric.sign * better[metric.key] > metric.sign * worse[metric.key], metric.key


def test_the_columns_of_the_tables_are_those_of_their_rows(task, probabilities, targets, thresholds):
    per_class = task.per_class(probabilities, targets, thresholds)
    assert len(per_class) == len(CLASSES)
    assert {tuple(row) for row in per_class} == {task.per_class_columns}
    confusion = task.confusion(probabilities, targets, thresholds)
    assert confusion and {tuple(row) for row in confusion} == {task.confusion_columns}
    reliability = task.reliability(probabilities, targets)
    assert {tuple(row) for row in reliability} == {("confidence", "accuracy", "count")}


def test_support_is_the_images_of_a_class(task, probabilities, targets, thresholds):
    per_class = task.per_class(probabilities, targets, thresholds)
    assert [row["support"] for row in per_class] == count_classes(task, targets).tolist()


def test_pairs_are_names_of_classes_or_of_nothing(task, targets):
    right = task.pairs(perfect(task, targets), targets, [0.5] * len(CLASSES))
    assert all(actual == predicted and actual in CLASSES for actual, predicted in right)
    assert len(right) == count_classes(task, targets).sum()


def test_folds_have_a_mean_and_a_deviation_of_the_headline(task, probabilities, targets):
    folds = np.array([0, 1, 0, 1, 0, 1, 0, 1, -1, -1])
    scores = task.fold_scores(probabilities, targets, folds)
    assert scores["folds"] == 2 and scores[task.headline].keys() == {"mean", "std"}
    assert len(scores) == 3 and {*scores} - {"folds"} <= {metric.key for metric in task.metrics}


def test_a_baseline_says_the_same_of_every_image(task, targets):
    for guess in task.baselines(targets).values():
        assert guess.shape == (len(CLASSES),) and guess.dtype == np.float64
        scores = task.scores(np.broadcast_to(guess, (10, len(CLASSES))), targets)
        assert 0 < scores[task.headline] < 1


# Submissions


def test_a_submission_without_a_sample(task):
    assert task.submission_format in ("labels", "probabilities", "flags") and task.submission_heading
    assert task.submission_label("a") == "a"
    assert {task.submission_label(label) for label in LABELS[task.kind]} <= {*LABELS[task.kind], ""} - {"-"}


def test_a_sample_of_names_asks_for_labels(task):
    assert task.infer_submission_format("sample.csv", "x", {"a", "b"}) == "labels"
    assert task.infer_submission_format("sample.csv", "x", {""}) == "labels"
    assert not task.has_positive
