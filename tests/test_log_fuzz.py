"""Whatever a file has, it is a record or one sentence, soon: cut, mixed up, binary, huge, repeated, of mixed types."""

import json
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest

import lrkit
from log_forms import FORMS

SOON = 30.0  # seconds: what never ends takes far longer, and a busy machine doesn't matter
BINARY = ("Keras' TensorBoard callback", "SummaryWriter", "SummaryWriter.add_scalars", "MLflow's store", "trackio")
TEXTS = [tool for tool in FORMS if tool not in BINARY]
CELLS = [
    "",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1",
    "0",
    "1e300",
    "9" * 30,
    "9" * 400,
    "0.5",
    "abc",
    "None",
    "true",
    "1,5",
    "𝟙",
    "١",
]
STRANGE = [
    "\x00",
    "\ufeff",
    "\r",
    '"',
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    ";",
    "\t",
    "\n\n",
    "#",
    "=",
    ":",
    "\x1b[31m",
    "é",
    "\u2028",
]


def attempt(path):
    """Read, or be refused in one line."""
    began = time.perf_counter()
    try:
        found = lrkit.read_histories(path, epoch_steps=None)
        refusal = ""
    except lrkit.InputError as error:
        found, refusal = {}, str(error)
    assert "\n" not in refusal
    for history in found.values():
        assert len(history.losses) == len(history.lrs) > 0
        assert np.isfinite(history.lrs).all()
        json.dumps(history.to_dict(), allow_nan=False)
    assert time.perf_counter() - began < SOON


def written(tool, folder):
    FORMS[tool].write(folder)
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def cut(text, random):
    return text[: random.randrange(len(text) + 1)]


def mixed_up(text, random):
    rows = text.splitlines(keepends=True)
    random.shuffle(rows)
    return "".join(rows)


def repeated(text, random):
    rows = text.splitlines(keepends=True)
    return "".join(row for row in rows for _ in range(random.choice((0, 1, 1, 2)))) + "".join(
        rows[: random.randrange(4)]
    )


def with_other_cells(text, random):
    """Some numbers become something else."""
    return re.sub(
        r"-?\d+\.?\d*(e-?\d+)?", lambda found: random.choice(CELLS) if random.random() < 0.1 else found[0], text
    )


def with_strange(text, random):
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(text) + 1)
        text = text[:at] + random.choice(STRANGE) + text[at + random.randrange(3) :]
    return text


def without_columns(text, random):
    """Some names become others."""
    words = ["loss", "lr", "step", "epoch", "val_loss", "train", "iter", "learning_rate"]
    for word in random.sample(words, 2):
        text = text.replace(word, random.choice([*words, "x", "", "run", "value", "metric", "mode"]))
    return text


CHANGES = (cut, mixed_up, repeated, with_other_cells, with_strange, without_columns)


@pytest.mark.parametrize("tool", TEXTS)
def test_text_that_was_changed_is_a_record_or_one_sentence(tool, tmp_path):
    chance = random.Random(tool)
    [path] = written(tool, tmp_path)
    whole = path.read_text(encoding="utf-8")
    for _ in range(60):
        text = whole
        for change in chance.sample(CHANGES, chance.choice((1, 1, 2, 3))):
            text = change(text, chance)
        path.write_bytes(text.encode(chance.choice(("utf-8", "utf-8", "utf-16", "utf-16-be")), errors="replace"))
        attempt(path)


@pytest.mark.parametrize("tool", BINARY)
def test_bytes_that_were_changed_are_a_record_or_one_sentence(tool, tmp_path):
    chance = random.Random(tool)
    files = written(tool, tmp_path)
    whole = {path: path.read_bytes() for path in files}
    for _ in range(40):
        path = chance.choice(files)
        data = bytearray(whole[path])
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)
        attempt(tmp_path / FORMS[tool].path)
        path.write_bytes(whole[path])


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".txt", ".log", ".tsv", ""])
def test_anything_is_a_record_or_one_sentence(suffix, tmp_path):
    chance = random.Random(suffix)
    words = [
        "step",
        "loss",
        "lr",
        "epoch",
        "val_loss",
        "train",
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        "=",
        "/",
        "-",
        "|",
        *STRANGE,
        *CELLS,
    ]
    for number in range(150):
        path = tmp_path / f"{number}{suffix}"
        if number % 3:
            parts = [chance.choice(words) + chance.choice([",", " ", "\n", ""]) for _ in range(chance.randrange(60))]
            path.write_bytes("".join(parts).encode(errors="replace"))
        else:
            path.write_bytes(chance.randbytes(chance.randrange(200)))
        attempt(path)


@pytest.mark.parametrize(
    "rows",
    [
        ["step,loss,lr", "0,1,0.1", "9007199254740993,1,0.1"],
        ["step,loss,lr", "0,1,0.1", "1e300,1,0.1"],
        ["step,loss,lr", "0,1,0.1", "999999999999,1,0.1"],
        ["step,loss,lr", "0,1e300,0.1", "1,-1e300,1e300"],
        ["epoch,loss,lr,val_loss", "0,1,0.1,1", "99999999999,1,0.1,1"],
        ["epoch,step,loss,lr", "0,99999999,1,0.1", "1,0,1,0.1", "99999999,1,1,0.1"],
        ["step,loss,lr", *["0,1,0.1"] * 50],
        [",".join(f"c{number}" for number in range(3000)), ",".join(["1"] * 3000)],
        ["step,loss,lr", "0," + "1" * 200_000 + ",0.1"],
        ["{" * 5000],
        ["[" * 100_000],
        ['{"a":' * 5000 + "1" + "}" * 5000],
        ["step: 1 " + "loss " * 2000],
        ["step: 1 loss: " + "(" * 50_000],
        ["a" * 100_000],
        ["a " * 50_000 + "1"],
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".txt"])
def test_what_is_huge_is_a_record_or_one_sentence(rows, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_text("\n".join(rows) + "\n")
    attempt(path)
