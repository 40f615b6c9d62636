"""Small records in the forms that tools write them in, made up; each says what is in it, by whoever's names."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Form:
    """A tool's record: `write(folder)` writes it there, under `path`.

    `losses` are by update, at the updates of `at`; likewise `rates`; `valid` by updates done; `options` must be passed.
    """

    path: str
    write: object
    at: list
    losses: list
    rates: list
    valid: dict
    options: dict


def lines(*rows):
    return "".join(f"{row}\n" for row in rows)


def put(folder, path, text):
    file = Path(folder) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def text(path, *rows):
    return lambda folder: put(folder, path, lines(*rows))


def events(folder, scalars):
    """TensorBoard's events by torch's writer: (tag, value, step)."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for tag, value, step in scalars:
            writer.add_scalar(tag, value, step)


def by_keras(folder):
    for side, shift in (("train", 0), ("validation", 0.1)):
        rates = [("epoch_learning_rate", 0.1 / 2**epoch, epoch) for epoch in range(3)] if side == "train" else []
        losses = [("epoch_loss", 2 - epoch / 2 + shift, epoch) for epoch in range(3)]
        events(Path(folder) / "logs" / side, [*losses, *rates])


def by_mlflow(folder):
    """As MLflow 3 writes its database, without what isn't read."""
    file = Path(folder) / "mlflow.db"
    database = sqlite3.connect(file)
    database.executescript(
        """
        CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
        CREATE TABLE runs (run_uuid TEXT, name TEXT, start_time BIGINT, lifecycle_stage TEXT);
        CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
        CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
        INSERT INTO runs VALUES ('c0ffee', 'owl', 1, 'active'), ('dead', 'gone', 0, 'deleted');
        INSERT INTO params VALUES ('seed', '3', 'c0ffee');
        """
    )
    for step, loss, rate in every_ten(lambda *row: row):
        for name, value in (("train_loss", loss), ("lr", rate)):
            database.execute("INSERT INTO metrics VALUES (?, ?, ?, 'c0ffee', ?, 0)", (name, value, 10**12 + step, step))
    database.commit()
    database.close()


def by_trackio(folder):
    """As trackio 0.43 writes the database of a project, without what isn't read."""
    file = Path(folder) / "trackio" / "project.db"
    file.parent.mkdir()
    database = sqlite3.connect(file)
    database.executescript(
        """
        CREATE TABLE configs (id INTEGER PRIMARY KEY, run_id TEXT, run_name TEXT, config TEXT, created_at TEXT);
        CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id TEXT, timestamp TEXT, run_name TEXT, step INTEGER,
                              metrics TEXT);
        INSERT INTO configs VALUES (1, 'owl', 'owl', '{"seed": 3}', '2026-01-01T00:00:00+00:00');
        """
    )
    for step, loss, rate in every_ten(lambda *row: row):
        row = ("owl", f"2026-01-01T00:00:{step:02d}+00:00", "owl", step, json.dumps({"train/loss": loss, "lr": rate}))
        database.execute("INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()


def by_writer(folder):
    scalars = [("Loss/train", 2 - step / 10, step) for step in range(8)]
    scalars += [("lr", 0.1 - step / 100, step) for step in range(8)]
    events(Path(folder) / "runs" / "exp", [*scalars, ("Loss/val", 1.5, 3), ("Loss/val", 1.25, 7)])


def by_add_scalars(folder):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(Path(folder) / "runs" / "exp")) as writer:
        for step in range(8):
            writer.add_scalars("Loss", {"train": 2 - step / 10, "val": 2.1 - step / 10}, step)
            writer.add_scalar("lr", 0.1, step)
            writer.add_scalar("grad", 1.0, step)


EIGHT = list(range(8))
DOWN = [2 - step / 10 for step in EIGHT]
TENTHS = [0.1 - step / 100 for step in EIGHT]
STEPS = (10, 20, 30, 40)


def hf(*more):
    rows = [
        {"loss": 2.5 - step / 20, "learning_rate": 1e-3 * (51 - step) / 50, "epoch": step / 20, "step": step}
        for step in STEPS
    ]
    rows.insert(2, {"eval_loss": 2.1, "eval_runtime": 1.0, "epoch": 1.0, "step": 20})
    rows.append({"eval_loss": 1.8, "eval_runtime": 1.0, "epoch": 2.0, "step": 40})
    return [*rows, *more]


TOTAL = {"train_runtime": 9.0, "train_loss": 1.25, "epoch": 2.0, "step": 40}
LAST_EVALUATE = {"eval_loss": 1.7, "epoch": 2.0, "step": 40}
HF = {
    "at": [9, 19, 29, 39],
    "losses": [2, 1.5, 1, 0.5],
    "rates": [8.2e-4, 6.2e-4, 4.2e-4, 2.2e-4],
    "valid": {20: 2.1, 40: 1.8},
    "options": {},
}


