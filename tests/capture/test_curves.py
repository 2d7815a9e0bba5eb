"""A training's curve is in the task's run while it works, by MLflow's own autologging of its library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from tests.runs import all_runs, run_of

import flowml
from flowml import Track, flow, task

ROUNDS = 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)).astype("float32")
Y = (X @ np.array([1.0, 2.0, 3.0], dtype="float32")).astype("float32")


class Watch:
    """Asks MLflow, in the middle of a training, how much of its curve is there."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.seen: list[int] = []

    def look(self, metric: str) -> None:
        """Note how many steps of a metric are in the task's run now."""
        run = flowml.current_run()
        assert run
        self.seen.append(len(self.client.get_metric_history(run.run_id, metric)))


def check(watch: Watch, train: Callable[[], Any], *, flavor: str, metric: str, steps: int = ROUNDS) -> Any:
    """Train in a task, and look: a part of the curve was there before the end, and all of it is then, in one run."""

    @task(track=Track(autolog=flavor, outputs=False))
    def fit() -> None:
        train()

    @flow
    def training() -> None:
        fit()

    training()
    client = watch.client
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    history = client.get_metric_history(run.info.run_id, metric)
    assert len({each.step for each in history}) == steps
    assert 0 < max(watch.seen[:-1]) < steps
    return run


def test_xgboost_by_its_own_function(client: MlflowClient) -> None:
    """`xgboost.train` has its metrics of each round in MLflow while it works."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    watch = Watch(client)

    class Looking(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, *_: object) -> bool:
            watch.look("validation-rmse")
            return False

    def train() -> None:
        rows = xgboost.DMatrix(X, Y)
        xgboost.train({"eta": 0.3}, rows, ROUNDS, evals=[(rows, "validation")], callbacks=[Looking()])

    run = check(watch, train, flavor="xgboost", metric="validation-rmse")
    assert run.data.params["eta"] == "0.3"


@pytest.mark.slow
def test_xgboost_as_an_estimator(client: MlflowClient) -> None:
    """`XGBRegressor.fit` with `eval_set` has them too."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    watch = Watch(client)

    class Looking(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, *_: object) -> bool:
            watch.look("validation_0-rmse")
            return False

    def train() -> None:
        xgboost.XGBRegressor(n_estimators=ROUNDS, callbacks=[Looking()]).fit(X, Y, eval_set=[(X, Y)], verbose=False)

    check(watch, train, flavor="xgboost", metric="validation_0-rmse")


@pytest.mark.slow
def test_lightgbm(client: MlflowClient) -> None:
    """`lightgbm.train` and its estimators, which call that, have their metrics of each round in MLflow meanwhile."""
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    watch = Watch(client)

    def train() -> None:
        lightgbm.LGBMRegressor(n_estimators=ROUNDS, verbose=-1).fit(
            X, Y, eval_set=[(X[:99], Y[:99])], callbacks=[lambda _: watch.look("valid_0-l2")]
        )

    check(watch, train, flavor="lightgbm", metric="valid_0-l2")


@pytest.mark.slow
def test_lightning(client: MlflowClient, tmp_path: Path) -> None:
    """Lightning's epochs are in MLflow while it trains, and its checkpoint is an artifact: MLflow keeps the best."""
    pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

    watch = Watch(client)

    class Line(LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch: Any) -> Any:
            loss = ((self.layer(batch[0])[:, 0] - batch[1]) ** 2).mean()
            self.log("loss", loss, on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Looking(Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, *_: object) -> None:
            watch.look("loss_epoch")

    def train() -> None:
        rows = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        shown = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = Trainer(max_epochs=5, default_root_dir=tmp_path, callbacks=[Looking()], accelerator="cpu", **shown)
        mlflow.pytorch.autolog(checkpoint=True, checkpoint_monitor="loss_epoch", log_models=False)
        trainer.fit(Line(), torch.utils.data.DataLoader(rows, batch_size=50))

    run = check(watch, train, flavor="pytorch", metric="loss_epoch", steps=5)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "checkpoints")]


@pytest.mark.slow
def test_transformers(client: MlflowClient, tmp_path: Path) -> None:
    """The trainer of transformers logs to the task's run by its own callback, and opens no other."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

    watch = Watch(client)

    class Line(PreTrainedModel):  # type: ignore[misc]
        config_class = PretrainedConfig

        def __init__(self) -> None:
            super().__init__(PretrainedConfig())
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": ((self.layer(x)[:, 0] - labels) ** 2).mean()}

    class Looking(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            watch.look("loss")

    def train() -> None:
        rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
        chosen = TrainingArguments(
            output_dir=str(tmp_path), max_steps=5, logging_steps=1, report_to="mlflow", save_strategy="no", use_cpu=True
        )
        Trainer(Line(), chosen, train_dataset=rows, callbacks=[Looking()]).train()

    check(watch, train, flavor="transformers", metric="loss", steps=5)


@pytest.mark.slow
def test_keras(client: MlflowClient) -> None:
    """Keras has its epochs in MLflow while it trains."""
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    watch = Watch(client)

    def train() -> None:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        looking = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: watch.look("loss"))
        model.fit(X, Y, epochs=5, callbacks=[looking], verbose=0)

    check(watch, train, flavor="keras", metric="loss", steps=5)
