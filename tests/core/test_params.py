"""Every wrong params file is refused with the key's path, the value found and what is allowed."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import modify_yaml

from unfreeze.core import params
from unfreeze.core.console import UserError
from unfreeze.core.params import Seed
from unfreeze.labels.params import SplitParams
from unfreeze.train.schedule import FinetuneParams, StepParams, TrainHeadParams

ROOT = Path(__file__).parents[2]
SAMPLE = yaml.safe_load((ROOT / "params.yaml").read_text())


def check_text(tmp_path, monkeypatch, *edits):
    """Check the sample's params.yaml with edits of its text: (section, key, what to write after the key)."""
    text = (ROOT / "params.yaml").read_text()
    for section, key, value in edits:
        text, found = re.subn(
            rf"(?ms)(^{section}:.*?^  {key}: )[^#\n]*",
            lambda match, new=value: f"{match[1]}{new}  ",
            text,
            count=1,
        )
        assert found
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text)
    return params.check(Path("params.yaml"))


def check(tmp_path, monkeypatch, **changes):
    """Check the sample's params with `changes`, given as {"section__key": value}; None removes the key."""
    content = yaml.safe_load(yaml.safe_dump(SAMPLE))
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = content
        for section in sections:
            place = place[section]
        if value is None:
            del place[key]
        else:
            place[key] = value
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(content))
    return params.check(Path("params.yaml"))


def test_the_sample_and_every_recipe_are_valid():
    files = [ROOT / "params.yaml", *(ROOT / "recipes").glob("*.yaml")]
    for file in files:
        params.check(file)