def jsonl(path, *rows):
    return text(path, *map(json.dumps, rows))


def epochs(**columns):
    """Rows of three epochs: losses 2, 1.5, 1, validation 0.1 more, rates halved."""
    return {
        "at": [0, 1, 2],
        "losses": [2, 1.5, 1],
        "rates": [0.1, 0.05, 0.025],
        "valid": {1: 2.1, 2: 1.6, 3: 1.1},
        "options": {},
        **columns,
    }


def each_epoch(row):
    return [row(epoch, 2 - epoch / 2, 2.1 - epoch / 2, 0.1 / 2**epoch) for epoch in range(3)]


def yolo(head, first):
    rows = each_epoch(
        lambda epoch, loss, valid, rate: (
            f"{epoch + first},{loss - 0.5},0.25,0.25,0.5,{valid - 0.5},0.25,0.25,{rate},{rate},{2 * rate}"
        )
    )
    return lines(head, *rows)


SPARSE = {"at": [0, 10, 20, 30], "losses": [4, 3, 2, 1], "rates": [4e-3, 3e-3, 2e-3, 1e-3], "valid": {}, "options": {}}
BARE = {**SPARSE, "rates": [], "options": {"lr": 0.01}}


def every_ten(row):
    return [row(10 * place, 4 - place, (4 - place) * 1e-3) for place in range(4)]


YOLO_8 = "epoch,train/box_loss,train/cls_loss,train/dfl_loss,metrics/mAP50(B),val/box_loss,val/cls_loss,val/dfl_loss"
YOLO_5 = "epoch, train/box_loss, train/obj_loss, train/cls_loss, metrics/recall, val/box_loss, val/obj_loss"
MEGATRON = (
    " iteration {:8d}/      31 | consumed samples: {:12d} | elapsed time per iteration (ms): 512.3 | learning rate: "
    "{:.6E} | global batch size:     8 | lm loss: {:.6E} | loss scale: 1.0 | grad norm: 2.013 | number of skipped "
    "iterations:   0 | number of nan iterations:   0 |"
)
TITAN = (
    "\x1b[32m[titan] 2024-06-01 10:00:07,123 - root - INFO - \x1b[31mstep: {:2d}  \x1b[32mloss: {:7.4f}  "
    "\x1b[33mmemory: 22.73GiB(28.74%)  \x1b[34mtps: 1,234  \x1b[35mmfu: 12.34%\x1b[39m"
)

