"""The loop: ``[train]`` of a recipe."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dokkai.settings.fields import Section, Time, seconds_of


class TrainSettings(Section):
    """The loop: how long, how fast, how often."""

    steps: int | None = Field(None, ge=1, description="updates; unset: from epochs")
    epochs: float = Field(3.0, gt=0, description="passes over the examples, if steps and budget are unset")
    budget: Time = Field(
        None, description='time in place of steps, as in "1h30m": all but evaluations, over all starts; unset: steps'
    )
    dev_share: float = Field(
        0.0, ge=0, lt=1, description="fine-tuning without --dev: share of the examples held out in its place"
    )
    batch_size: int = Field(32, ge=1, description="sequences per update, over all devices")
    micro_batch_tokens: int = Field(
        16384, ge=1, description="most tokens, padding included, in memory at a time (fine-tuning on a CPU: 2,048)"
    )
    optimizer: Literal["adamw", "muon", "bert-adam"] = Field(
        "adamw", description="muon: for the layers' matrices; bert-adam: that of 2018, with its course of the rate"
    )
    learning_rate: float | None = Field(
        None, gt=0, description="highest learning rate; unset: by the encoder's width in fine-tuning, else 5e-5"
    )
    head_rate: float | None = Field(
        None, gt=0, description="times that rate for a head's new layer; unset: 10 for texts on narrow encoders, else 1"
    )
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the run in which the rate rises from 0")
    schedule: Literal["linear", "trapezoid", "constant"] = Field(
        "linear", description="then the rate falls straight; or stays, and falls at the end (1 - sqrt); or stays"
    )
    cooldown_share: float = Field(0.2, ge=0, le=1, description="trapezoid: share of the run in which the rate falls")
    weight_decay: float = Field(0.01, ge=0, description="decoupled decay; norms and biases are left out")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: memory of the mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW: memory of the square")
    epsilon: float = Field(1e-6, gt=0, description="AdamW: added to the root")
    average: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="the model is a mean of weights of this age, as a share of the run; unset: the last",
    )
    clip_norm: float = Field(1.0, ge=0, description="longest gradient; 0: no clipping")
    frozen_layers: int | None = Field(
        None, ge=0, description="the embeddings and so many of the lowest layers stay as they are; unset: all learn"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, masks and dropout")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the machine is faster in it"
    )
    compile: Literal["auto", "on", "off"] = Field("auto", description="torch.compile; auto: where it pays")
    evaluate_every: int = Field(0, ge=0, description="steps between evaluations; 0: ten in the run")
    log_every: int = Field(0, ge=0, description="steps between lines of metrics.jsonl; 0: about 500 in the run")
    save_every: int = Field(0, ge=0, description="steps between checkpoints; 0: by time alone")
    save_minutes: float = Field(10.0, gt=0, description="minutes between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="how many of the last checkpoints stay")
    keep: Literal["auto", "best", "last"] = Field(
        "auto", description="weights that stay: best evaluation, or last; auto: best, last in pre-training"
    )
    patience: int | None = Field(
        None, ge=1, description="evaluations without a better one before the run ends early; unset: it never does"
    )
    restarts: int = Field(2, ge=0, description="how often a stuck run begins anew with half the rate; 0: never")
    calibrate: bool = Field(True, description="fit what tempers the probabilities to the dev set at the end")
    tune_threshold: bool = Field(
        True, description="find task.null_threshold on the dev set at the end, if it has unanswerable questions"
    )
    workers: int = Field(0, ge=0, description="processes that prepare batches, one per core at most; 0: a thread")

    @property
    def highest_rate(self) -> float:
        """``learning_rate``, or what it is if nothing says more."""
        return self.learning_rate or 5e-5

    @property
    def budget_seconds(self) -> int:
        """``budget`` in seconds; 0: the run is counted in steps."""
        return seconds_of(self.budget or "")

    @model_validator(mode="after")
    def _course(self) -> Self:
        if self.steps and self.budget:
            raise ValueError("train.steps and train.budget are both set; a run ends by one of them: leave one out")
        if self.optimizer == "bert-adam" and self.schedule != "linear":
            raise ValueError("train.optimizer=bert-adam has the course of 2018; leave train.schedule out")
        if self.optimizer == "bert-adam" and self.head_rate not in (None, 1):
            raise ValueError("train.optimizer=bert-adam has one rate for all; leave train.head_rate out")
        if self.schedule == "trapezoid" and self.warmup_share + self.cooldown_share > 1 + 1e-9:
            raise ValueError("train.warmup_share and train.cooldown_share are more than the run together; lower one")
        return self
