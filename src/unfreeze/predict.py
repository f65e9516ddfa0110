"""The public door to prediction: `from unfreeze.predict import predict`, and `python -m unfreeze.predict`."""

import sys

from unfreeze.commands.classifier import Classifier, Prediction, predict
from unfreeze.commands.predict import main

__all__ = ["Classifier", "Prediction", "predict"]

if __name__ == "__main__":
    sys.exit(main())
