"""The kinds of tasks: ``[task]`` of a recipe, one class for each kind."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, model_validator

from dokkai.settings.fields import Column, Section, Tokens


class PretrainingSettings(Section):
    """Masked words, and sentence pairs (paper, section 3.1)."""

    kind: Literal["pretraining"] = "pretraining"
    next_sentence: bool = Field(True, description="A/B pairs and their loss; false: masked LM on full sequences")
    masked_share: float = Field(0.15, gt=0, lt=1, description="share of the tokens to predict")
    masked_share_end: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="that share at the end of the run, straight from one to the other; unset: the same",
    )
    whole_word: bool = Field(False, description="mask all pieces of a word together")
    short_share: float = Field(0.1, ge=0, le=1, description="share of sequences cut to a random shorter length")
    random_next_share: float = Field(0.5, ge=0, le=1, description="share of pairs whose B comes from another document")
    lengths: list[int] = Field(
        [128], min_length=1, description="sequence length of each phase, [128, 512] in the paper"
    )
    length_shares: list[float] = Field([1.0], min_length=1, description="share of the run of each phase, [0.9, 0.1]")
    batch_tokens: Tokens = Field(
        None, description="tokens per update, one number or one for each of lengths; unset: train.batch_size sequences"
    )
    heldout_length: int | None = Field(None, ge=8, description="length of held-out sequences; unset: the first phase's")
    static_duplicates: int | None = Field(
        None, ge=1, description="instances of 2018, made so many times over and kept; unset: drawn anew in each epoch"
    )
    max_predictions: list[int] | None = Field(
        None, description="most masked tokens in a sequence, one number for each of lengths; unset: their share"
    )
    heldout_sequences: int = Field(2000, ge=1, description="most held-out sequences used by an evaluation")

    @model_validator(mode="after")
    def _phases(self) -> Self:
        shares = self.length_shares
        if len(self.lengths) != len(shares) or abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
            raise ValueError("task.length_shares must hold one share for each of task.lengths and add up to 1")
        if min(self.lengths) < 8:
            raise ValueError("task.lengths must be at least 8")
        tokens = self.batch_tokens
        if isinstance(tokens, int) and tokens < max(self.lengths):
            raise ValueError(f"task.batch_tokens must be at least the longest of task.lengths, {max(self.lengths)}")
        if isinstance(tokens, list) and not (
            len(tokens) == len(self.lengths) and all(map(int.__ge__, tokens, self.lengths))
        ):
            raise ValueError("task.batch_tokens must hold one number for each of task.lengths, no smaller than that")
        most = self.max_predictions
        if most is not None and (len(most) != len(self.lengths) or min(most) < 1):
            raise ValueError("task.max_predictions must hold one number, at least 1, for each of task.lengths")
        if self.static_duplicates and not self.next_sentence:
            raise ValueError("task.static_duplicates makes sentence pairs; it needs task.next_sentence=true")
        if self.static_duplicates and self.masked_share_end is not None:
            raise ValueError("task.static_duplicates makes masks that stay; leave task.masked_share_end out")
        return self


class ClassificationSettings(Section):
    """One label for one text or a pair of texts."""

    kind: Literal["classification"] = "classification"
    text: Column = Field("text", description="column of the text (a number counts columns from 0)")
    pair: Column | None = Field(None, description="column of the second text; unset: there is none")
    label: Column = Field("label", description="column of the label")
    id: Column | None = Field(None, description="column of the id; unset: the number of the row")
    header: bool = Field(True, description="the first line of a table names its columns")
    max_length: int = Field(128, ge=4, description="longest sequence in tokens; longer ones are cut and counted")


class QuestionAnsweringSettings(Section):
    """The span of a text that answers a question (SQuAD 1.1 and 2.0)."""

    kind: Literal["question-answering"] = "question-answering"
    max_length: int = Field(384, ge=16, description="longest window: question and part of the context, in tokens")
    stride: int = Field(128, ge=1, description="tokens between the starts of two windows (not their overlap)")
    max_question_length: int = Field(64, ge=1, description="longer questions are cut, in tokens")
    n_best_size: int = Field(20, ge=1, description="candidate starts and ends per window, and answers kept")
    max_answer_length: int = Field(30, ge=1, description="longest answer in tokens")
    no_answer: bool = Field(False, description="questions may have no answer (SQuAD 2.0)")
    null_threshold: float = Field(0.0, description="no answer if null score - best score is above this")


_Kinds = PretrainingSettings | ClassificationSettings | QuestionAnsweringSettings
TaskSettings = Annotated[_Kinds, Discriminator("kind")]

TASK_KINDS: dict[str, type[Section]] = {kind.model_fields["kind"].default: kind for kind in get_args(_Kinds)}
"""The settings of every kind of task, by the name of the kind."""
