"""Tasks of one's own: where they come from, what they may be, and what is said when they fail."""

import dataclasses
import importlib
import json
import re
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import lrkit as package
from lrkit import InputError, InputTypeError, RunFolder
from lrkit.output.cli_training import BUILT_IN
from lrkit.training import tasks
from test_loop import X, Y, make

ROOT = Path(__file__).parent.parent
GOOD = (ROOT / "examples" / "spirals.py").read_text()


# --- from the command line ---------------------------------------------------------------------------


def test_the_readmes_task_is_the_example_and_short():
    assert f"```python\n{GOOD}```" in (ROOT / "README.md").read_text()
    assert len(GOOD.splitlines()) < 25


@pytest.mark.parametrize("name", ["images", "text", "tabular"])
def test_the_docs_examples_are_complete_and_learn(name, lrkit, tmp_path):
    code = (ROOT / "examples" / f"{name}.py").read_text()
    assert f"```python\n{code}```" in (ROOT / "docs" / "tasks.md").read_text()
    status, out, err = lrkit("train", ROOT / "examples" / f"{name}.py", "--steps", 60, "--json")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert result["task"] == name
    losses = RunFolder.load(result["run_dir"]).losses
    assert losses[-10:].mean() < 0.9 * losses[:10].mean()


def test_options_change_the_task(lrkit, tmp_path):
    (tmp_path / "own.py").write_text(GOOD.replace("epochs=10", "steps=100"))
    results = [
        json.loads(lrkit("train", "own.py:task", "--json", *options)[1])
        for options in ([], ["--epochs", 3], ["--steps", 70, "--batch-size", 64, "--threads", 1])
    ]
    assert [each["steps"] for each in results] == [100, 150, 70]
    assert [each["batch_size"] for each in results] == [32, 32, 64]
    assert results[2]["threads"] == 1


def test_a_function_a_module_and_a_neighbour(lrkit, tmp_path):
    folder = tmp_path / "somewhere" / "pack"
    folder.mkdir(parents=True)
    (folder / "neighbour_of_one.py").write_text(GOOD)
    (folder / "one.py").write_text("from neighbour_of_one import task\ndef small():\n    return task\n")
    status, out, _ = lrkit("train", folder / "one.py:small", "--epochs", 1, "--json")
    assert (status, json.loads(out)["task"]) == (0, "small")
    (tmp_path / "pack_here").mkdir()
    (tmp_path / "pack_here" / "two.py").write_text(GOOD)
    importlib.invalidate_caches()
    status, out, _ = lrkit("train", "pack_here.two:task", "--epochs", 1, "--json")
    assert (status, json.loads(out)["task"]) == (0, "pack_here")
    assert len(json.loads(out)["source"]["sha256"]) == 64


def test_a_module_is_found_again_from_another_folder(lrkit, tmp_path, monkeypatch):
    (tmp_path / "pack_there").mkdir()
    (tmp_path / "pack_there" / "two.py").write_text(GOOD)
    importlib.invalidate_caches()
    assert lrkit("train", "pack_there.two:task", "--epochs", 1, "--out", "run", "--quiet")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sys.path.remove(str(tmp_path))
    for name in ("pack_there", "pack_there.two"):
        del sys.modules[name]
    assert lrkit("train", "--resume", "../run", "--quiet") == (0, "", "")
    config = RunFolder.config(tmp_path / "run")
    assert (config["source"]["task"], config["source"]["folder"]) == ("pack_there.two:task", str(tmp_path))


def test_a_policy_is_for_the_length_that_it_was_named_for(lrkit, tmp_path):
    (tmp_path / "own.py").write_text(GOOD)
    options = ["--quiet", "--schedule", "linear(to=0)"]
    assert lrkit("train", "own.py", "--epochs", 1, "--out", "run", *options)[0] == 0
    assert lrkit("train", "--resume", "run", "--epochs", 2, "--policy", "keep", "--quiet")[0] == 0
    assert lrkit("train", "--resume", "run", "--quiet") == (0, "", "")
    for changes in (["--epochs", 3], ["--steps", 120], ["--schedule", "constant()"]):
        status, _, err = lrkit("train", "--resume", "run", *changes)
        assert status == 2
        assert "name the policy: 'keep'" in err
    assert lrkit("train", "--resume", "run", "--quiet") == (0, "", "")