WRONG = [
    ({"decode__channels": "cmyk"}, r"decode\.channels = 'cmyk': should be 'rgb', 'grey', 'rgba'"),
    (
        {"decode__channels": "bands_mean", "decode__fit": "pad"},
        r"decode\.fit = pad has no effect with decode\.channels = bands_mean: .* set crop",
    ),
    (
        {"decode__channels": "bands_ratio"},
        r"split\.labels = folders: with decode\.channels = bands_ratio labels come from records",
    ),
    (
        {"split__labels": "records"},
        r"split\.labels = records: with decode\.channels = rgb labels come from folders, or a file",
    ),
    (
        {"split__numbers": ["age"]},
        r"split\.numbers = \['age'\] has no effect with split\.labels = folders .*set \[\]",
    ),
    (
        {"split__labels": "a.csv", "split__numbers": ["age", "age"]},
        r"split\.numbers = \['age', 'age'\]: age is the ids, the labels, or named twice",
    ),
    (
        {"split__labels": "a.csv", "split__label_column": "age", "split__numbers": ["age"]},
        r"age is the ids, the labels, or named twice",
    ),
    ({"train_head__lrr": 0.1}, r"train_head\.lrr = 0\.1 is unknown \(did you mean lr\?\); train_head takes: .*lr"),
    ({"trian_head": {}}, r"trian_head is unknown \(did you mean train_head\?\)"),
    ({"tta": None}, "tta is missing"),
    ({"finetune__cycles": None}, r"finetune\.cycles is missing"),
    ({"train_head__lr": "fast"}, r"train_head\.lr = 'fast': should be a valid number"),
    ({"train_head__lr": True}, r"train_head\.lr = True: should be a valid number"),
    ({"train_head__lr": 0}, r"train_head\.lr = 0: should be greater than 0"),
    ({"train_head__lr": float("nan")}, r"train_head\.lr = nan: should be a finite number"),
    ({"train_head__cycles": 2.0}, r"train_head\.cycles = 2\.0: should be a valid integer"),
    ({"train_head__cycles": "3"}, r"train_head\.cycles = '3': should be a valid integer"),
    ({"decode__fit": "stretch"}, r"decode\.fit = 'stretch': should be 'crop', 'squish' or 'pad'"),
    ({"finetune__lr_multipliers": [0.1, 1]}, r"finetune\.lr_multipliers = \[0\.1, 1\]: .*at least 3"),
    ({"finetune__lr_multipliers": [0.1, "a", 1]}, r"finetune\.lr_multipliers\.1 = 'a': "),
    ({"finetune__bn_freeze": 1}, r"finetune\.bn_freeze = 1: .*valid boolean"),
    ({"seed": -1}, r"seed = -1: should be greater than or equal to 0"),
    ({"seed": "one"}, r"seed = 'one': should be a valid integer"),
    ({"model__arch": "resnet19"}, r"model\.arch = 'resnet19': is not a network .* resnet18"),
    ({"model__weights": "weights/none.pth"}, r"model\.weights = 'weights/none.pth': there is no such file"),
    ({"model__image_size": 64}, r"model\.image_size = 64: .* decode\.image_size = 36"),
    ({"model__arch": "inception_v3"}, r"model\.image_size = 32: inception_v3 takes 75 pixels or more"),
    ({"split__valid": 1.5}, r"split\.valid = 1\.5: .*share from 0 up to 1"),
    ({"split__valid": 0}, r"split\.valid = 0: training needs images"),
    ({"split__valid": 0.5, "split__test": 0.5}, r"split\.valid \+ split\.test = 1\.0"),
    ({"split__folds": 1}, r"split\.folds = 1"),
    (
        {"split__labels": "labels.xlsx"},
        r"split\.labels = 'labels\.xlsx': must be `folders`, `names`, `records`, or the name of a \.csv",
    ),
    ({"split__kind": "multi"}, r"split\.kind = multi: with split\.labels = folders"),
    ({"split__id_column": "id"}, r"split\.id_column = id has no effect with split\.labels = folders .*set .auto"),
    (
        {"split__group": "patient"},
        r"split\.group = patient has no effect with split\.labels = folders .*set .none",
    ),
    (
        {"split__labels": "a.csv", "split__kind": "multi", "split__valid": 33},
        r"split\.valid = 33: images a class can be counted out only with one class an image .*; set 0\.2",
    ),
    ({"split__labels": "a.csv", "split__group": "p", "split__train": 5}, r"split\.train = 5: .*; set all"),
    ({"head__dropout": [0.5]}, r"head\.dropout = \[0\.5\]: takes 2 values"),
    ({"finetune__snapshots": 4}, r"finetune\.snapshots = 4: there are only finetune\.cycles = 3"),
    ({"find_lr__lr_max": 1e-6}, r"find_lr\.lr_max = 1e-06: must be above find_lr\.lr_min"),
    ({"model__stem": "tiny"}, r"model\.stem = 'tiny': should be 'imagenet' or 'small'"),
    ({"model__stem": "small", "model__arch": "vgg11"}, r"model\.stem = small: vgg11 has none; .* resnet18"),
    ({"finetune__sizes": [16, 24]}, r"finetune\.sizes = \[16, 24\]: must end with model\.image_size = 32"),
    (
        {"finetune__sizes": [16, 32], "model__arch": "vgg11"},
        r"finetune\.sizes = \[16, 32\]: vgg11 takes 32 pixels or more",
    ),
    (
        {"finetune__sizes": [16, 32], "model__arch": "vit_b_32"},
        r"finetune\.sizes = .*: vit_b_32 is built for one size",
    ),
    ({"finetune__lr": "auto"}, r"finetune\.lr = auto: needs a range test, set finetune\.find_lr = 100"),
    ({"finetune__find_lr": 5}, r"finetune\.find_lr = 5: a range test takes 20 steps or more"),
    (
        {"finetune__lr": "auto", "finetune__find_lr": 50, "precompute__skip": True},
        r"finetune\.lr = auto: the frozen cycles take their rate from train-head",
    ),
    ({"runtime__device": "auto"}, r"runtime\.device = auto: with runtime\.strict = true it must be 'cpu'"),
    ({"runtime__precision": "bf16"}, r"runtime\.precision = bf16: with runtime\.strict = true it must be '32'"),
    ({"runtime__threads": "auto"}, r"runtime\.threads = auto: with runtime\.strict = true it must be a number"),
    ({"runtime__devices": 2}, r"runtime\.devices = 2: with runtime\.strict = true it must be 1"),
    ({"runtime__devices": 0}, r"runtime\.devices = 0: should be .* 1"),
    ({"runtime__checkpoint_minutes": 0}, r"runtime\.checkpoint_minutes = 0: should be greater than 0"),
    ({"submission__sample": "sample.xlsx"}, r"submission\.sample = 'sample\.xlsx': must be `none`, or .* \.csv"),
    ({"submission__format": "text"}, r"submission\.format = 'text': should be 'auto', 'labels'"),
    # options without effect
    ({"submission__positive": "dog"}, r"submission\.positive = dog has no effect with submission\.sample = none"),
    (
        {"precompute__set": "none", "precompute__views": 4},
        r"precompute\.views = 4 has .*set = none",
    ),
    ({"precompute__skip": True, "split__folds": 5}, r"split\.folds = 5 has no effect with precompute\.skip"),
    ({"augment__set": "none"}, r"tta\.views = 4 has no effect with augment\.set = none"),
    (
        {"precompute__skip": True, "finetune__skip": True},
        r"finetune\.skip = true: .*precompute\.skip = true nothing",
    ),
    (
        {"precompute__skip": True, "finetune__cycles": 0, "finetune__frozen_cycles": 0},
        r"finetune\.cycles = 0 and finetune\.frozen_cycles = 0: .*precompute\.skip = true nothing",
    ),
    ({"tta__thresholds": "per_label"}, r"tta\.thresholds = per_label has no effect with split\.kind = single"),
    (
        {"split__labels": "a.csv", "split__kind": "multi", "train_head__balance": "sample"},
        r"train_head\.balance = sample: .*; set loss or none",
    ),
    (
        {"split__labels": "a.csv", "split__kind": "multi", "finetune__balance": "sample"},
        r"finetune\.balance = sample: .*; set loss or none",
    ),
    ({"finetune__balance": True}, r"finetune\.balance = True: should be 'none', 'loss' or 'sample'"),
    (
        {"model__arch": "squeezenet1_1", "finetune__bn_freeze": True},
        r"finetune\.bn_freeze = True has no effect: squeezenet1_1 has no BatchNorm",
    ),
]


