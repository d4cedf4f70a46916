"""Rebuild the demo classifiers: `python -m labelmill.demo.train [topics|digits] [--validate]`."""

import argparse
import time
from importlib import import_module

SUBJECTS = ("topics", "digits")


def main() -> None:
    """Train the models asked for (both by default) and print how well each one does."""
    parser = argparse.ArgumentParser(prog="python -m labelmill.demo.train", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, help="one model only")
    parser.add_argument(
        "--validate",
        action="store_true",
        help="cross-validate on the training data instead; writes nothing, reads no held-out data",
    )
    options = parser.parse_args()
    for subject in [options.subject] if options.subject else SUBJECTS:
        start = time.monotonic()
        print(f"{subject}:")
        training = import_module(f"labelmill.demo.training.{subject}")
        kind = "cross-validated" if options.validate else "held-out"
        accuracy = training.validate() if options.validate else training.train()
        print(f"  {kind} accuracy {accuracy:.4f}, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
