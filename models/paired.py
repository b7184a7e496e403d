"""Masked words and pairs of texts together: python models/paired.py DATA PAIRS --init RUN --out OUT [KEY=VALUE ...]

Goes on with the pre-training of RUN, by ``paired.toml`` or another recipe, on what ``dokkai prepare`` wrote in DATA.
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

import torch
from torch import Tensor, nn

from dokkai.data.shards import Corpus, read_index
from dokkai.errors import Interrupted, UserError
from dokkai.files import checksum
from dokkai.model.checkpoint import WEIGHTS, load_model
from dokkai.model.device import choose_device, choose_precision
from dokkai.model.heads import Model
from dokkai.model.names import to_foreign
from dokkai.pipeline import Pipeline
from dokkai.progress import say
from dokkai.settings import PretrainingSettings, RegressionSettings, load_settings
from dokkai.tasks import Regression
from dokkai.tasks.pretraining import Pretraining, PretrainingBatches
from dokkai.tokenization import load_tokenizer
from dokkai.training.checkpoints import save_weights
from dokkai.training.finetune import FeatureBatches
from dokkai.training.loop import train
from dokkai.training.run_directory import RunDirectory

HELD_OUT = 400  # pairs at the head of the table that are measured on; of a short one a tenth

Batch = dict[str, Tensor]


class PairedModel(nn.Module):
    """The model, and a layer that reads a score from [CLS]."""

    def __init__(self, model: Model, seed: int) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.score = nn.Linear(model.config.hidden_size, 1)

    def forward(self, batch: Batch) -> Batch:
        """Logits of the masked words, or of a batch without masks the scores, ``(B, 1)``."""
        if "masked_positions" in batch:
            return self.model(batch)
        inputs = (batch["input_ids"], batch["token_type_ids"], batch.get("attention_mask"))
        x_B1D = self.model.encoder(*inputs, first=1)
        head: Any = self.model.heads["masked_lm"]
        return {"classification": self.score(head.norm(head.activation(head.transform(x_B1D[:, 0]))))}

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Tensor]:
        """By the names of a model directory, which a checkpoint shares its weights with; the layer beside them."""
        state = to_foreign(self.model.state_dict(), self.config.model_type)
        return state | {f"score.{name}": tensor for name, tensor in self.score.state_dict().items()}


class Paired:
    """What the loop asks of a task: masked batches are those of ``words``, the others those of ``pairs``."""

    kind, primary_metric = Pretraining.kind, Pretraining.primary_metric

    def __init__(self, words: Pretraining, pairs: Regression) -> None:
        self._words, self._pairs = words, pairs

    def _of(self, batch: Batch) -> Pretraining | Regression:
        return self._words if "masked_positions" in batch else self._pairs

    def counts(self, batch: Batch) -> dict[str, int]:
        """Masked words, or pairs."""
        return self._of(batch).counts(batch)

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Summed."""
        return self._of(batch).losses(logits, batch)


class PairedBatches:
    """Micro-batches of both, the masked ones first."""

    def __init__(self, words: PretrainingBatches, pairs: FeatureBatches) -> None:
        self._words, self._pairs, self.steps = words, pairs, words.steps

    def at(self, step: int, share: float) -> list[Batch]:
        """Those of one update."""
        return [*self._words.at(step, share), *self._pairs.at(step)]


class Both(Pipeline):
    """Reads pairs; what is saved of it is the model for masked words, and the layer for the score to go on with."""

    def __init__(self, model: PairedModel, words: Pipeline, table: Regression) -> None:
        super().__init__(model, words.tokenizer, table, words.device, words.precision)
        self._words = words

    def save(self, directory: Path) -> None:
        """A model directory, which opens without the layer."""
        self._words.save(directory)
        save_weights(self.model, directory / WEIGHTS)


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
    table = Regression(RegressionSettings(text="sentence1", pair="sentence2", label="score"), tokenizer)
    both = Both(PairedModel(model, settings.train.seed), pipeline, table)
    rows = table.read(args.pairs)
    size = min(HELD_OUT, len(rows) // 10)
    dev, examples = rows[:size], rows[size:]
    each = settings.train.model_copy(update={"batch_size": args.number, "epochs": 1.0, "steps": None})
    pairs = FeatureBatches(table, table.encode(examples, training=True), each, device)
    dev_features = table.encode(dev, training=False)
    heldout = words.read(args.data) if read_index(args.data)["splits"]["heldout"]["shards"] else []  # of one document

    def evaluate() -> dict[str, float]:
        metrics = pipeline.evaluate(heldout) if heldout else {}
        return metrics | {"pair_spearman": both.evaluate(dev, dev_features)["spearman"]}

    t = settings.train
    batches = PretrainingBatches(words, corpus, t.steps, t.batch_size, t.micro_batch_tokens, t.seed)
    sources = {"data": corpus.fingerprint, "checksum": corpus.checksum, "init": str(args.init), "pairs": args.number}
    sources["table"] = checksum(args.pairs)
    record = RunDirectory(args.out, "paired", settings.model_dump(), sources, args.init)
    if record.is_finished:
        say(f"{args.out}: this run is finished already")
        return
    with record:
        metrics = train(both, Paired(words, table), PairedBatches(batches, pairs), t, record, evaluate)
        pipeline.save(args.out)
        record.finish(metrics=metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default=str(Path(__file__).with_suffix(".toml")))
    parser.add_argument("--pairs-per-update", dest="number", type=int, default=32)
    parser.add_argument("set", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_intermixed_args()
    try:
        run(args)
    except UserError as error:
        parser.exit(2, f"paired.py: {error}\n")
    except Interrupted as error:
        parser.exit(130, f"paired.py: {error}\n")


if __name__ == "__main__":
    main()
