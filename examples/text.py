"""Sentences of different lengths: batches as dicts, padded by `collate`, read by `forward`."""

import random
import re
from pydoc_data.topics import topics

import torch
from torch import nn

import lrkit

# Which of Python's ten longest help pages does a sentence come from?
pages = sorted(topics.values(), key=len)[-10:]
sentences = [(sentence, label) for label, page in enumerate(pages) for sentence in re.split(r"\.\s+", page)]
random.Random(0).shuffle(sentences)
words = sorted({word for sentence, _ in sentences for word in re.findall(r"\w+", sentence)})
number = {word: index for index, word in enumerate(words, start=1)}  # 0 pads
data = [
    {"words": torch.tensor([number[word] for word in re.findall(r"\w+", sentence)]), "label": label}
    for sentence, label in sentences
    if re.search(r"\w", sentence)
]


def collate(items):
    """Pad to the longest."""
    return {
        "words": nn.utils.rnn.pad_sequence([item["words"] for item in items], batch_first=True),
        "label": torch.tensor([item["label"] for item in items]),
    }


class Classifier(nn.Module):
    """A linear layer on the mean of the words' vectors."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.EmbeddingBag(len(words) + 1, 64, padding_idx=0)
        self.output = nn.Linear(64, len(pages))

    def forward(self, words):
        return self.output(self.vectors(words))


def forward(model, batch):
    """Mean loss, number of samples, metrics."""
    output = model(batch["words"])
    loss = nn.functional.cross_entropy(output, batch["label"])
    return loss, len(output), {"accuracy": lrkit.accuracy(output, batch["label"])}


task = lrkit.Task(
    model=Classifier,
    train=data[500:],
    valid=data[:500],
    collate=collate,
    forward=forward,
    optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.02),
    batch_size=32,
    epochs=8,
    early_stopping=3,
)
