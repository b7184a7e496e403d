"""Masked words and pairs of texts together: python models/paired.py DATA PAIRS --init RUN --out OUT [KEY=VALUE ...]

Goes on with the pre-training of RUN, by the recipe ``encoder-en`` or another, on what ``dokkai prepare`` wrote in DATA.
Each update has masked text as ever and ``--pairs-per-update`` of the pairs in the table PAIRS (``pairs.py`` makes it),
whose score is read from [CLS] through the transform of the masked-LM head, which both then share, as fine-tuning begins
with it. Loss: cross-entropy of the masked words plus the squared error of the score. The layer that reads it is thrown
away.
The same command goes on where it was stopped.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dokkai.data.shards import Corpus
from dokkai.errors import UserError
from dokkai.evaluation.metrics import regression_scores
from dokkai.model.checkpoint import load_model
from dokkai.model.device import autocast, choose_device, choose_precision
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline
from dokkai.progress import say
from dokkai.settings import PretrainingSettings, RegressionSettings, load_settings
from dokkai.tasks import Regression
from dokkai.tasks.pretraining import Pretraining, PretrainingBatches
from dokkai.tokenization import load_tokenizer
from dokkai.training.finetune import FeatureBatches
from dokkai.training.loop import train
from dokkai.training.run_directory import RunDirectory

HELD_OUT = 400  # pairs at the head of the table that are measured on; of a short one a tenth
PAIR = "score"

Batch = dict[str, Tensor]


class PairedModel(nn.Module):
    """The model, and a layer that reads a score from [CLS]."""

    def __init__(self, model: Model, seed: int) -> None:
        super().__init__()
        self.model = model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.score = nn.Linear(model.config.hidden_size, 1)

    def forward(self, batch: Batch) -> Batch:
        """Logits of the masked words, or of a batch without masks the scores, ``(B,)``."""
        if "masked_positions" in batch:
            return self.model(batch)
        x_BLD = self.model.encoder(batch["input_ids"], batch["token_type_ids"], batch.get("attention_mask"))
        head: Any = self.model.heads["masked_lm"]
        x_BD = head.norm(head.activation(head.transform(x_BLD[:, 0])))
        return {PAIR: self.score(x_BD).squeeze(-1).float()}


class Paired:
    """Masked words of ``words``, and the scores of pairs: what the loop asks of a task."""

    kind, primary_metric, problem_type, labels = "pretraining", "masked_lm_accuracy", None, ()

    def __init__(self, words: Pretraining) -> None:
        self._words, self.settings = words, words.settings

    def counts(self, batch: Batch) -> dict[str, int]:
        """Masked words, or pairs."""
        return self._words.counts(batch) if "masked_positions" in batch else {PAIR: len(batch["labels"])}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Summed."""
        if "masked_positions" in batch:
            return self._words.losses(logits, batch)
        return {PAIR: F.mse_loss(logits[PAIR], batch["labels"].view(-1).float(), reduction="sum")}


class PairedBatches:
    """Micro-batches of both, the masked ones first."""

    def __init__(self, words: PretrainingBatches, pairs: FeatureBatches) -> None:
        self._words, self._pairs, self.steps = words, pairs, words.steps

    def at(self, step: int, share: float) -> list[Batch]:
        """Those of one update."""
        return [*self._words.at(step, share), *self._pairs.at(step)]


class Trained:
    """What is trained: both; what is saved: the model alone."""

    def __init__(self, model: PairedModel, pipeline: Pipeline) -> None:
        self.model, self._pipeline = model.to(pipeline.device), pipeline
        self.device, self.precision = pipeline.device, pipeline.precision

    def save(self, directory: Path) -> None:
        """A model directory."""
        self._pipeline.save(directory)


def run(args: argparse.Namespace) -> None:
    """The whole of it."""
    settings = load_settings(args.recipe, args.set)
    if not isinstance(settings.task, PretrainingSettings):
        raise UserError(f"recipe '{args.recipe}' is for {settings.task.kind}")
    tokenizer = load_tokenizer(args.init)
    corpus = Corpus.open(args.data, "train", tokenizer.fingerprint)
    words = Pretraining(settings.task, tokenizer)
    changes = settings.model.changes()
    changes.pop("model_type", None)  # that of the weights counts
    model, _ = load_model(args.init, words.heads, seed=settings.train.seed, **changes)
    device = choose_device(None)
    pipeline = Pipeline(model, tokenizer, words, device, choose_precision(settings.train.precision, device))
    trained = Trained(PairedModel(model, settings.train.seed), pipeline)
    columns = RegressionSettings(text="sentence1", pair="sentence2", label="score")
    table = Regression(columns, tokenizer)
    rows = table.read(args.pairs)
    size = min(HELD_OUT, len(rows) // 10)
    dev, examples = rows[:size], rows[size:]
    dev_features = table.encode(dev, training=False)
    each = settings.train.model_copy(update={"batch_size": args.number, "epochs": 1.0, "steps": None})
    pairs = FeatureBatches(table, table.encode(examples, training=True), each, device)
    heldout = words.read(args.data)

    def evaluate() -> dict[str, float]:
        guesses = np.zeros(len(dev))
        trained.model.eval()
        for start in range(0, len(dev), args.number):
            part = dev_features[start : start + args.number]
            batch = table.collate(part, max(len(item.input_ids) for item in part))
            with torch.inference_mode(), autocast(device, pipeline.precision):
                scores = trained.model({name: tensor.to(device) for name, tensor in batch.items()})[PAIR]
            guesses[start : start + len(part)] = scores.float().cpu().numpy()
        found = regression_scores([float(row.label or 0) for row in dev], guesses.tolist())
        return pipeline.evaluate(heldout) | {"pair_spearman": found["spearman"]}

    train_settings = settings.train
    batches = PretrainingBatches(
        words, corpus, train_settings.steps, train_settings.batch_size, train_settings.micro_batch_tokens, each.seed
    )
    sources = {"data": corpus.fingerprint, "checksum": corpus.checksum, "init": str(args.init), "pairs": args.number}
    record = RunDirectory(args.out, "paired", settings.model_dump(), sources, args.init)
    if record.is_finished:
        say(f"{args.out}: this run is finished already")
        return
    with record:
        metrics = train(trained, Paired(words), PairedBatches(batches, pairs), train_settings, record, evaluate)
        record.finish(metrics=metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="encoder-en")
    parser.add_argument("--pairs-per-update", dest="number", type=int, default=32)
    parser.add_argument("set", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_intermixed_args()
    try:
        run(args)
    except UserError as error:
        parser.exit(2, f"paired.py: {error}\n")


if __name__ == "__main__":
    main()
