"""What a recorded name says by its words: a loss, of which data; a rate, of which param group; what counts."""

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "LossName",
    "RateName",
    "as_loss",
    "as_rate",
    "counts_epochs",
    "counts_steps",
    "is_clock",
    "is_loss",
    "is_rate",
    "is_time",
    "metric_name",
    "side_in",
    "words_of",
]

# The table of names. What tools call things is added here, and nowhere else.
_SIDES = {
    "train": ("train", "training", "trn", "trainer"),
    "valid": ("val", "valid", "validation", "eval", "evaluation", "dev", "holdout", "heldout"),
    "test": ("test", "testing", "tst"),
}
_SHORT = {  # names that are words run together, or llm.c's letters
    "trainloss": "train loss", "trloss": "train loss", "trl": "train loss", "tloss": "train loss",
    "valloss": "val loss", "validloss": "val loss", "validationloss": "val loss", "evalloss": "val loss",
    "vloss": "val loss", "tel": "val loss", "testloss": "test loss", "avgloss": "avg loss", "totalloss": "total loss",
    "meanloss": "mean loss", "lmloss": "lm loss", "learningrate": "learning rate", "globalstep": "global step",
    "losses": "loss",
}  # fmt: skip  # more to a line reads better
_FINE = {"step", "batch", "iter", "iteration", "minibatch", "micro"}  # a loss of single updates
_COARSE = {"epoch", "avg", "average", "mean", "running", "smoothed", "smooth", "ema"}
_WHOLE = {  # what a loss is of as a whole
    "total", "global", "overall", "all", "value", "lm", "ce", "nll", "xent", "cross", "entropy", "mlm", "clm",
    "language", "model", "modeling", "reduced", "raw", "current", "cur", "log", "logs", "metrics", "scalar", "main",
}  # fmt: skip
_NO_LOSS = {  # beside "loss": what is none
    "scale", "scaler", "weight", "weights", "count", "ppl", "perplexity", "time", "seconds", "lr", "rate", "grad",
    "norm", "std", "var", "variance", "min", "max", "best", "num", "ratio", "coef", "coefficient", "vs",
}  # fmt: skip
_STEPS = (  # in this order, where several are as good
    "train global step", "trainer global step", "global step", "global iter", "global iteration", "train step", "step",
    "steps", "iteration", "iterations", "iter", "iters", "it", "itr", "n iter", "num iter", "update", "updates",
    "num updates", "n updates", "num update", "current steps", "current step", "current iter", "optimizer step",
    "optim step", "train iter", "train iteration", "train steps", "training step", "training steps", "s",
)  # fmt: skip
_LAST_STEP = "_step"  # of wandb, which counts calls of its log
_EPOCHS = ("epoch", "epochs", "train epoch", "current epoch", "ep", "epoch num", "epoch number", "trainer epoch")
_TIMES = (
    "time", "wall time", "walltime", "timestamp", "created at", "elapsed", "elapsed time", "train time", "seconds",
    "runtime", "total time", "time elapsed", "relative time", "relative time process", "elapsed seconds", "wall clock",
)  # fmt: skip
_NO_METRIC = {  # what else is logged beside
    "runtime", "second", "seconds", "time", "loss", "epoch", "step", "samples", "steps", "tokens", "memory", "lr",
    "rate",
}  # fmt: skip
_BESIDE_A_RATE = {
    "train", "training", "trainer", "opt", "optimizer", "optim", "optimizers", "x", "epoch", "step", "iter", "batch",
    "current", "cur", "param", "group", "groups", "pg", "value", "schedule", "scheduler", "log", "logs", "metrics",
    "hyperparameters", "hparams", "hyper", "parameters", "charts", "last", "stats", "info",
}  # fmt: skip
_NO_RATE = {"momentum", "decay", "weight", "min", "max", "init", "initial", "target", "peak", "mult", "scale", "ratio",
            "factor", "loss", "count"}  # fmt: skip  # beside "lr"
_MONITORED = re.compile(r"(?:[\w ]+/)?lr-(?P<optimizer>[A-Za-z]\w*(?:-\d+)?)(?:/(?P<group>[\w.]+))?")  # by Lightning
_GROUP = re.compile(r"(?P<base>.*?)(?:[/_. -]?(?:param_?group|pg|group)_?|[/_.]|(?<=lr))(?P<number>\d+)", re.IGNORECASE)


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, however they are joined.

    >>> words_of("trainLoss"), words_of("val_loss/dataloader_idx_0"), words_of("trl"), words_of("metrics/mAP50(B)")
    (('train', 'loss'), ('val', 'loss', 'dataloader', 'idx', '0'), ('train', 'loss'), ('metrics', 'm', 'ap50', 'b'))
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    found = re.findall(r"[a-z0-9]+", apart.lower())
    return tuple(word for each in found for word in _SHORT.get(each, each).split())


def side_in(name: str) -> str | None:
    """The data that a name speaks of, "train", "valid" or "test"; None where it doesn't say, or says several.

    >>> side_in("val_loss"), side_in("Loss/train"), side_in("loss")
    ('valid', 'train', None)
    """
    words = set(words_of(name))
    found = [side for side, known in _SIDES.items() if words & set(known)]
    return found[0] if len(found) == 1 else None


