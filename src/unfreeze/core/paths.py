"""Where the pipeline keeps its files, relative to the project's root."""

from pathlib import Path

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")

EXTRACTED_TAR = Path("data/extracted.tar")
EXTRACTED_CSV = Path("data/extracted.csv")
TABLES = Path("data/tables")

PIXELS = Path("data/images/pixels.npy")
IMAGES_CARD = Path("data/images/card.json")
IMAGES_CSV = Path("data/images/images.csv")
REJECTED_CSV = Path("data/images/rejected.csv")

SPLIT_CSV = Path("data/split.csv")
SUMMARY = Path("data/summary.json")
DUPLICATES_CSV = Path("data/duplicates.csv")
UNMATCHED_CSV = Path("data/unmatched.csv")
NORMALISATION = Path("data/normalisation.json")
NUMBERS = Path("data/numbers.npy")
NUMBERS_JSON = Path("data/numbers.json")

FEATURES = Path("data/features")

CHECKPOINTS = Path(".checkpoints")
ENVIRONMENT = Path("results/environment.json")

FIND_LR = Path("results/find_lr")
TRAIN_HEAD = Path("results/train_head")
FINETUNE = Path("results/finetune")
EVALUATE = Path("results/evaluate")
REPORT = Path("results/report")
COMPARE_HTML = Path("results/compare/index.html")
RECIPES = Path("recipes")

HEAD = Path("models/head.safetensors")
MODEL = Path("models/model.safetensors")
SNAPSHOTS = Path("models/snapshots")
BEST_MODEL = Path("models/best.safetensors")
