"""Algorithmic unit tests of heads: does a head use the absence of something as evidence?

Raff and Holt, "Reproducibility in Multiple Instance Learning: A Case For Algorithmic Unit Tests", NeurIPS 2023,
arXiv:2310.17867, algorithms 1 to 3, made anew from their description; the paper itself was not at hand. All ranges are
closed. In each test the training bags hold a shortcut that a head which respects the assumption cannot take; the
poisoned test bags turn the shortcut round. A head passes where its AUROC on poisoned bags stays well above chance.

    python benchmarks/_algorithmic.py [--seed 0] [--heads abmil,noisy_or]

Prints a table, then one JSON object: test -> head -> [AUROC on the training distribution, AUROC on poisoned bags].
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mil import HEADS, build_head, roc_auc
from mil.batch import collate, pin_threads
from mil.head import Head

Bags = tuple[list[NDArray[np.float32]], NDArray[np.float32]]
DIM = 16
"""Width of an instance. The paper leaves it open; at 2 the concepts of the first test overlap too much to be told."""
TRAIN, TEST = 1000, 1000
"""Bags of a training set and of each test set."""
EPOCHS, BATCH, RATE, DECAY = 20, 16, 2e-3, 1e-2
"""One recipe for every head and test: AdamW, the last epoch is taken, nothing is chosen on a test set."""


def normal(rng: np.random.Generator, count: int, centre: float, spread: float) -> NDArray[np.float32]:
    """Draw instances around one value in every feature [count, DIM]."""
    return rng.normal(centre, spread, (count, DIM)).astype(np.float32)


def single_concept(rng: np.random.Generator, *, positive: bool, poisoned: bool) -> NDArray[np.float32]:
    """Algorithm 1: one to four instances of the concept make a bag positive.

    The concept is N(0, 3) or N(1, 1), the rest N(0, 1). The marker at -10 is in the negative bags of training and in
    the positive bags of the poisoned test: it is no evidence, but whoever takes it for a reason to say no gets all of
    training right and all of the test wrong.
    """
    parts = [normal(rng, int(rng.integers(1, 11)), 0, 1)]
    if positive:
        parts += [normal(rng, 1, *((0, 3), (1, 1))[rng.integers(2)]) for _ in range(rng.integers(1, 5))]
    if positive is poisoned:
        parts.append(normal(rng, 1, -10, 0.1))
    return np.concatenate(parts)


def multi_concept(rng: np.random.Generator, *, positive: bool, poisoned: bool) -> NDArray[np.float32]:
    """Algorithm 2: both of two concepts must be there, N(2, .1) and N(3, .1); a negative bag holds one of them.

    Same marker as in the first test.
    """
    parts = [normal(rng, int(rng.integers(1, 11)), 0, 1)]
    if positive:
        count = int(rng.integers(1, 5))
        parts += [normal(rng, count, 2, 0.1), normal(rng, count, 3, 0.1)]
    else:
        parts.append(normal(rng, 1, (2, 3)[rng.integers(2)], 0.1))
    if positive is poisoned:
        parts.append(normal(rng, 1, -10, 0.1))
    return np.concatenate(parts)


def false_frequency(rng: np.random.Generator, *, positive: bool, poisoned: bool) -> NDArray[np.float32]:
    """Algorithm 3: both concepts make a bag positive, however often either of them is there.

    In training a negative bag holds one or two instances of one concept; in the poisoned test 35 to 45 of them: a head
    that counts says yes.
    """
    parts = [normal(rng, int(rng.integers(1, 11)), 0, 1)]
    if positive:
        parts += [normal(rng, int(rng.integers(1, 3)), centre, 0.1) for centre in (2, 3)]
    else:
        count = rng.integers(35, 46) if poisoned else rng.integers(1, 3)
        parts.append(normal(rng, int(count), (2, 3)[rng.integers(2)], 0.1))
    return np.concatenate(parts)


TESTS: dict[str, Callable[..., NDArray[np.float32]]] = {
    "single_concept": single_concept,
    "multi_concept": multi_concept,
    "false_frequency": false_frequency,
}


def make(test: str, count: int, seed: int, *, poisoned: bool) -> Bags:
    """Make bags, every other one positive."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return [TESTS[test](rng, positive=bool(label), poisoned=poisoned) for label in labels], labels.astype(np.float32)


def standardise(head: Head, bags: Sequence[NDArray[np.float32]]) -> None:
    """Give the head the mean and deviation of the training instances."""
    every = np.concatenate(bags)
    head.mean.copy_(torch.from_numpy(every.mean(0)))
    head.scale.copy_(torch.from_numpy(every.std(0)))


def train(name: str, bags: Bags, seed: int) -> Head:
    """Fit a head by the one recipe."""
    torch.manual_seed(seed)
    head, (features, labels) = build_head(name, DIM), bags
    standardise(head, features)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(labels)), len(labels) // BATCH):
            truth = torch.from_numpy(labels[rows])[:, None]
            bag_loss = partial(functional.binary_cross_entropy_with_logits, target=truth)
            loss = head.objective(*collate([features[row] for row in rows]), bag_loss, truth == 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head.eval()


@torch.inference_mode()
def auroc(head: Head, bags: Bags) -> float:
    """Area under the ROC curve on bags."""
    return roc_auc(bags[1], head(*collate(bags[0])).logits[:, 0].numpy())


def run(heads: Sequence[str], seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Train every head on every test.

    Returns:
        Test -> head -> AUROC on bags as in training, AUROC on poisoned bags.
    """
    pin_threads()
    found: dict[str, dict[str, list[float]]] = {}
    for test in TESTS:
        learnt = make(test, TRAIN, seed, poisoned=False)
        judged = [make(test, TEST, seed + 1000 + poisoned, poisoned=bool(poisoned)) for poisoned in (0, 1)]
        found[test] = {}
        for name in heads:
            start = time.process_time()
            head = train(name, learnt, seed)
            found[test][name] = [round(auroc(head, bags), 3) for bags in judged]
            print(f"{test} {name} {found[test][name]} {time.process_time() - start:.1f} s of CPU", file=sys.stderr)
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures as a table in Markdown, one head a row."""
    rows = ["| head | " + " | ".join(name.replace("_", " ") for name in found) + " |", "|---" * (1 + len(found)) + "|"]
    for head in next(iter(found.values())):
        cells = [f"{found[test][head][0]:.2f} → {found[test][head][1]:.2f}" for test in found]
        rows.append(f"| {head} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heads", default=",".join(HEADS))
    arguments = parser.parse_args()
    found = run(arguments.heads.split(","), arguments.seed)
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