# --- losses ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossName:
    """A loss, by its name.

    Attributes:
        side: "train", "valid", "test", or None where it doesn't say.
        grain: 0 of updates, 1 unsaid, 2 of epochs.
        of: what else it is of: a part, or a set of data; empty for the loss as a whole.
    """

    side: str | None
    grain: int
    of: tuple[str, ...]


@lru_cache(maxsize=4096)
def as_loss(name: str) -> LossName | None:
    """What a name says of a loss; None for what is none.

    >>> as_loss("train_loss_step"), as_loss("eval_news_loss").of, as_loss("loss scale")
    (LossName(side='train', grain=0, of=()), ('news',), None)
    """
    words = words_of(name)
    known = {word for each in _SIDES.values() for word in each}
    if "loss" not in words or set(words) & _NO_LOSS:
        return None
    sides = {side for side, own in _SIDES.items() if set(words) & set(own)}
    if len(sides) > 1:
        return None
    rest = set(words)
    grain = 0 if rest & _FINE else 2 if rest & _COARSE else 1
    of = tuple(word for word in words if word != "loss" and word not in known | _FINE | _COARSE | _WHOLE)
    return LossName(next(iter(sides), None), grain, of)


def is_loss(name: str) -> bool:
    """Whether it is a loss, as a whole or a part."""
    return as_loss(name) is not None


def metric_name(name: str, side: str) -> str | None:
    """What is measured on these data but the loss, by what it is called without them; None for what is none.

    >>> [metric_name(name, "valid") for name in ("val_acc", "valid/top_5", "eval_runtime", "val_f1_epoch", "train_acc")]
    ['accuracy', 'top_5', None, 'f1', None]
    """
    words = [word for word in re.split(r"[^a-z0-9]+", _lowered(name)) if word]
    own = _SIDES[side]
    if len(words) < 2 or not {words[0], words[-1]} & set(own):
        return None
    rest = words[1:] if words[0] in own else words[:-1]
    if len(rest) > 1 and rest[-1] == "epoch":
        rest = rest[:-1]
    if set(rest) & _NO_METRIC or rest == ["s"]:
        return None
    return "accuracy" if rest == ["acc"] else "_".join(rest)


def _lowered(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# --- rates -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RateName:
    """A rate, by its name.

    Attributes:
        base: what all param groups of an optimizer share.
        group: 0-based, or the number that stands there.
        plain: whether nothing but the rate is named.
    """

    base: str
    group: int
    plain: bool


@lru_cache(maxsize=4096)
def as_rate(name: str) -> RateName | None:
    """What a name says of a learning rate; None for what is none.

    >>> as_rate("lr/pg1"), as_rate("x/lr0"), as_rate("lr-AdamW/pg2").group, as_rate("lr-AdamW-momentum")
    (RateName(base='lr', group=1, plain=True), RateName(base='x/lr', group=0, plain=True), 2, None)
    >>> as_rate("base_lr").plain, as_rate("train/learning_rate").plain, as_rate("min_lr"), as_rate("lr_scheduler_step")
    (False, True, None, None)
    """
    monitored = _MONITORED.fullmatch(name)
    if monitored and not name.lower().endswith(("-momentum", "-weight_decay", "-momentum-1")):
        numbered = re.fullmatch(r"(?:pg|group_?)?(\d+)", monitored["group"] or "")
        base = name if monitored["group"] is None or not numbered else name[: monitored.start("group") - 1]
        return RateName(base, int(numbered[1]) if numbered else 0, plain=False)
    numbered = _GROUP.fullmatch(name)
    base, group = (numbered["base"], int(numbered["number"][:9])) if numbered else (name, 0)
    words = list(words_of(base))
    if "lr" in words:
        words.remove("lr")
    elif "learning" in words and "rate" in words:
        words = [word for word in words if word not in ("learning", "rate")]
    else:
        return None
    if set(words) & _NO_RATE or words == ["scheduler", "step"] or _ends_otherwise(base):
        return None
    return RateName(base, group, plain=set(words) <= _BESIDE_A_RATE)


def _ends_otherwise(base: str) -> bool:
    """Whether a name goes on after the rate with what a rate isn't, as in `lr_scheduler_step`."""
    words = words_of(base)
    end = max(place for place, word in enumerate(words) if word in ("lr", "rate"))
    return bool({"scheduler", "schedule", "policy", "finder", "warmup"} & set(words[end + 1 :]))


def is_rate(name: str) -> bool:
    """Whether it is a learning rate."""
    return as_rate(name) is not None


# --- what counts -------------------------------------------------------------------------------------


def counts_steps(name: str) -> int | None:
    """How late a name comes among those that count steps, lowest first; None for what doesn't.

    >>> counts_steps("global_step") < counts_steps("Step") < counts_steps("_step"), counts_steps("epoch")
    (True, None)
    """
    if name.lower() == _LAST_STEP:
        return len(_STEPS) + 1
    words = " ".join(words_of(name))
    if words in _STEPS:
        return _STEPS.index(words)
    return len(_STEPS) if words.endswith(" global step") else None


def counts_epochs(name: str) -> bool:
    """Whether it counts epochs.

    >>> counts_epochs("Epoch"), counts_epochs("epoch_loss")
    (True, False)
    """
    return " ".join(words_of(name)) in _EPOCHS


def is_clock(name: str) -> bool:
    """Whether it counts steps or epochs."""
    return counts_steps(name) is not None or counts_epochs(name)


def is_time(name: str) -> bool:
    """Whether it may be a time since the begin."""
    return " ".join(words_of(name)) in _TIMES
