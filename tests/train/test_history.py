from unfreeze.core import tables
from unfreeze.task.base import Score
from unfreeze.train.fit import Step
from unfreeze.train.history import History


def test_the_history_counts_on_over_phases(tmp_path):
    with History(tmp_path, "accuracy") as history:
        steps = [Step(0, 0, 0.1, 2.0), Step(1, 0, 0.05, 1.0)]
        history.record(steps, "frozen", Score(loss=0.9, value=0.5, thresholds={}))
        history.record([Step(0, 0, 0.1, 0.5)], "unfrozen", Score(loss=0.4, value=0.75, thresholds={}))
    assert tables.read(tmp_path / "epochs.csv").to_dict("records") == [
        {"epoch": "0", "phase": "frozen", "train_loss": "1.5", "valid_loss": "0.9", "valid_score": "0.5"},
        {"epoch": "1", "phase": "unfrozen", "train_loss": "0.5", "valid_loss": "0.4", "valid_score": "0.75"},
    ]
    steps = tables.read(tmp_path / "steps.csv", {"step": "int", "epoch": "int"})
    assert steps.to_numpy().tolist() == [[0, 0], [1, 0], [2, 1]]
    live = (tmp_path / "live/plots/metrics/valid/accuracy.tsv").read_text().splitlines()
    assert live == ["step\taccuracy", "0\t0.5", "1\t0.75"]


def test_the_best_epoch_is_of_the_highest_score_then_of_the_lowest_loss_among_those_that_may_be(tmp_path):
    def record(loss, value, **more):
        return history.record([Step(0, 0, 0.1, 1.0)], "unfrozen", Score(loss, value, {}), **more)

    with History(tmp_path, "f2", writes=False) as history:
        record(0.1, 0.9, may_be_best=False)
        assert history.best is None and history.summary() == {"epochs": 0}
        first = record(0.5, 0.7)
        assert history.best is first
        better = record(0.4, 0.7)
        record(0.4, 0.7)
        record(0.1, 0.6)
    assert history.best is better
    assert history.summary() == {"epochs": 5, "best_epoch": 2, "valid": {"loss": 0.1, "f2": 0.6}}
    assert list(tmp_path.iterdir()) == []  # it writes nothing


def test_a_history_goes_on_from_its_state(tmp_path):
    with History(tmp_path / "whole", "accuracy") as whole:
        whole.record([Step(0, 0, 0.1, 2.0)], "frozen", Score(0.9, 0.5, {}))
        state = whole.state()
        whole.record([Step(0, 0, 0.1, 0.5)], "unfrozen", Score(0.4, 0.75, {}))
    with History(tmp_path / "again", "accuracy", state) as again:
        again.record([Step(0, 0, 0.1, 0.5)], "unfrozen", Score(0.4, 0.75, {}))
    assert (again.steps, again.epochs, again.best) == (whole.steps, whole.epochs, whole.best)
    for name in ("steps.csv", "epochs.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