def test_resume_from_the_command_line(lrkit, tmp_path):
    (tmp_path / "own.py").write_text(GOOD)
    whole = json.loads(lrkit("train", "own.py", "--epochs", 3, "--json", "--seed", 4, "--lr", 0.02)[1])
    assert lrkit("train", "own.py", "--epochs", 2, "--quiet", "--out", "run", "--seed", 4, "--lr", 0.02)[0] == 0
    status, out, _ = lrkit("train", "--resume", "run", "--epochs", 3, "--json")
    assert status == 0  # the default schedule is no different over three epochs, so no policy is needed
    numbers = [[each["train_loss"] for each in made["epochs"]] for made in (json.loads(out), whole)]
    assert numbers[0] == numbers[1]
    assert lrkit("train", "--resume", "run")[1].startswith("goes on after step 150 of 150")
    status, _, err = lrkit("train", "--resume", "run", "--schedule", "constant(0.5)")
    assert status == 2
    assert "name the policy: 'keep'" in err
    status, out, _ = lrkit("train", "--resume", "run", "--schedule", "constant(0.5)", "--policy", "replace", "--json")
    assert (status, json.loads(out)["schedule"]) == (0, "constant(0.5)")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["own.py:tusk"], "unknown task in own.py 'tusk', did you mean 'task'? Known: task"),
        (["own.py:x"], "own.py:x must be an lrkit.Task or a function that returns one, not Tensor"),
        (["none.py"], "there is no file none.py"),
        (["no.such.module:task"], "there is no module no.such.module, neither in /"),
        (["json:task"], "json has no task 'task'"),
        ([":task"], "a task is a built-in name, 'file.py:task' or 'package.module:task', not ':task'"),
        (["own.py", "--data", "."], "--data is for built-in tasks"),
        (["chars", "--data", "."], "the task chars takes no --data"),
        (["own.py", "--epochs", "2", "--steps", "3"], "either --epochs or --steps, not both"),
        (["own.py", "--steps", "0"], "--steps must be at least 1, not 0"),
        (["own.py", "--threads", "0"], "--threads must be at least 1, not 0"),
        (["own.py", "--checkpoint-every", "often"], "checkpoint_every must be a number of updates, or a time"),
        (["own.py", "--policy", "keep"], "--policy is for a run that goes on"),
        (["--resume", "none"], "none is not a run folder"),
        (["--resume", "none", "--policy", "maybe"], "--policy must be keep, stretch, replace, restart, not 'maybe'"),
        (["own.py", "--resume", "run"], "so a task can't be given with it"),
        (["--resume", "run", "--lr", "find"], "so --lr find can't be given with it"),
        (["--resume", "run", "--seed", "0"], "so --seed can't be given with it"),
    ],
)
def test_what_a_person_can_get_wrong_gets_one_line(lrkit, tmp_path, arguments, sentence):
    (tmp_path / "own.py").write_text(GOOD)
    status, _, err = lrkit("train", *arguments)
    assert status == 2
    assert err.startswith("lrkit: error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


TASK_LINE = "task = lrkit.Task("
LOSS = "nn.functional.cross_entropy"
FAILURES = [  # what stands there, what is put in its place, the line that is named, what is said
    (
        "% 2\n",
        "% 3\n",
        TASK_LINE,
        r"in the loss, given output float32 .32, 2., target int64 .32,. from 0 to 2: Index",
    ),
    ("(64, 2)", "(63, 2)", TASK_LINE, r"in the model, given input float32 .32, 2.: RuntimeError: mat1 and mat2 shapes"),
    (LOSS, "nn.CrossEntropyLoss(reduction='none')", TASK_LINE, "the loss must be one number .* not float32 .32,."),
    (LOSS, "lambda output, target: 0.5", TASK_LINE, "the loss must be one number in a tensor"),
    (LOSS, "lambda output, target: target.float().mean()", TASK_LINE, "doesn't depend on any trainable"),
    ("x[:1600], y[:1600]", "x[:0], y[:0]", TASK_LINE, "train has no samples"),
    ("x[1600:], y[1600:]", "x[:0], y[:0]", TASK_LINE, "valid has no samples"),
    ("x[:1600], y[:1600]", "x[:1600], y[:3]", TASK_LINE, "train has tensors of different lengths: 1600, 3"),
    ("x[:1600], y[:1600]", "x[:1600], y[:1600], y[:1600]", TASK_LINE, r"a batch must be an .input, target. pair"),
    ("train=(x[:1600], y[:1600])", "train=iter(())", TASK_LINE, "train must be tensors or a dataset, not tuple_iter"),
    ("nn.Sequential(", "nn.Sequentil(", "nn.Sequentil", r"in model\(\): AttributeError: module 'torch.nn' has no"),
    ("nn.Linear(64, 2))", "nn.Linear(64, 2)).eval", TASK_LINE, r"model\(\) must return a torch.nn.Module, not method"),
    ("nn.Sequential(", "nn.Sequential() if True else (", TASK_LINE, "the model has no trainable parameter"),
    ("lr=0.01", "lr=-1", "lr=-1", r"in optimizer.parameters.: ValueError: Invalid learning rate: -1"),
    (
        "AdamW",
        "LBFGS",
        TASK_LINE,
        r"^LBFGS.step\(\) needs a value for closure, which run, lanes and find don't give; bind",
    ),
    ("torch.optim.AdamW(parameters, lr=0.01)", "None", TASK_LINE, "must return a torch optimizer, not NoneType"),
    (
        "lrkit.accuracy",
        "lambda output, _: output.none",
        "output.none",
        "in the metric .accuracy., given output",
    ),
    ("lrkit.accuracy", "lambda *_: torch.ones(9)", TASK_LINE, "the metric 'accuracy' must be one number"),
    ("batch_size=32", "batch_size=0", TASK_LINE, "batch_size must be at least 1, not 0"),
    ("epochs=10,", "", TASK_LINE, "a task's length is either epochs or steps, not neither"),
    ("lrkit.accuracy", "lambda *_: sys.exit(1)", "sys.exit", r"^the task ended the program, with sys.exit\(1\)$"),
    ("epochs=10,", "epochs=sys.exit('no'),", "sys.exit", r"^the task ended the program, with sys.exit\('no'\)$"),
    ("import lrkit", "import lrkti", "import lrkti", "ModuleNotFoundError: No module named 'lrkti'"),
    ("generator = torch", "generator = 1 / 0 or torch", "1 / 0", "ZeroDivisionError: division by zero"),
    ("epochs=10,\n)", "epochs=10,\n", TASK_LINE, "SyntaxError: '.' was never closed"),
]


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case[3][:30])
def test_a_task_that_fails_is_said_with_its_place(lrkit, tmp_path, case):
    old, new, line, sentence = case
    own = tmp_path / "own.py"
    assert GOOD.count(old) == 1
    own.write_text(f"import sys\n{GOOD.replace(old, new)}")
    status, _, err = lrkit("train", "own.py", "--epochs", 1, "--quiet")
    assert status == 2
    place, said = re.fullmatch(rf"lrkit: error: {own}:(\d+): (.*)\n", err).groups()
    assert re.search(sentence, said), said
    assert line in own.read_text().splitlines()[int(place) - 1]
    status, _, err = lrkit("train", "own.py", "--epochs", 1, "--quiet", "--debug")
    assert status == 2
    assert "Traceback (most recent call last)" in err