@pytest.mark.parametrize(
    ("changes", "message"), WRONG, ids=[str(next(iter(c))) + str(i) for i, (c, _) in enumerate(WRONG)]
)
def test_wrong_params_are_refused(tmp_path, monkeypatch, changes, message):
    with pytest.raises(UserError, match=message):
        check(tmp_path, monkeypatch, **changes)


@pytest.mark.parametrize("section", ["decode", "model"])
def test_a_key_of_an_older_file_is_told_its_new_name(tmp_path, monkeypatch, section):
    assert params.RENAMED[f"{section}.size"] == f"{section}.image_size"
    changes = {f"{section}__image_size": None, f"{section}__size": 64}
    with pytest.raises(UserError, match=rf"{section}\.size is called {section}\.image_size now") as raised:
        check(tmp_path, monkeypatch, **changes)
    assert f"{section}.size = " not in str(raised.value)  # it is not called unknown as well


def test_keys_were_renamed_to_keys_that_there_are():
    for old, new in params.RENAMED.items():
        (section, key), (_, before) = new.split("."), old.split(".")
        assert key in SAMPLE[section] and before not in SAMPLE[section]


def test_exponents_without_a_dot_are_numbers_for_us_as_for_dvc(tmp_path, monkeypatch):
    check(tmp_path, monkeypatch)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("lr: 0.01", "lr: 1e-3"))
    assert yaml.safe_load(Path("params.yaml").read_text())["train_head"]["lr"] == "1e-3"
    write_pipeline("train-head", ["train_head"])
    assert params.load("train-head", train_head=TrainHeadParams).train_head.lr == 0.001


TEXTS = [
    (
        ("split", "label_column", "yes"),
        r"split\.label_column = True: .* YAML reads yes .*: write label_column: \"yes\"",
    ),
    (("split", "id_column", "on"), r"split\.id_column = True: .*: write id_column: \"on\""),
    (("submission", "positive", "No"), r"submission\.positive = False: .*: write positive: \"No\""),
    (
        ("split", "numbers", '[no, age, "a b", 3]'),
        r'split\.numbers\.0 = False: .*: write numbers: \["no", age, "a b", "3"\]',
    ),
    (("split", "label_column", "2020"), r"split\.label_column = 2020: .*: write label_column: \"2020\""),
    (("split", "label_column", "010"), r"split\.label_column = 8: .*: write label_column: \"010\""),
    (("split", "label_column", "12:30"), r"split\.label_column = 750: .*: write label_column: \"12:30\""),
    (("split", "group", "null"), r"split\.group = None: .*: write group: \"null\""),
    (("extract", "source", "2018-05-01"), r"extract\.source = .*2018.*: write source: \"2018-05-01\""),
    (("extract", "source", "2018-13-01"), r"extract\.source = 2018-13-01: .*write \"2018-13-01\""),
    (("runtime", "precision", "32"), r"runtime\.precision = 32: .*: write precision: \"32\""),
    (("train_head", "balance", "off"), r"train_head\.balance = False: .*'none'.* \(YAML reads off as a boolean\)"),
    (("split", "train", "010"), r"split\.train = 010: .* 8, .* 10: write 8 or 10"),
    (("decode", "image_size", "1:30"), r"decode\.image_size = 1:30: .* 90, .* 1:30: write 90"),
    (("split", "folds", "08"), r"split\.folds = '08': .*; write 8"),
    (("decode", "image_size", "0o44"), r"decode\.image_size = '0o44': .*; write 36"),
    (("decode", "image_size", "1e2"), r"decode\.image_size = '1e2': .*; write 100"),
    (("decode", "image_size", "36.5"), r"decode\.image_size = 36\.5: should be a valid integer$"),
    (("precompute", "skip", "off\n  no: 3"), r"precompute\.no: YAML reads the key no .*; write \"no\": 3"),
    (("split", "seed", "2\n  seed: 3"), r"split\.seed stands in lines 21 and 22"),
    (
        ("split", "seed", "2\non: 3\nextra:"),
        r"problems\n  on: YAML reads the key on .*; write \"on\": 3\n  extra is unknown",
    ),
    (("split", "seed", "2\n  !!binary aGk=: 3"), r"split.*Keys should be strings"),
    (("split", "seed", "2\n!!binary aGk=: 3\nextra:"), r"b'hi' is unknown"),
    (("split", "seed", "[" * 5000), r"params\.yaml cannot be read"),
    (("split", "numbers", "&again [*again]"), r"split\.numbers\.0 = \[\[\.\.\.\]\]: should be a valid string"),
    (("split", "seed", "2\nsplit:"), r"split stands in lines 14 and 22"),
]


