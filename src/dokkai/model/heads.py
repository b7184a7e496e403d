"""What stands on the encoder: one small head per kind of answer, and the model that joins them. Heads return logits.

B batch · L sequence length · D hidden size · V vocabulary · Y labels · C choices · M masked positions
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dokkai.errors import UserError
from dokkai.model.config import ModelConfig
from dokkai.model.encoder import Encoder, activation, norm
from dokkai.model.initialization import initialize

Batch = dict[str, Tensor]
Below = Callable[[Tensor, Tensor, Tensor | None], tuple[int, Tensor]]
"""``input_ids``, ``token_type_ids`` and ``attention_mask`` to the number of a layer and its output ``(B, L, D)``."""


class OutputLayer(nn.Linear):
    """The last layer of a head. With one output each row is summed by itself, so equal rows give equal numbers.

    The products of a matrix and a vector of some CPU libraries add up a row by its place in the batch: the same text
    twice then has two values that differ in the eighth digit.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., Y)``."""
        if self.out_features > 1:
            return super().forward(x)
        out: Tensor = (x * self.weight[0]).sum(-1, keepdim=True) + self.bias
        return out


class MaskedLMHead(nn.Module):
    """Transform, then the word embeddings themselves as the output matrix (release: ``get_masked_lm_output``)."""

    def __init__(self, config: ModelConfig, num_labels: int = 0) -> None:
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, config.hidden_size, bias=not config.is_modern)
        self.activation = activation(config)
        self.norm = norm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x_MD: Tensor, embedding_VD: Tensor) -> Tensor:
        """Vectors of the masked positions to ``(M, V)``: the other 85 % never meet the vocabulary."""
        return nn.functional.linear(self.norm(self.activation(self.transform(x_MD))), embedding_VD, self.bias)


class NextSentenceHead(nn.Module):
    """Is B the text that follows A? Class 0 says yes, class 1 says random (release: ``get_next_sentence_output``)."""

    def __init__(self, config: ModelConfig, num_labels: int = 0) -> None:
        super().__init__()
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(B, 2)``."""
        out: Tensor = self.classifier(torch.tanh(self.pooler(x_BLD[:, 0])))
        return out


class ClassificationHead(nn.Module):
    """One label per sequence, from the pooled [CLS] vector (release: ``run_classifier.create_model``)."""

    def __init__(self, config: ModelConfig, num_labels: int = 2) -> None:
        super().__init__()
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = OutputLayer(config.hidden_size, num_labels)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(B, Y)``."""
        out: Tensor = self.classifier(self.dropout(torch.tanh(self.pooler(x_BLD[:, 0]))))
        return out


class TokenClassificationHead(nn.Module):
    """One label per token (paper, section 5.3; ``BertForTokenClassification``)."""

    def __init__(self, config: ModelConfig, num_labels: int = 2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = OutputLayer(config.hidden_size, num_labels)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(B, L, Y)``."""
        out: Tensor = self.classifier(self.dropout(x_BLD))
        return out


