"""The encoder: ``[model]`` of a recipe."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from dokkai.settings.fields import Section


class ModelSettings(Section):
    """The encoder: a published shape, and what is changed in it."""

    shape: str = Field("base", description="tiny, mini, small, medium, base, large, or L<layers>-H<hidden size>")
    model_type: Literal["bert", "modernbert"] | None = Field(
        None, description="bert, or modernbert: pre-norm, rotary positions, gated, local attention; unset: bert"
    )
    num_attention_heads: int | None = Field(None, ge=1, description="attention heads; unset: hidden size / 64")
    intermediate_size: int | None = Field(None, ge=1, description="width of the feed-forward; unset: 4 x hidden size")
    max_position_embeddings: int | None = Field(None, ge=8, description="longest sequence; unset: 512")
    hidden_act: str | None = Field(None, description="gelu (erf), gelu_new (tanh), relu, silu ...; unset: gelu")
    local_attention: int | None = Field(None, ge=2, description="modernbert: tokens seen by a local layer; unset: 128")
    global_attn_every_n_layers: int | None = Field(
        None, ge=1, description="modernbert: one of so many layers sees all; unset: 3"
    )
    global_rope_theta: float | None = Field(None, gt=0, description="modernbert: slowest turn, global; unset: 160000")
    local_rope_theta: float | None = Field(None, gt=0, description="modernbert: slowest turn, local; unset: 10000")
    classifier_pooling: Literal["cls", "mean"] | None = Field(
        None,
        description="modernbert: what a label is read from, [CLS] or the mean of all tokens; unset: as the model",
    )
    initializer_range: float | None = Field(None, gt=0, description="deviation of random weights; unset: 0.02")
    frequency_bias: bool = Field(
        False, description="start the output bias at the words' log frequencies in the text; false: at 0, as released"
    )
    sinusoidal_positions: bool = Field(False, description="start positions as sine waves; false: random, as released")
    hidden_dropout_prob: float | None = Field(None, ge=0, lt=1, description="dropout after sub-layers; unset: 0.1")
    attention_probs_dropout_prob: float | None = Field(None, ge=0, lt=1, description="dropout in attention; unset: 0.1")

    @model_validator(mode="after")
    def _face(self) -> Self:
        if self.model_type == "modernbert" and self.sinusoidal_positions:
            raise ValueError("model.sinusoidal_positions starts learned positions; a modernbert has none: leave it out")
        return self

    def changes(self) -> dict[str, Any]:
        """The fields of ``config.json`` that are set."""
        values = self.model_dump(exclude={"shape", "frequency_bias", "sinusoidal_positions"})
        return {name: value for name, value in values.items() if value is not None}
