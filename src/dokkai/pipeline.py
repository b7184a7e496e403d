"""Tokenizer + model + task in one object: load, save, predict, evaluate, ask, fill-mask, embed.

B batch · L sequence length · D hidden size
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from dokkai.data.order import split_by_tokens
from dokkai.data.sentences import sentence_around
from dokkai.data.squad import Question
from dokkai.errors import UserError
from dokkai.evaluation.metrics import are_entity_tags
from dokkai.files import fitted, read_json, write_json
from dokkai.hub import resolve
from dokkai.model.checkpoint import CONFIG, LoadReport, load_model, save_model
from dokkai.model.config import read_labels
from dokkai.model.device import autocast, choose_device, choose_precision
from dokkai.model.heads import Model
from dokkai.model.sentence_files import read_sentence_files, write_sentence_files
from dokkai.progress import Progress, say
from dokkai.settings import (
    ClassificationSettings,
    MultiLabelSettings,
    MultipleChoiceSettings,
    PretrainingSettings,
    QuestionAnsweringSettings,
    RegressionSettings,
    SimilaritySettings,
    TaskSettings,
    TokenClassificationSettings,
)
from dokkai.tasks import QuestionAnswering, Similarity, Task, create_task
from dokkai.tasks.base import Batch, ModelInput, num_rows, pad
from dokkai.tokenization import Tokenizer, load_tokenizer, save_tokenizer

TASK = "task.json"
POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda x_LD: x_LD.mean(0),
    "cls": lambda x_LD: x_LD[0].copy(),  # a view would keep the whole batch in memory
    "max": lambda x_LD: x_LD.max(0),
    "none": lambda x_LD: x_LD,
}
"""From the vectors of all tokens ``(L, n)`` of a text to what stands for it."""

_ONE_LABEL = "single_label_classification"  # transformers' word
_TEXT_TASKS: dict[str, type[ClassificationSettings | MultiLabelSettings | RegressionSettings]] = {
    _ONE_LABEL: ClassificationSettings,
    "multi_label_classification": MultiLabelSettings,
    "regression": RegressionSettings,
}
_BATCH_TOKENS = 8192  # of one forward pass, padding included
CPU_BATCH_TOKENS = 2048  # the same on a CPU: its caches hold more of it
PADDING = 8  # lengths are rounded up to a multiple of this: even shapes, little waste
_SPARE_ROWS = 128  # a vocabulary may be padded up to a round number of embedding rows


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and where it stands: ``text[start:end] == answer`` in code points; ``answer`` is "" if there is none.

    ``sentence`` is ``[start, end)`` of the sentence round it. ``confidence`` is its probability beside that of other
    answers and of none. ``score`` compares answers of one question: how much better each is than none, before any
    threshold; 0 of none.
    """

    answer: str
    start: int
    end: int
    sentence: tuple[int, int]
    confidence: float
    score: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(slots=True)