def test_a_dataset_that_fails_late_is_said_and_what_was_recorded_stays(lrkit, tmp_path):
    text = GOOD.replace("train=(x[:1600], y[:1600])", "train=Rows()").replace("task =", ROWS + "\ntask =")
    (tmp_path / "own.py").write_text(text)
    status, _, err = lrkit("train", "own.py", "--quiet", "--out", "run")
    assert status == 2
    assert re.search(r"own.py:\d+: in the data of train: OSError: the tape is torn", err)
    assert len(RunFolder.load("run").epochs) == 2
    assert "raise" in text.splitlines()[int(re.search(r"own.py:(\d+)", err)[1]) - 1]
    (tmp_path / "own.py").write_text(text.replace("raise", "3 or"))
    status, _, err = lrkit("train", "--resume", "run", "--quiet")
    assert (status, len(RunFolder.load("run").epochs)) == (0, 10)
    assert "has changed since the run began" in err


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ('raise OSError("the tape is torn\\nhere")', "in the data of train: OSError: the tape is torn"),
        ("raise OSError", "in the data of train: OSError"),
        ("1 / {}[index]", r"in the data of train: KeyError: \d+"),
        ('raise json.JSONDecodeError("no value", "x", 0)', "in the data of train: JSONDecodeError: no value: line 1 "),
        ('raise lrkit.InputError("the tape is empty")', "the tape is empty"),
        ("lrkit.parse(1 / 0)", "in the data of train: ZeroDivisionError: division by zero"),
    ],
)
def test_a_dataset_that_fails_in_a_worker_is_said_with_its_place(lrkit, tmp_path, new, said):
    rows = ROWS.replace("4000", "70").replace('raise OSError("the tape is torn")', new)
    text = GOOD.replace("train=(x[:1600], y[:1600])", "train=Rows(), workers=1").replace("task =", rows + "\ntask =")
    (tmp_path / "own.py").write_text("import json\n" + text)
    status, _, err = lrkit("train", "own.py", "--quiet")
    assert status == 2
    line, rest = re.fullmatch(rf"lrkit: error: {tmp_path}/own.py:(\d+): (.*)\n", err).groups()
    assert re.match(said, rest)
    assert new in (tmp_path / "own.py").read_text().splitlines()[int(line) - 1]