@pytest.mark.parametrize(("edit", "message"), TEXTS, ids=[f"{edit[1]} {edit[2]}" for edit, _ in TEXTS])
def test_what_yaml_reads_otherwise_than_it_was_meant_is_told_with_what_to_write(
    tmp_path, monkeypatch, edit, message
):
    with pytest.raises(UserError, match=message):
        check_text(tmp_path, monkeypatch, edit)


def test_a_text_that_an_alias_repeats_is_told_without_what_to_write(tmp_path, monkeypatch):
    edits = ("split", "id_column", "&same yes"), ("split", "label_column", "*same")
    with pytest.raises(UserError) as raised:
        check_text(tmp_path, monkeypatch, *edits)
    _, first, second = str(raised.value).split("\n  ")
    assert 'write id_column: "yes"' in first and second.startswith(
        "split.label_column = True: should be a valid string"
    )
    assert "write" not in second


def test_every_section_yields_its_problems():
    for target in params.SECTIONS.values():
        model = params._resolve(target)
        if inspect.isclass(model):
            assert inspect.isgeneratorfunction(model.check_with), target


@pytest.mark.parametrize("text", ['"yes"', "!!str yes", "1e5", "y", "08"])
def test_what_both_versions_of_yaml_can_take_for_text_is_a_text(tmp_path, monkeypatch, text):
    content = check_text(tmp_path, monkeypatch, ("split", "labels", "a.csv"), ("split", "label_column", text))
    assert content["split"]["label_column"] == text.removeprefix("!!str ").strip('"')


@pytest.mark.parametrize("number", ["100_000", "0x10000", "+70000", "0000"])
def test_numbers_that_both_versions_of_yaml_read_alike_are_taken(tmp_path, monkeypatch, number):
    if number == "0000":
        check_text(tmp_path, monkeypatch, ("split", "folds", number))
    else:
        check_text(tmp_path, monkeypatch, ("extract", "max_bytes", number))


def test_dvc_keeps_what_the_message_offers_beside_quotes(tmp_path):
    """`dvc exp run -S` writes params.yaml again, and takes the quotes off what is text to YAML 1.2."""
    file = tmp_path / "params.yaml"
    file.write_text('quoted: "yes"\ntagged: !!str yes\nseed: 1\n')
    with modify_yaml(str(file)) as content:
        content["seed"] = 2
    assert yaml.safe_load(file.read_text()) == {"quoted": True, "tagged": "yes", "seed": 2}


IDLE = {
    "fine-tuning": {
        "finetune__skip": True, "finetune__snapshots": 9, "finetune__bn_freeze": True, "finetune__lr": "auto",
        "finetune__sizes": [16, 24], "finetune__find_lr": 5, "finetune__schedule": "one_cycle",
        "finetune__momentum": 0, "model__arch": "squeezenet1_1",
    },
    "unfreezing": {
        "finetune__cycles": 0, "finetune__snapshots": 9, "finetune__bn_freeze": True, "finetune__lr": "auto",
        "finetune__find_lr": 5, "model__arch": "squeezenet1_1",
    },
    "nothing but frozen cycles": {"finetune__cycles": 0, "finetune__bn_freeze": "train"},
    "all cycles": {"finetune__cycles": 0, "finetune__frozen_cycles": 0, "finetune__bn_freeze": "train"},
    "later cycles": {"finetune__cycles": 1, "train_head__cycles": 1},
    "features": {"precompute__skip": True, "precompute__views": 4, "precompute__set": "none"},
    "the head": {
        "precompute__skip": True, "train_head__momentum": 0, "train_head__schedule": "one_cycle",
        "split__labels": "a.csv", "split__kind": "multi", "train_head__balance": "sample",
    },
    "augmentation": {"augment__set": "none", "augment__pad": 4, "tta__views": 0},
}  # fmt: skip


