"""Three ranks on one CPU end with the weights of one: in 64 bits, where only a fault makes a difference to see."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from train_on_ranks import CASES

SCRIPT = Path(__file__).parents[1] / "train_on_ranks.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What one rank and three left, in a folder for each of them."""
    folder = tmp_path_factory.mktemp("ranks")
    commands = [[sys.executable, SCRIPT, folder, ranks] for ranks in ("1", "3")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in running:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_three_ranks_give_the_weights_and_predictions_of_one(folder, case):
    expected = np.load(folder / "0 of 1" / case / "left.npz")
    losses = json.loads((folder / "0 of 1" / case / "losses.json").read_text())
    assert len(losses) == 12
    for rank in range(3):
        mine = folder / f"{rank} of 3" / case
        left = np.load(mine / "left.npz")
        assert set(left) == set(expected)
        for name in expected:
            assert left[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-11), name
        assert json.loads((mine / "losses.json").read_text()) == pytest.approx(losses, rel=1e-6)


@pytest.mark.slow
def test_the_first_rank_alone_writes_the_history(folder):
    written = {path.parents[1].name for path in folder.glob("*/plain/*.csv")}
    assert written == {"0 of 1", "0 of 3"}
    assert {path.parents[1].name for path in folder.glob("*/plain/live")} == written
