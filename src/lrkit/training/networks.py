"""The networks of the built-in tasks."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CharTransformer", "convolutional", "perceptron"]


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Fully connected layers with ReLU in between; images of shape (n, sizes[0]) in, logits out.

    >>> perceptron([784, 64, 10])
    Sequential(
      (0): Linear(in_features=784, out_features=64, bias=True)
      (1): ReLU()
      (2): Linear(in_features=64, out_features=10, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional(height: int, width: int, classes: int) -> nn.Sequential:
    """Two 3 x 3 convolutions with 16 and 32 channels, each halved by pooling, and a linear layer; flat images in.

    >>> convolutional(28, 28, 10)(torch.zeros(5, 784)).shape
    torch.Size([5, 10])
    """
    return nn.Sequential(
        nn.Unflatten(1, (1, height, width)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), classes),
    )


class CharTransformer(nn.Module):
    """A causal transformer over characters: int64 of shape (n, length) in, logits of shape (n, length, vocabulary) out.

    Pre-norm blocks, learned positions.

    >>> CharTransformer(vocabulary=30, length=16)(torch.zeros(2, 16, dtype=torch.int64)).shape
    torch.Size([2, 16, 30])
    """

    def __init__(self, vocabulary: int, length: int, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, text: Tensor) -> Tensor:
        """Logits of the next character at every place."""
        logits: Tensor = self.head(self.norm(self.blocks(self.characters(text) + self.positions[: text.shape[1]])))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, length, width) in and out."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.attention(self.norms[0](x)).chunk(3, dim=-1)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + cast("Tensor", self.mixed(seen.transpose(1, 2).flatten(2)))
        return x + cast("Tensor", self.wide(self.norms[1](x)))