class MultipleChoiceHead(nn.Module):
    """How well a choice fits (paper, section 4.4; ``BertForMultipleChoice``). Each row is one choice of a question."""

    def __init__(self, config: ModelConfig, num_labels: int = 1) -> None:
        super().__init__()
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = OutputLayer(config.hidden_size, 1)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(B,)``; with C choices each, ``view(-1, C)`` has a row for each question."""
        out: Tensor = self.classifier(self.dropout(torch.tanh(self.pooler(x_BLD[:, 0]))))
        return out.squeeze(-1)


class SpanHead(nn.Module):
    """Where the answer starts and where it ends (release: ``run_squad.create_model``)."""

    def __init__(self, config: ModelConfig, num_labels: int = 2) -> None:
        super().__init__()
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """``(B, L, D)`` to ``(B, L, 2)``: start logits, end logits."""
        out: Tensor = self.classifier(x_BLD)
        return out


class ModernHead(nn.Module):
    """ModernBERT's head for everything but masked words: transform, activation, norm, dropout, one more layer.

    ``is_pooled``: it answers for the sequence, of whose tokens it reads the first, or the mean.
    """

    def __init__(self, config: ModelConfig, num_labels: int, is_pooled: bool) -> None:
        super().__init__()
        self.is_pooled, self.takes_mean = is_pooled, config.classifier_pooling == "mean"
        self.transform = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.activation = activation(config)
        self.norm = norm(config)
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = OutputLayer(config.hidden_size, num_labels)

    def forward(self, x_BLD: Tensor, attention_mask: Tensor | None) -> Tensor:
        """``(B, L, D)`` to ``(B, Y)`` if pooled, else to ``(B, L, Y)``."""
        x = x_BLD
        if self.is_pooled and self.takes_mean:
            weight_BL1 = x.new_ones(x.shape[:2]) if attention_mask is None else attention_mask.to(x.dtype)
            x = (x * weight_BL1[:, :, None]).sum(1) / weight_BL1.sum(1, keepdim=True)
        elif self.is_pooled:
            x = x[:, 0]
        out: Tensor = self.classifier(self.dropout(self.norm(self.activation(self.transform(x)))))
        return out


HEADS: Mapping[str, type[nn.Module]] = {
    "masked_lm": MaskedLMHead,
    "next_sentence": NextSentenceHead,
    "classification": ClassificationHead,
    "token_classification": TokenClassificationHead,
    "multiple_choice": MultipleChoiceHead,
    "span": SpanHead,
}
_MODERN_HEADS = {  # whether it is pooled, and its outputs if they are no labels
    "classification": (True, None),
    "token_classification": (False, None),
    "multiple_choice": (True, 1),
    "span": (False, 2),
}


def create_head(name: str, config: ModelConfig, num_labels: int) -> nn.Module:
    """The head of this name for this kind of encoder; UserError if ModernBERT has no such head."""
    if not config.is_modern or name == "masked_lm":
        return HEADS[name](config, num_labels)
    if name not in _MODERN_HEADS:
        raise UserError("ModernBERT has no next-sentence task; set task.next_sentence=false")
    is_pooled, outputs = _MODERN_HEADS[name]
    return ModernHead(config, outputs or num_labels, is_pooled)


def _reads_first_only(head: nn.Module) -> bool:
    """Whether of a sequence [CLS] is all that matters: nothing else of the last layer has to be computed."""
    if isinstance(head, ModernHead):
        return head.is_pooled and not head.takes_mean
    return isinstance(head, ClassificationHead | MultipleChoiceHead | NextSentenceHead)


class Model(nn.Module):
    """An encoder and the heads named in ``heads``; ``num_labels`` is the width of a head that classifies.

    Under ``torch.device("meta")`` nothing is drawn and no memory taken, until weights are assigned.
    """

    def __init__(self, config: ModelConfig, heads: tuple[str, ...] = (), num_labels: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.num_labels = num_labels
        self.encoder = Encoder(config)
        self.heads = nn.ModuleDict({name: create_head(name, config, num_labels) for name in heads})
        self._reads_first_only = bool(heads) and all(_reads_first_only(head) for head in self.heads.values())
        self.read_below: Below | None = None
        """Where the output of lower layers comes from, if it is not computed."""
        initialize(self, config, seed)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Logits by head name; a model without heads gives the last layer under ``states``, ``(B, L, D)``.

        ``input_ids`` and ``token_type_ids`` ``(B, L)``; ``attention_mask`` ``(B, L)`` if there is padding;
        ``masked_positions`` ``(M,)``, indices into the flattened ``B * L``, for the masked-LM head.
        """
        inputs = (batch["input_ids"], batch["token_type_ids"], batch.get("attention_mask"))
        below = self.read_below(*inputs) if self.read_below else None
        x_BLD = self.encoder(*inputs, first=1 if self._reads_first_only else None, below=below)
        if not self.heads:
            return {"states": x_BLD}
        logits = {}
        for name, head in self.heads.items():
            if isinstance(head, MaskedLMHead):
                x_MD = x_BLD.flatten(0, 1).index_select(0, batch["masked_positions"])
                logits[name] = head(x_MD, self.encoder.embeddings.word.weight)
            elif isinstance(head, ModernHead):
                logits_B = head(x_BLD, batch.get("attention_mask"))
                logits[name] = logits_B.squeeze(-1) if name == "multiple_choice" else logits_B
            else:
                logits[name] = head(x_BLD)
        return logits
