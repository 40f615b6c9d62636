"""The stores of trackers: written by the real packages where they are installed, and never altered."""

import math
import os
import sqlite3

import numpy as np
import pytest

import lrkit as package
from log_forms import by_mlflow, by_trackio
from lrkit import InputError

STEPS = [0, 10, 20, 10, 20, 30]  # it went back to 10
LOSSES = [4.0, 3.0, 9.0, 2.5, 2.0, 1.0]


def same(found):
    assert found.losses[[0, 10, 20, 30]].tolist() == [4, 2.5, 2, 1]
    assert set(found.lr.tolist()) == {0.5}
    assert found.made["imported"]["restarts"] == [[20, 10]]
    assert found.made["seed"] == 3


def test_runs_of_a_store_are_asked_about_and_it_isnt_altered(tmp_path, lrkit):
    by_mlflow(tmp_path)
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.execute("INSERT INTO runs VALUES ('beef', 'owl', 2, 'active')")
    database.execute("INSERT INTO metrics VALUES ('loss', 1.0, 1, 'beef', 0, 0)")
    database.commit()
    database.close()
    before = (tmp_path / "mlflow.db").read_bytes()
    status, _, err = lrkit("import", "mlflow.db", "--out", "run")
    assert status == 2
    assert "which of 2 runs is meant" in err
    assert "owl (c0ffee), owl (beef)" in err
    status, out, _ = lrkit("import", "mlflow.db", "--out", "run", "--run", "owl (c0ffee)")
    assert (status, out.splitlines()[0]) == (0, "31 updates in 1 record, read as MLflow store")
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_database_of_others_is_said(tmp_path):
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("CREATE TABLE t (x)")
    database.close()
    with pytest.raises(InputError, match="is an SQLite database without the tables of MLflow or trackio"):
        package.read_history(tmp_path / "a.db")
    by_trackio(tmp_path)
    file = tmp_path / "trackio" / "project.db"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match="can't be read as a database"):
        package.read_history(file)


def test_points_without_a_step_are_counted(tmp_path):
    run = tmp_path / "mlruns" / "1" / "c0ffee"
    (run / "metrics").mkdir(parents=True)
    (run / "meta.yaml").write_text("run_name: owl\nlifecycle_stage: active\n")
    (run / "metrics" / "loss").write_text("".join(f"{1000 * count} {4 - count} 0\n" for count in range(4)) + "4000 0.")
    found = package.read_history(tmp_path / "mlruns", lr=0.1)
    assert found.losses.tolist() == [4, 3, 2, 1]
    assert "nothing was logged with a step" in found.made["imported"]["said"][0]


@pytest.mark.filterwarnings("ignore")  # those of the package are its own
@pytest.mark.parametrize("store", ["mlflow.db", "mlruns"])
def test_what_mlflow_wrote_is_read(tmp_path, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / store}" if store.endswith(".db") else (tmp_path / store).as_uri()
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("trial")
    for name in ("owl", "cat", "gone"):
        run = client.create_run(experiment, run_name=name).info.run_id
        client.log_param(run, "seed", 3)
        for place, (step, loss) in enumerate(zip(STEPS, LOSSES, strict=True)):
            client.log_metric(run, "train_loss", loss, step=step, timestamp=10**12 + 1000 * place)
            client.log_metric(run, "lr", 0.5, step=step, timestamp=10**12 + 1000 * place)
        client.log_metric(run, "val_loss", math.nan, step=20, timestamp=10**12 + 4500)
        client.log_metric(run, "val_loss", math.inf, step=30, timestamp=10**12 + 5500)
        client.set_terminated(run)
    client.delete_run(run)
    found = package.read_histories(tmp_path / store, valid_loss="none")
    assert sorted(found) == ["cat", "owl"]
    for history in found.values():
        same(history)
    valid = [each.valid_loss for each in package.read_history(tmp_path / store, run="owl").epochs]
    assert np.isnan(valid[0])
    assert valid[1] == math.inf


@pytest.mark.filterwarnings("ignore")
def test_what_trackio_wrote_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(os.environ, "TRACKIO_DIR", str(tmp_path / "trackio"))  # read when the package is imported
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    for name in ("owl", "cat"):
        rows = [{"train/loss": loss, "lr": 0.5, "nothing": math.nan} for loss in LOSSES]
        storage.bulk_log("project", name, rows, steps=STEPS, config={"seed": 3})
    found = package.read_histories(tmp_path / "trackio")
    assert list(found) == ["owl", "cat"]
    for history in found.values():
        same(history)
