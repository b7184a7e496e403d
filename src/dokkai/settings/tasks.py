"""The kinds of tasks: ``[task]`` of a recipe, one class for each kind."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, model_validator

from dokkai.settings.fields import Column, Names, Section, TableFormat, Tokens


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
    masked_share_least: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the share of each sequence is drawn anew, from this one up; unset: all sequences have the same",
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
        if self.masked_share_least is not None and self.masked_share_least > min(
            self.masked_share, self.masked_share_end or 1
        ):
            raise ValueError("task.masked_share_least is above task.masked_share; lower it")
        return self


class TextSettings(Section):
    """What the tasks on one text or a pair of texts share."""

    text: Column = Field("text", description="column of the text (a number counts columns from 0)")
    pair: Column | None = Field(None, description="column of the second text; unset: there is none")
    id: Column | None = Field(None, description="column of the id; unset: the number of the row")
    header: bool = Field(True, description="the first line of a table names its columns")
    format: TableFormat | None = Field(None, description="csv, tsv, jsonl, json, parquet; unset: by the file's ending")
    ragged: bool = Field(False, description="rows may have more or fewer fields than the first, behind the needed ones")
    skip_short: bool = Field(False, description="rows without the needed fields are left out, and counted")
    max_length: int = Field(128, ge=4, description="longest sequence in tokens; longer ones are cut and counted")


class ClassificationSettings(TextSettings):
    """One label for one text or a pair of texts."""

    kind: Literal["classification"] = "classification"
    label: Column = Field("label", description="column of the label")
    labels: Names | None = Field(None, description="all labels in the order of the logits; unset: as found, sorted")
    metric: Literal["accuracy", "f1_macro", "f1_micro", "f1_binary", "matthews"] = Field(
        "accuracy", description="what says which of two models is better: accuracy, f1_macro, f1_micro, f1_binary ..."
    )
    temperature: float = Field(
        1.0, gt=0, description="predictions divide logits by it: 2 is less sure; train.calibrate fits it"
    )

    @model_validator(mode="after")
    def _labels(self) -> Self:
        _check_labels(self.labels, 2)
        if self.metric == "f1_binary" and self.labels and len(self.labels) != 2:
            raise ValueError("task.metric=f1_binary is the F1 of the second of two labels; take f1_macro")
        return self


class MultiLabelSettings(TextSettings):
    """Any number of labels for one text or a pair of texts."""

    kind: Literal["multi-label"] = "multi-label"
    label: Column = Field("labels", description="column of the labels: a JSON list, or a text with separators")
    label_separator: str = Field(",", min_length=1, description="what stands between two labels in a text")
    label_columns: list[Column] | None = Field(
        None, min_length=1, description="instead: a column of 0 and 1 for each label, named as the label"
    )
    labels: Names | None = Field(None, description="all labels in the order of the logits; unset: as found, sorted")
    threshold: float = Field(0.5, gt=0, lt=1, description="a label is predicted if its probability is above this")
    metric: Literal["f1_micro", "f1_macro", "accuracy"] = Field(
        "f1_micro", description="what says which of two models is better; accuracy: all labels of a text are right"
    )
    temperature: float = Field(
        1.0, gt=0, description="predictions divide logits by it: 2 is less sure; train.calibrate fits it"
    )

    @model_validator(mode="after")
    def _labels(self) -> Self:
        _check_labels(self.labels, 1)
        if self.label_columns and self.labels and len(self.label_columns) != len(self.labels):
            raise ValueError("task.labels must name each of task.label_columns, or be left out")
        return self


class RegressionSettings(TextSettings):
    """A number for one text or a pair of texts, such as how alike they are."""

    kind: Literal["regression"] = "regression"
    label: Column = Field("label", description="column of the number")
    metric: Literal["pearson", "spearman"] = Field("pearson", description="what says which of two models is better")


class MultipleChoiceSettings(Section):
    """Which of several texts fits best: the answer to a question, the end of a story."""

    kind: Literal["multiple-choice"] = "multiple-choice"
    context: Column | None = Field(None, description="column of the text that is asked about; unset: there is none")
    question: Column | None = Field(
        None, description="column of the question; with a context it stands before each choice; unset: there is none"
    )
    choices: Names = Field(["choices"], min_length=1, description="columns of the choices, or one that holds a list")
    label: Column = Field("label", description="column of the right choice")
    label_is: Literal["number", "number-from-1", "letter", "name", "text"] = Field(
        "number",
        description="number: counted from 0, or from 1; letter: A or a for the first; name: what the list of choices "
        "calls it; text: the choice itself",
    )
    layout: Literal["table", "dream", "race", "mctest"] = Field(
        "table", description="the files are tables, or in the layout of these data sets"
    )
    id: Column | None = Field(None, description="column of the id; unset: the number of the row")
    header: bool = Field(True, description="the first line of a table names its columns")
    format: TableFormat | None = Field(None, description="csv, tsv, jsonl, json, parquet; unset: by the file's ending")
    ragged: bool = Field(False, description="rows may have more or fewer fields than the first, behind the needed ones")
    max_length: int = Field(128, ge=8, description="longest sequence in tokens; longer ones are cut and counted")
    metric: Literal["accuracy"] = Field("accuracy", description="what says which of two models is better")
    temperature: float = Field(
        1.0, gt=0, description="predictions divide logits by it: 2 is less sure; train.calibrate fits it"
    )

    @model_validator(mode="after")
    def _texts(self) -> Self:
        if self.context is None and self.question is None:
            raise ValueError("task.context and task.question are both unset; name the column of at least one")
        return self


class TokenClassificationSettings(Section):
    """A tag for each word, such as the names in a text (paper, section 5.3)."""

    kind: Literal["token-classification"] = "token-classification"
    words: Column | None = Field(
        None, description="column of the words: a number from 0 where lines hold a word each; unset: the usual one"
    )
    tags: Column | None = Field(None, description="column of the tags: a number, -1 for the last; unset: the usual one")
    id: Column | None = Field(
        None, description="column of the id; CSV has a word in each row, and this tells the sentences apart"
    )
    format: TableFormat | None = Field(None, description="csv, tsv, jsonl, json, parquet; unset: by the file's ending")
    labels: Names | None = Field(None, description="all tags in the order of the logits; unset: as found, O first")
    max_length: int = Field(128, ge=8, description="longest sequence in tokens; longer ones are read in windows")
    stride: int = Field(64, ge=1, description="tokens between the starts of two windows (not their overlap)")
    document_context: bool = Field(
        False, description="fill each sequence with the sentences around, as the paper; only its own are scored"
    )
    shared_windows: bool = Field(
        False,
        description="train on each window of a document once, for all sentences in it; document_context must be on",
    )
    metric: Literal["f1", "accuracy"] = Field(
        "f1", description="what says which of two models is better; f1: of whole entities, accuracy: of words"
    )

    @model_validator(mode="after")
    def _labels(self) -> Self:
        _check_labels(self.labels, 2)
        return self


class QuestionAnsweringSettings(Section):
    """The span of a text that answers a question (SQuAD 1.1 and 2.0)."""

    kind: Literal["question-answering"] = "question-answering"
    question: Column = Field("question", description="column of the question, in a table (SQuAD's layout needs none)")
    context: Column = Field("context", description="column of the text that holds the answer")
    answer: Column = Field("answer", description="column of the answer as it stands in the text; empty: there is none")
    answer_start: Column = Field(
        "answer_start", description="column of the characters before the answer; empty: it stands in the text once"
    )
    id: Column | None = Field(
        None, description="column of the id; unset: id if there is one, else the number of the row"
    )
    header: bool = Field(True, description="the first line of a table names its columns")
    format: TableFormat | None = Field(None, description="csv, tsv, jsonl, json, parquet; unset: by the file's ending")
    max_length: int = Field(384, ge=16, description="longest window: question and part of the context, in tokens")
    stride: int = Field(128, ge=1, description="tokens between the starts of two windows (not their overlap)")
    max_question_length: int = Field(64, ge=1, description="longer questions are cut, in tokens")
    n_best_size: int = Field(20, ge=1, description="candidate starts and ends per window, and answers kept")
    max_answer_length: int = Field(30, ge=1, description="longest answer in tokens")
    no_answer: bool = Field(False, description="questions may have no answer (SQuAD 2.0)")
    null_threshold: float = Field(
        0.0, description="no answer if null score - best score is above this; train.tune_threshold finds it"
    )
    null_slack: float = Field(
        0.0, ge=0, description="points of F1 that a null_threshold may cost when it is tuned, to refuse fewer questions"
    )
    temperature: float = Field(
        1.0, gt=0, description="scores are divided by it for probabilities: 2 is less sure; train.calibrate fits it"
    )
    null_temperature: float | None = Field(
        None,
        gt=0,
        description='the same for whether there is an answer; unset: "no answer" is one more of the answers',
    )
    scoring: Literal["squad", "characters"] = Field(
        "squad", description="words without articles, as SQuAD; or characters, as JSQuAD, for text without spaces"
    )
    metric: Literal["f1", "exact"] = Field("f1", description="what says which of two models is better")


class SimilaritySettings(TextSettings):
    """Vectors of texts, close to each other where the texts mean alike; learned from pairs that do."""

    kind: Literal["similarity"] = "similarity"
    pair: Column = Field("pair", description="column of the second text")
    label: Column | None = Field(
        "label", description="column of the score, or of the label; unset: none, every pair of --train is alike"
    )
    positive: str | float | None = Field(
        None, description="pairs to train on: the label, or the lowest score, of texts that are alike; unset: all"
    )
    pooling: Literal["mean", "cls", "max"] = Field("mean", description="what of its tokens makes the vector of a text")
    temperature: float = Field(0.05, gt=0, description="cosines are divided by it: lower looks at the nearest others")


def _check_labels(labels: list[str] | None, least: int) -> None:
    if labels is not None and (len(labels) < least or len(set(labels)) < len(labels)):
        raise ValueError(f"task.labels must name at least {least} labels, each once")


_Kinds = (
    PretrainingSettings
    | ClassificationSettings
    | MultiLabelSettings
    | RegressionSettings
    | MultipleChoiceSettings
    | TokenClassificationSettings
    | SimilaritySettings
    | QuestionAnsweringSettings
)
TaskSettings = Annotated[_Kinds, Discriminator("kind")]

TASK_KINDS: dict[str, type[Section]] = {kind.model_fields["kind"].default: kind for kind in get_args(_Kinds)}
"""The settings of every kind of task, by the name of the kind."""
