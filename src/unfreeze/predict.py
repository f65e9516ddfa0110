"""The public door to prediction: `from unfreeze.predict import predict`, and `python -m unfreeze.predict`."""

import sys

from unfreeze.commands.app import main
from unfreeze.commands.classifier import Classifier, Prediction, predict

__all__ = ["Classifier", "Prediction", "predict"]

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