ROWS = """
class Rows(torch.utils.data.Dataset):
    read = 0

    def __len__(self):
        return 1600

    def __getitem__(self, index):
        self.read += 1
        if self.read > 4000:
            raise OSError("the tape is torn")
        return x[index], y[index]
"""


def test_a_run_whose_validation_is_never_finite_says_so(lrkit, tmp_path):
    loss = f"lambda output, target: {LOSS}(output, target) * (1 if output.requires_grad else float('nan'))"
    (tmp_path / "own.py").write_text(GOOD.replace(LOSS, loss))
    status, out, err = lrkit("train", "own.py", "--epochs", 2)
    assert (status, err) == (0, "")
    assert "\nno epoch has a finite loss; " in out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schedule": None, "threads": None}, "its config.json lacks schedule, threads, or has it wrong"),
        ({"lr": "fast"}, "its config.json lacks lr, or has it wrong"),
        ({"source": {}}, "the source in its config.json must be a task by name, and data, epochs, steps, batch_size"),
        ({"source": {"task": "own.py", "moon": 1}}, "not {'task': 'own.py', 'moon': 1}"),
        ({"source": {"task": 3}}, "not {'task': 3}"),
    ],
)
def test_a_configuration_of_something_else_gets_one_line(lrkit, tmp_path, changes, sentence):
    (tmp_path / "own.py").write_text(GOOD)
    lrkit("train", "own.py", "--steps", 2, "--quiet", "--out", "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text()) | changes
    gone = [name for name, value in changes.items() if value is None]
    (tmp_path / "run" / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in gone}))
    status, _, err = lrkit("train", "--resume", "run")
    assert status == 2
    assert err.startswith("lrkit: error: ")
    assert sentence in err
    assert err.count("\n") == 1


# --- what a task may be --------------------------------------------------------------------------------


