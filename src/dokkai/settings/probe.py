"""Features of an encoder that stays as it is: ``[probe]`` of a recipe."""

from typing import Literal

from pydantic import Field

from dokkai.settings.fields import Section, Word


class ProbeSettings(Section):
    """What is taken from the encoder, and what is trained on it."""

    layers: Word = Field(
        "last",
        description="embeddings, last, second-to-last, sum-last-4, sum-all, weighted-last-4, weighted-all, "
        "concat-last-4, or numbers such as -1,-2",
    )
    pooling: Literal["mean", "cls", "max"] = Field("mean", description="labels of texts: what of its tokens makes one")
    penalty: float = Field(1.0, gt=0, description="labels of texts: strength of the L2 penalty of the regression")
    lstm_size: int = Field(768, ge=1, description="tags of words: width of the LSTM in each direction")
    lstm_layers: int = Field(2, ge=1, description="tags of words: layers of the LSTM")
    dropout: float = Field(0.1, ge=0, lt=1, description="tags of words: dropout on the features, between layers, after")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the features of tokens on disk")