@pytest.mark.parametrize("changes", IDLE.values(), ids=IDLE)
def test_what_a_switch_makes_idle_may_stand(tmp_path, monkeypatch, changes):
    check(tmp_path, monkeypatch, **changes)


def test_a_file_of_before_there_was_a_switch_of_fine_tuning_is_valid(tmp_path, monkeypatch):
    content = check(tmp_path, monkeypatch, finetune__skip=None)
    assert "skip" not in content["finetune"]
    write_pipeline("unfreeze-finetune", ["finetune"])
    assert params.load("unfreeze-finetune", finetune=FinetuneParams).finetune.skip is False


def test_a_network_without_batchnorm_takes_no_setting_of_it(tmp_path, monkeypatch):
    changes = {"model__arch": "squeezenet1_1", "finetune__bn_freeze": "train", "finetune__cycles": 0}
    with pytest.raises(UserError, match=r"finetune\.bn_freeze = train has no effect: squeezenet1_1"):
        check(tmp_path, monkeypatch, **changes)


def test_all_problems_come_at_once(tmp_path, monkeypatch):
    with pytest.raises(UserError) as raised:
        check(tmp_path, monkeypatch, split__seed=-1, split__valid="x", tta=None, finetune__cycles=1.5, trian={})
    first, *lines = str(raised.value).split("\n  ")
    assert first == "params.yaml: 5 problems"
    keys = ["trian is", "split.seed = -1", "split.valid = 'x'", "finetune.cycles = 1.5", "tta is"]
    assert [line.startswith(key) for line, key in zip(lines, keys, strict=True)] == [True] * 5
    with pytest.raises(UserError) as raised:  # each section is right alone
        check(tmp_path, monkeypatch, split__valid=0, split__folds=1, head__dropout=[0.5], model__image_size=64)
    first, *lines = str(raised.value).split("\n  ")
    assert first == "params.yaml: 4 problems"
    keys = ["split.valid = 0", "split.folds = 1", "model.image_size = 64", "head.dropout = [0.5]"]
    assert [line.startswith(key) for line, key in zip(lines, keys, strict=True)] == [True] * 4


def test_a_section_without_keys_is_told_which_it_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(re.sub(r"(?ms)^tta:.*?(?=^submission)", "tta:\n", text))
    with pytest.raises(UserError, match=r"tta = None: must hold keys: views, thresholds"):
        params.check(Path("params.yaml"))


def test_damaged_files_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml is not here"):
        params.check(Path("params.yaml"))
    Path("params.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"params\.yaml cannot be read"):
        params.check(Path("params.yaml"))
    Path("params.yaml").write_text("hello")
    with pytest.raises(UserError, match="must hold sections"):
        params.check(Path("params.yaml"))


def write_pipeline(stage, declared):
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {stage: {"cmd": "", "params": declared}}}))


def test_a_stage_gets_only_what_it_declared(tmp_path, monkeypatch):
    check(tmp_path, monkeypatch)
    write_pipeline("split", ["split"])
    assert params.load("split", split=SplitParams).split.valid == 0.2
    with pytest.raises(UserError, match="stage split reads `seed` but does not declare it"):
        params.load("split", split=SplitParams, seed=Seed)


def test_a_section_declared_key_by_key_holds_these_keys_alone(tmp_path, monkeypatch):
    check(tmp_path, monkeypatch)
    keys = ["batch_size", "optimizer", "momentum", "weight_decay", "label_smoothing", "clip_norm", "balance"]
    write_pipeline("find-lr", [f"train_head.{key}" for key in keys])
    step = params.load("find-lr", train_head=StepParams).train_head
    assert step.model_dump() == {key: SAMPLE["train_head"][key] for key in keys}
    write_pipeline("find-lr", ["train_head.batch_size"])
    with pytest.raises(UserError, match=r"train_head\.momentum is missing"):
        params.load("find-lr", train_head=StepParams)


def test_checking_the_params_imports_nothing_heavy():
    code = (
        "import sys; from pathlib import Path; from unfreeze.core import params;"
        "params.check(Path('params.yaml'));"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'py7zr', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