def test_every_built_in_task_is_named_in_the_help_and_trains():
    assert set(BUILT_IN) == set(tasks.TASKS)
    for name in tasks.TASKS:
        task = tasks.get(name)
        assert task.name == name
        losses = package.run(_short(task), "constant()").losses
        assert losses[-5:].mean() < losses[:5].mean()


def _short(task):
    return dataclasses.replace(task, epochs=None, steps=30, valid=tuple(each[:200] for each in task.valid))


Pair = namedtuple("Pair", ["inputs", "target"])


class Bundle:
    """A batch of one's own."""

    def __init__(self, items):
        self.inputs = torch.stack([item[0] for item in items])
        self.target = torch.stack([item[1] for item in items])

    def to(self, device):
        self.inputs, self.target = self.inputs.to(device), self.target.to(device)
        return self


@pytest.mark.parametrize(
    "collate",
    [
        Bundle,
        lambda items: Pair(torch.stack([each[0] for each in items]), torch.stack([each[1] for each in items])),
        None,
    ],
)
def test_batches_of_any_type(collate):
    rows = [Pair(x, y) for x, y in zip(X, Y, strict=True)]

    def forward(model, batch):
        output = model(batch.inputs)
        metrics = {"accuracy": package.accuracy(output, batch.target)}
        return nn.functional.cross_entropy(output, batch.target), len(output), metrics

    own = make(train=rows, valid=rows[:33], loss=None, metrics={}, forward=forward, collate=collate)
    assert package.run(own, "linear()") == package.run(make(), "linear()")


class Named(nn.Sequential):
    """A model whose input has names."""

    def forward(self, inputs):
        return super().forward(inputs["x"] if isinstance(inputs, dict) else inputs.x)


class Sample:
    """An input without a length."""

    def __init__(self, x):
        self.x = x


def test_an_input_of_several_tensors_has_as_many_samples_as_the_first():
    def model():
        return Named(*make().model())

    rows = [({"x": x, "more": [0, 0]}, y) for x, y in zip(X, Y, strict=True)]
    assert package.run(make(train=rows, valid=rows[:33], model=model), "linear()") == package.run(make(), "linear()")


def test_an_input_without_a_length_counts_once():
    def collate(items):
        return Sample(torch.stack([each[0] for each in items])), torch.stack([each[1] for each in items])

    rows = list(zip(X, Y, strict=True))
    own = make(train=rows, valid=None, model=lambda: Named(*make().model()), collate=collate)
    history = package.run(own, "linear()")
    steps = history.epochs[0].step
    assert history.epochs[0].train_loss == pytest.approx(history.losses[:steps].mean(), rel=1e-6)


@pytest.mark.parametrize("value", [2.5, "2", "5%", True])
def test_counts_are_whole_numbers(value):
    with pytest.raises(InputTypeError, match="accumulate must be a whole number, not"):
        make(accumulate=value)


def test_several_losses_are_summed_and_each_is_measured():
    def second(output, target):
        return 0.25 * output.square().mean()

    def both(output, target):
        return nn.functional.cross_entropy(output, target) + second(output, target)

    several = package.run(make(loss={"first": nn.functional.cross_entropy, "second": second}), "linear()")
    assert several == package.run(
        make(loss=both, metrics={"first": nn.functional.cross_entropy, "second": second, "accuracy": package.accuracy}),
        "linear()",
    )
    record = several.epochs[-1]
    assert record.valid_loss == pytest.approx(record.metrics["first"] + record.metrics["second"])
    with pytest.raises(InputError, match="loss has no loss in it"):
        make(loss={})


@pytest.mark.parametrize("result", [None, 3, (torch.ones(()), 4), (torch.ones(()), 4, None)])
def test_a_forward_that_returns_something_else_is_refused(result):
    own = make(loss=None, metrics={}, forward=lambda model, batch: result)
    with pytest.raises(InputTypeError, match=r"forward must return \(mean loss, n, metrics\), not"):
        package.run(own, "linear()")