FORMS = {
    "Lightning's CSVLogger": Form(
        "lightning_logs/version_0",
        text(
            "lightning_logs/version_0/metrics.csv",
            "epoch,lr-SGD,step,test_loss,train_loss,val_loss",
            *("0,0.1,1,,2.0,", "0,0.1,3,,1.5,", "0,,3,,,1.7", "1,0.1,5,,1.2,", "1,0.1,7,,1.0,", "1,,7,,,1.3"),
            *("2,,8,,,0.9", "2,,8,1.1,,"),
        ),
        **{"at": [1, 3, 5, 7], "losses": [2, 1.5, 1.2, 1], "rates": [0.1] * 4, "valid": {4: 1.7, 8: 1.3}},
        options={},
    ),
    "transformers": Form(
        "out/checkpoint-40",
        lambda folder: put(
            folder,
            "out/checkpoint-40/trainer_state.json",
            json.dumps({"global_step": 40, "max_steps": 50, "log_history": hf(TOTAL, LAST_EVALUATE)}),
        ),
        **HF,
    ),
    "transformers' log_history as JSON": Form(
        "log_history.json", lambda folder: put(folder, "log_history.json", json.dumps(hf(TOTAL, LAST_EVALUATE))), **HF
    ),
    "transformers on the console": Form(
        "train.log",
        text(
            "train.log",
            "  5%|#    | 2/40 [00:01<00:10]",
            *(str({k: v for k, v in row.items() if k != "step"}) for row in hf(TOTAL)),
        ),
        **{**HF, "options": {"epoch_steps": 20}},
    ),
    "LLaMA-Factory": Form(
        "trainer_log.jsonl",
        jsonl(
            "trainer_log.jsonl",
            *(
                {
                    "current_steps": step,
                    "total_steps": 40,
                    "loss": 2.5 - step / 20,
                    "lr": 1e-3 * (51 - step) / 50,
                    "epoch": step / 20,
                    "percentage": 2.5 * step,
                    "elapsed_time": f"0:00:{step}",
                }
                for step in STEPS
            ),
        ),
        **{**HF, "valid": {}},
    ),
    "ultralytics": Form(
        "runs/detect/train",
        lambda folder: put(folder, "runs/detect/train/results.csv", yolo(f"{YOLO_8},lr/pg0,lr/pg1,lr/pg2", 1)),
        **epochs(),
    ),
    "YOLOv5": Form(
        "runs/train/exp",
        lambda folder: put(
            folder, "runs/train/exp/results.csv", yolo(f"{YOLO_5}, val/cls_loss, x/lr0, x/lr1, x/lr2", 0)
        ),
        **epochs(),
    ),
    "Keras' CSVLogger": Form(
        "training.csv",
        text(
            "training.csv",
            "epoch,accuracy,learning_rate,loss,val_loss",
            *each_epoch(lambda epoch, loss, valid, rate: f"{epoch},0.5,{rate},{loss},{valid}"),
        ),
        **epochs(),
    ),
    "Keras' history as JSON": Form(
        "history.json",
        lambda folder: put(folder, "history.json", json.dumps({"loss": [2, 1.5, 1], "val_loss": [2.1, 1.6, 1.1]})),
        **epochs(rates=[], options={"lr": 0.1}),
    ),
    "Keras' TensorBoard callback": Form("logs", by_keras, **epochs()),
    "SummaryWriter": Form(
        "runs/exp", by_writer, at=EIGHT, losses=DOWN, rates=TENTHS, valid={4: 1.5, 8: 1.25}, options={}
    ),
    "SummaryWriter.add_scalars": Form(
        "runs/exp",
        by_add_scalars,
        **{"at": [0, 1, 2], "losses": DOWN[:3], "rates": [0.1] * 3, "valid": {1: 2.1, 2: 2.0}},
        options={"epoch_steps": 1},
    ),
    "detectron2": Form(
        "output/metrics.json",
        jsonl(
            "output/metrics.json",
            *(
                {"iteration": 10 * place, "total_loss": 4 - place, "lr": (4 - place) * 1e-3, "loss_cls": 1.0}
                for place in range(4)
            ),
        ),
        **SPARSE,
    ),
    "mmengine": Form(
        "vis_data/scalars.json",
        jsonl(
            "vis_data/scalars.json",
            *(
                {
                    "lr": (4 - place) * 1e-3,
                    "loss": 4 - place,
                    "loss_cls": 1.0,
                    "epoch": 1 + place // 2,
                    "step": 10 + 10 * place,
                }
                for place in range(2)
            ),
            {"coco/bbox_mAP": 0.1, "step": 1},
            *(
                {
                    "lr": (4 - place) * 1e-3,
                    "loss": 4 - place,
                    "loss_cls": 1.0,
                    "epoch": 1 + place // 2,
                    "step": 10 + 10 * place,
                }
                for place in (2, 3)
            ),
            {"coco/bbox_mAP": 0.2, "step": 2},
        ),
        **{**SPARSE, "at": [9, 19, 29, 39]},
    ),
    "DeiT and MAE": Form(
        "log.txt",
        jsonl(
            "log.txt",
            *each_epoch(
                lambda epoch, loss, valid, rate: {
                    **{"train_lr": rate, "train_min_lr": 1e-5, "train_loss": loss, "val_loss": valid, "epoch": epoch}
                }
            ),
        ),
        **epochs(),
    ),
    "timm": Form(
        "summary.csv",
        text(
            "summary.csv",
            "epoch,train_loss,eval_loss,eval_top1,lr",
            *each_epoch(lambda epoch, loss, valid, rate: f"{epoch},{loss},{valid},50,{rate}"),
        ),
        **epochs(),
    ),
    "fastai's CSVLogger": Form(
        "history.csv",
        text(
            "history.csv",
            "epoch,train_loss,valid_loss,accuracy,time",
            *each_epoch(lambda epoch, loss, valid, rate: f"{epoch},{loss},{valid},0.5,00:12"),
        ),
        **epochs(rates=[], options={"lr": 0.1}),
    ),
    "nanoGPT": Form(
        "train.log",
        text(
            "train.log",
            "tokens per iteration will be: 491,520",
            "step 0: train loss 4.1234, val loss 4.2500",
            *every_ten(lambda step, loss, rate: f"iter {step}: loss {loss:.4f}, time {100 + step % 7}.25ms, mfu 1.23%"),
            "step 20: train loss 2.0500, val loss 2.2500",
        ),
        **{**BARE, "at": [0, 10], "losses": [4, 3], "valid": {20: 2.25}},
    ),
    "modded-nanogpt": Form(
        "logs/run.txt",
        text(
            "logs/run.txt",
            "class Block(nn.Module):",
            "    dim: int = 768",
            "step:0/30 val_loss:4.5000 train_time:0ms step_avg:nanms",
            *every_ten(
                lambda step, loss, rate: f"step:{step}/30 train_loss:{loss:.4f} lr:{rate:.6f} train_time:{step}ms"
            ),
            "step:30/30 val_loss:1.2500 train_time:300ms step_avg:10.00ms",
        ),
        **{**SPARSE, "at": [0, 10, 20], "losses": [4, 3, 2], "rates": [4e-3, 3e-3, 2e-3], "valid": {30: 1.25}},
    ),
    "llm.c": Form(
        "log124M/main.log",
        text(
            "log124M/main.log",
            "s:0 tel:4.5000",
            *every_ten(lambda step, loss, rate: f"s:{step} trl:{loss:.4f} lr:{rate:.6f} norm:1.20"),
            "s:20 tel:2.5000",
            "s:30 tel:1.5000",
        ),
        **{**SPARSE, "at": [0, 10, 20], "losses": [4, 3, 2], "rates": [4e-3, 3e-3, 2e-3], "valid": {20: 2.5, 30: 1.5}},
    ),
    "torchtitan": Form(
        "train.log",
        text("train.log", *(TITAN.format(step + 10, loss) for step, loss, _ in every_ten(lambda *row: row))),
        **{**BARE, "at": [9, 19, 29, 39]},
    ),
    "Megatron-LM": Form(
        "train.log",
        text(
            "train.log",
            *(MEGATRON.format(step + 10, step, rate, loss) for step, loss, rate in every_ten(lambda *row: row)),
            " validation loss at iteration 40 | lm loss value: 1.500000E+00 | lm loss PPL: 4.481689E+00 | ",
        ),
        **{**SPARSE, "at": [9, 19, 29, 39], "valid": {40: 1.5}},
    ),
    "fairseq": Form(
        "train.log",
        text(
            "train.log",
            *(
                "2024-01-01 10:00:00 | INFO | train_inner | "
                + json.dumps(
                    {
                        "epoch": 1,
                        "update": step / 99,
                        "loss": f"{loss}",
                        "num_updates": f"{step + 10}",
                        "lr": f"{rate:g}",
                    }
                )
                for step, loss, rate in every_ten(lambda *row: row)
            ),
        ),
        **{**SPARSE, "at": [9, 19, 29, 39]},
    ),
    "a loop that prints": Form(
        "out.txt",
        text(
            "out.txt",
            "Training on cpu",
            *each_epoch(
                lambda epoch, loss, valid, rate: (
                    f"Epoch [{epoch + 1}/3], Loss: {loss:.4f}, Val Loss: {valid:.4f}, LR: {rate}"
                )
            ),
        ),
        **epochs(),
    ),
    "a table of your own": Form(
        "run.csv",
        text(
            "run.csv",
            "step,trainLoss,valLoss,learningRate",
            *(f"{step},{2 - step / 10},{1.5 if step == 7 else ''},{0.1 - step / 100}" for step in EIGHT),
        ),
        **{"at": EIGHT, "losses": DOWN, "rates": TENTHS, "valid": {8: 1.5}},
        options={},
    ),
    "Weights & Biases: a run's history": Form(
        "history.csv",
        text(
            "history.csv",
            "_step,_runtime,_timestamp,train/global_step,train/loss,train/learning_rate,eval/loss",
            *(
                f"{step // 10},{step},{1e9 + step},{step},{2.5 - step / 20},{1e-3 * (51 - step) / 50},"
                for step in STEPS
            ),
            "5,50,1000000050,40,,,1.75",
        ),
        **{**HF, "valid": {40: 1.75}},
    ),
    "Weights & Biases: an exported chart": Form(
        "wandb_export.csv",
        text(
            "wandb_export.csv",
            '"Step","swift-tree-1 - train/loss","swift-tree-1 - train/loss__MIN","swift-tree-1 - train/loss__MAX"',
            *every_ten(lambda step, loss, rate: f'"{step}","{loss}","{loss - 1}","{loss + 1}"'),
        ),
        **BARE,
    ),
    "MLflow's store": Form("mlflow.db", by_mlflow, **SPARSE),
    "trackio": Form("trackio/project.db", by_trackio, **SPARSE),
    "MLflow: an exported chart": Form(
        "metrics.csv",
        text(
            "metrics.csv",
            "Run,Run ID,metric,step,timestamp,value",
            *every_ten(lambda step, loss, rate: f"owl,c0ffee,loss,{step},{1700000000000 + step},{loss}"),
            *every_ten(lambda step, loss, rate: f"owl,c0ffee,lr,{step},{1700000000000 + step},{rate}"),
        ),
        **SPARSE,
    ),
    "TensorBoard: an exported chart": Form(
        "run-exp-tag-loss.csv",
        text(
            "run-exp-tag-loss.csv",
            "Wall time,Step,Value",
            *every_ten(lambda step, loss, rate: f"{1.7e9 + step},{step},{loss}"),
        ),
        **BARE,
    ),
}