class Pipeline:
    """A model that can be used. ``task`` is None for an encoder without a task (it can fill masks and embed)."""

    model: Model
    tokenizer: Tokenizer
    task: Task | None
    device: torch.device
    precision: str = "fp32"
    report: LoadReport | None = None

    def __post_init__(self) -> None:
        """Check that the parts belong together, and move the model to the device."""
        check_vocabulary(self.tokenizer, self.model)
        self.model.to(self.device)

    def save(self, directory: Path, dtype: torch.dtype | None = None) -> None:
        """Write a directory that ``load`` and ``transformers`` open; ``dtype`` converts the weights."""
        directory.mkdir(parents=True, exist_ok=True)
        save_tokenizer(self.tokenizer, directory, self.model.config.max_position_embeddings)
        if self.task is not None:
            self.save_task(directory)
        task = self.task
        save_model(self.model, directory, dtype, *((task.labels, task.problem_type) if task else ()))
        if isinstance(task, Similarity):
            s = task.settings
            write_sentence_files(directory, s.pooling, s.max_length, self.model.config.hidden_size)

    def save_task(self, directory: Path) -> None:
        """Write the settings of the task only, into a model directory that has the rest."""
        task = self._task()
        values = {"task": task.settings.model_dump(), "labels": list(task.labels)}
        write_json(directory / TASK, values | {"tokenizer": self.tokenizer.fingerprint})

    def predict(self, examples: Sequence[Any], features: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        """One prediction per example, in order; ``features`` saves encoding the examples once more."""
        task = self._task()
        if features is None:
            features = task.encode(examples, training=False)
        return task.merge(examples, features, self._outputs(task, features))

    def evaluate(self, examples: Sequence[Any], features: Sequence[Any] | None = None) -> dict[str, float]:
        """The task's metrics on labelled examples."""
        return self._task().score(examples, self.predict(examples, features))

    def ask(self, question: str, text: str) -> Answer:
        """Read ``text`` and answer; UserError if the model was not fine-tuned for questions."""
        (found,) = self.read(question, [text])
        span = (int(found["start"]), int(found["end"]))
        place = sentence_around(text, span) if found["answer"] else (0, 0)
        score = float(-found["null_odds"]) if found["answer"] else 0.0
        return Answer(found["answer"], *span, place, float(found["probability"]), score)

    def read(self, question: str, texts: Sequence[str]) -> list[dict[str, Any]]:
        """The prediction for each text, all read together; UserError if the model was not fine-tuned for questions.

        A question that is longer than the task allows is cut, and that is said.
        """
        if not isinstance(self.task, QuestionAnswering):
            raise UserError("this model was not fine-tuned to answer questions; use `dokkai finetune squad ...` first")
        tokens, most = self.tokenizer.tokens(question), self.task.settings.max_question_length
        if tokens.share_foreign(question, self.tokenizer.unk_id) > 0.5:
            say("most words of the question are foreign to this model; it was trained on another language")
        length = len(tokens)
        if length > most:
            say(f"the question has {length} tokens; only the first {most} are read, so ask in fewer words")
        return self.predict([Question(str(i), question, text, (), is_labelled=False) for i, text in enumerate(texts)])

    def fill_mask(self, text: str, top: int = 5) -> list[list[tuple[str, float]]]:
        """For each ``[MASK]`` in the text the ``top`` likeliest tokens with their probabilities."""
        if "masked_lm" not in self.model.heads:
            raise UserError(
                "this model has no masked-LM head; fill-mask needs a pre-trained model, not a fine-tuned one"
            )
        encoding = self.tokenizer.assemble(self.tokenizer.mask_tokens(text))
        most = self.model.config.max_position_embeddings
        if len(encoding) > most:
            raise UserError(f"the text has {len(encoding)} tokens, but the model has {most} positions; shorten it")
        places = [i for i, token in enumerate(encoding.input_ids) if token == self.tokenizer.mask_id]
        if not places:
            raise UserError(f"there is no {self.tokenizer.mask_token} in the text; write one where a word is missing")
        batch = {
            "input_ids": torch.tensor([encoding.input_ids]),
            "token_type_ids": torch.tensor([encoding.token_type_ids]),
            "masked_positions": torch.tensor(places),
        }
        logits_MV = self._forward(batch)["masked_lm"][:, : self.tokenizer.vocab_size]  # spare rows have no token
        probabilities = logits_MV.float().softmax(-1)
        values, ids = probabilities.topk(min(top, probabilities.shape[-1]))
        return [
            [(self.tokenizer.token(int(i)), float(value)) for i, value in zip(row_ids, row, strict=True)]
            for row_ids, row in zip(ids, values, strict=True)
        ]

    @property
    def pooling(self) -> str:
        """What makes one vector of those of a text's tokens: as the model was tuned for it, or else their mean."""
        return self.task.settings.pooling if isinstance(self.task, Similarity) else "mean"

    @property
    def text_length(self) -> int:
        """The most tokens of a text that its vector is made of: as the model was tuned for it, or else all it reads."""
        if isinstance(self.task, Similarity):
            return self.task.settings.max_length
        return self.model.config.max_position_embeddings

    def embed(
        self,
        texts: Sequence[str],
        layers: Sequence[int] = (-1,),
        pooling: Literal["mean", "cls", "max", "none"] | None = None,
    ) -> list[np.ndarray]:
        """Vectors of texts: ``(len(layers) * D,)`` float32 each, or with pooling "none" one row per token, [CLS] and
        [SEP] included. Layer 0 is the embeddings' output, -1 the last layer; layers are concatenated. ``pooling`` None
        is that of the model. Texts longer than ``text_length`` are cut, and counted on standard error.
        """
        most = self.text_length
        items = [self.tokenizer.assemble(tokens, None, most) for tokens in self.tokenizer.tokens_batch(texts)]
        if num_cut := sum(item.num_truncated > 0 for item in items):
            say(f"{num_cut} of {len(items)} texts are cut to the {most} tokens that the model reads")
        vectors: list[np.ndarray] = [np.empty(0)] * len(items)
        for index, x_LD in self.states(items, layers):
            vectors[index] = POOLINGS[pooling or self.pooling](x_LD)
        return vectors

    def states(self, items: Sequence[ModelInput], layers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """For each input, the longest first, its index and the outputs of the layers, ``(L, len(layers) * D)`` float32.

        Layers are those of ``embed``. UserError if the model has no such layer.
        """
        num_states = self.model.config.num_hidden_layers + 1
        if not layers or any(not -num_states <= layer < num_states for layer in layers):
            raise UserError(f"layers go from {-num_states} to {num_states - 1}, not {list(layers)}")
        places = [layer % num_states for layer in layers]  # what is above the highest is not computed
        self.model.eval()
        for indices, length in _batches([len(item.input_ids) for item in items], self.device):
            most = min(length, self.model.config.max_position_embeddings)
            batch = pad([items[i] for i in indices], most, self.tokenizer.pad_id)
            with torch.inference_mode(), autocast(self.device, self.precision):
                moved = {name: part.to(self.device) for name, part in batch.items()}
                states = dict(zip(range(max(places) + 1), self.model.encoder.states(**moved), strict=False))
            x_BLD = torch.cat([states[place].float() for place in places], dim=-1).cpu().numpy()
            for row, index in enumerate(indices):
                yield index, x_BLD[row, : len(items[index].input_ids)]

    def _task(self) -> Task:
        if self.task is None:
            raise UserError(f"this model has no {TASK}: it was not fine-tuned here; use `dokkai finetune` first")
        return self.task

    def _outputs(self, task: Task, features: Sequence[Any]) -> list[Any]:
        outputs: list[Any] = [None] * len(features)
        with Progress("reading", len(features), "sequences") as progress:
            lengths = [len(item.input_ids) for item in features]
            for indices, length in _batches(lengths, self.device, num_rows(features)):
                chosen = [features[i] for i in indices]
                batch = task.collate(chosen, min(length, self.model.config.max_position_embeddings))
                logits = self._forward(batch)
                for index, output in zip(indices, task.decode(logits, batch, chosen), strict=True):
                    outputs[index] = output
                progress.advance(len(indices))
        return outputs

    def _forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Logits, on the CPU."""
        self.model.eval()
        with torch.inference_mode(), autocast(self.device, self.precision):
            logits = self.model({name: tensor.to(self.device) for name, tensor in batch.items()})
        return {name: tensor.cpu() for name, tensor in logits.items()}


def load(directory: str | Path, device: str | None = None, precision: str = "auto") -> Pipeline:
    """Open a model directory: a finished or running run of dokkai, or a BERT saved by ``transformers``.

    What is no directory is a name on the Hugging Face hub, ``name@revision``. What the weights lacked, and what in them
    is not used, is said once.
    """
    path = resolve(directory)
    model, report = load_model(path)
    if str(report):
        say(f"{directory}: {report}")
    tokenizer = load_tokenizer(path)
    chosen = choose_device(device)
    task = _load_task(path, tokenizer) if (path / TASK).exists() else _guess_task(model, tokenizer, path)
    if task is not None:
        _check_task(task, model, path)
        check_length(task, model)
    return Pipeline(model, tokenizer, task, chosen, choose_precision(precision, chosen), report)


def check_vocabulary(tokenizer: Tokenizer, model: Model) -> None:
    """UserError unless every token has an embedding, and all but a few spare embeddings have a token."""
    rows = model.config.vocab_size
    if not tokenizer.vocab_size <= rows < tokenizer.vocab_size + _SPARE_ROWS:
        raise UserError(
            f"the vocabulary has {tokenizer.vocab_size} entries, the model {rows} embeddings: they do not belong "
            "together; use the vocabulary the model was trained with"
        )


def check_origin(path: Path, tokenizer: Tokenizer) -> None:
    """UserError if the model in the directory says that it was trained with another vocabulary."""
    if (path / TASK).exists() and _read_task(path).get("tokenizer") not in (None, tokenizer.fingerprint):
        raise UserError(f"{path}: the vocabulary is not the one the model was trained with; restore its vocab.txt")


def check_length(task: Task, model: Model) -> None:
    """UserError if the task's sequences are longer than the model's positions."""
    settings = task.settings
    if isinstance(settings, PretrainingSettings):
        lengths = {"task.lengths": max(settings.lengths), "task.heldout_length": settings.heldout_length or 0}
    else:
        lengths = {"task.max_length": settings.max_length}
    for name, length in lengths.items():
        if length > model.config.max_position_embeddings:
            raise UserError(
                f"{name} is {length}, but the model has {model.config.max_position_embeddings} positions; "
                f"set {name} to at most that"
            )


class _TaskFile(BaseModel):
    model_config = ConfigDict(strict=True)
    task: TaskSettings
    labels: list[str] | None = None


def _read_task(path: Path) -> dict[str, Any]:
    values = read_json(path / TASK, "task of a model")
    if not isinstance(values, dict) or "task" not in values:
        raise UserError(f"{path / TASK}: not the task of a dokkai model")
    return values


def _load_task(path: Path, tokenizer: Tokenizer) -> Task:
    check_origin(path, tokenizer)
    try:
        found: _TaskFile = fitted(_TaskFile, _read_task(path), str(path / TASK))
    except UserError as error:
        raise UserError(f"{error}; written by another version of dokkai?") from None
    return create_task(found.task, tokenizer, tuple(found.labels or ()))


def _check_task(task: Task, model: Model, path: Path) -> None:
    """UserError unless the weights hold what the task reads: files of two models may have been mixed."""
    if not set(task.heads) <= set(model.heads):
        raise UserError(
            f"{path / TASK}: {task.kind}, but the weights have no such head; are these files of two models?"
        )
    is_labelled = not {"classification", "token_classification"}.isdisjoint(task.heads)
    if is_labelled and len(task.labels) != model.num_labels:
        raise UserError(f"{path / TASK}: {len(task.labels)} labels, but the weights have {model.num_labels}")


def _guess_task(model: Model, tokenizer: Tokenizer, path: Path) -> Task | None:
    """The task of a directory that ``transformers`` saved: by its head. Defaults, or less where the model is small."""
    positions = model.config.max_position_embeddings
    if "span" in model.heads and positions >= 16:
        third = positions // 3
        windows = QuestionAnsweringSettings(
            max_length=min(384, positions), stride=min(128, third), max_question_length=min(64, third)
        )
        return create_task(windows, tokenizer)
    values, where, length = read_json(path / CONFIG, "model configuration"), str(path / CONFIG), min(128, positions)
    if "classification" in model.heads:
        labels = read_labels(values, where)
        kind = values.get("problem_type") or ("regression" if len(labels) == 1 else _ONE_LABEL)
        if kind not in _TEXT_TASKS or (kind == "regression" and len(labels) > 1):
            what = f"problem_type '{kind}' and {len(labels)} labels"
            say(f"{where}: there is no task for {what}; the model can embed, but not predict")
            return None
        return create_task(_TEXT_TASKS[kind](max_length=length), tokenizer, labels)
    if "token_classification" in model.heads and positions >= 16:
        labels = read_labels(values, where)
        metric: Literal["f1", "accuracy"] = "f1" if are_entity_tags(labels) else "accuracy"
        tags = TokenClassificationSettings(max_length=length, stride=-(-length // 2), metric=metric)
        return create_task(tags, tokenizer, labels)
    if "multiple_choice" in model.heads and positions >= 16:
        return create_task(MultipleChoiceSettings(question="question", max_length=length), tokenizer)
    if not model.heads and (found := read_sentence_files(path)):
        pooling, most = found
        values = {"pooling": pooling, "max_length": min(most or positions, positions)}
        settings = fitted(SimilaritySettings, values, str(path), {"max_length": "the longest text (max_seq_length)"})
        return create_task(settings, tokenizer)
    return None


def _batches(
    lengths: Sequence[int], device: torch.device, rows: np.ndarray | None = None
) -> Iterator[tuple[list[int], int]]:
    """Indices of near-equal length, longest first, and the padded length of each batch; ``rows`` as in batches."""
    most = CPU_BATCH_TOKENS if device.type == "cpu" else _BATCH_TOKENS
    padded = -(-np.array(lengths, dtype=np.int64) // PADDING) * PADDING
    for part in split_by_tokens(padded, np.arange(len(padded)), most, rows):
        yield part.tolist(), int(padded[part].max())