METRIC = "must be one number, the mean over the batch, not "
COUNT = "forward's n, the number of samples, must be a whole number of at least 1, not "


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (torch.ones(10), r"float32 \(10,\)"),
        (None, "NoneType"),
        ("0.5", "str"),
        (torch.ones((), dtype=torch.cfloat), "c"),
    ],
)
def test_a_metric_is_one_number(value, got):
    with pytest.raises(InputTypeError, match=f"the metric 'own' {METRIC}{got}") as caught:
        package.run(make(metrics={"own": lambda output, target: value}), "linear()")
    assert caught.value.__notes__[0].startswith("lrkit: in the metric 'own', given output")
    with pytest.raises(InputTypeError, match=f"the metric 'own' {METRIC}{got}"):
        package.run(_counting(1, own=value), "linear()")


@pytest.mark.parametrize("value", [0.25, torch.full((1, 1), 0.25), np.float32(0.25), torch.tensor(0.25)])
def test_a_metric_may_be_any_type_of_number(value):
    history = package.run(make(metrics={"own": lambda output, target: value}), "linear()")
    assert history.epochs[0].metrics == {"own": 0.25}


@pytest.mark.parametrize("value", [None, "3", 0, -2, True, 16.0, float("nan"), torch.ones(2), torch.tensor(2.5)])
def test_the_number_of_samples_is_whole_and_positive(value):
    with pytest.raises((InputError, InputTypeError), match=COUNT) as caught:
        package.run(_counting(value), "linear()")
    assert caught.value.__notes__ == ["lrkit: in a batch, given batch (float32 (16, 6), int64 (16,) from 0 to 1)"]


class Rows(IterableDataset):
    """Of tensors, in their order."""

    def __init__(self, *tensors):
        self.tensors = tensors

    def __iter__(self):
        yield from zip(*self.tensors, strict=True)


def test_a_batch_without_samples_counts_as_nothing_in_an_update():
    """The mean loss over it is NaN; every other batch has no row with a weight, and so does one of the validation."""
    x, y = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    weight = torch.tensor([1, 1, 0, 0] * 8).bool()

    def forward(model, batch):
        rows, target, used = batch
        loss = nn.functional.cross_entropy(model(rows[used]), target[used])
        return loss, used.sum(), {"again": loss.detach()}

    kept = [each[weight] for each in (x, y, weight)]
    ordered = {
        "loss": None,
        "metrics": {},
        "forward": forward,
        "epochs": None,
        "steps": 16,
        "model": lambda: nn.Linear(6, 2),
    }
    found = package.run(
        make(**ordered, train=Rows(x, y, weight), valid=(x, y, weight), batch_size=2, accumulate=2, valid_batch_size=2),
        "constant()",
    )
    truth = package.run(make(**ordered, train=Rows(*kept), valid=tuple(kept), batch_size=2), "constant()")
    assert np.allclose(found.losses, truth.losses)
    assert found.epochs[-1].valid_loss == pytest.approx(truth.epochs[-1].valid_loss)
    assert found.epochs[-1].metrics == pytest.approx(truth.epochs[-1].metrics)
    with pytest.raises(InputError, match="must be at least 1 in one of the batches of an update, and is 0 in all"):
        package.run(make(**ordered, train=Rows(x, y, weight & False), batch_size=2, accumulate=2), "constant()")


def test_the_number_of_samples_may_be_in_a_tensor():
    histories = [
        package.run(_counting(value), "linear()") for value in (3, np.int64(3), torch.tensor(3), torch.tensor([3.0]))
    ]
    assert all(history == histories[0] for history in histories)


def _counting(n, **metrics):
    def forward(model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1]), n, metrics

    return make(loss=None, metrics={}, forward=forward)


def test_an_exception_of_a_task_stays_what_it_was_and_says_where():
    with pytest.raises(IndexError) as caught:
        package.run(make(train=(X, Y + 5)), "linear()")
    assert caught.value.__notes__ == [
        "lrkit: in the loss, given output float32 (16, 2), target int64 (16,) from 5 to 6"
    ]
