from __future__ import annotations

import copy
import gc
import logging
import math
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import mlflow
import mlflow.onnx
import mlflow.sklearn
import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn import linear_model, pipeline, preprocessing
from sklearn.base import BaseEstimator, TransformerMixin

from flowml import records
from flowml.store.models import identity, log_model
from flowml.store.waiting.intake import enqueue


@pytest.fixture
def send(client, run):
    """Send a saved model to the run."""
    return lambda saved: log_model.send(client, saved, run_id=run.info.run_id, experiment_id=run.info.experiment_id)


def small_model() -> linear_model.LinearRegression:
    """A model that fits in a moment."""
    return linear_model.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])


def record_of(model, **options) -> records.Model:
    """A record as `describe` makes it for a scikit-learn model."""
    return records.Model(options.pop("name", "model"), model, "sklearn", **options)


class Clip(TransformerMixin, BaseEstimator):
    """A transformer of the user's own."""

    def fit(self, X, _y=None):
        """Learn the highest value."""
        self.high_ = X.max()
        return self

    def transform(self, X):
        """Clip to it."""
        return X.clip(upper=self.high_) if isinstance(X, pd.DataFrame) else np.minimum(X, self.high_)


def own_pipeline() -> pipeline.Pipeline:
    """A pipeline with the user's own transformer."""
    return pipeline.make_pipeline(Clip(), linear_model.Ridge()).fit(np.eye(4), np.arange(4))


# --- what is logged --------------------------------------------------------------------------------------


def test_a_logged_model_loads_and_predicts_the_same(fitted, send, run, global_uri):
    """Each kind of model loads from its id and from its run, and predicts what the original predicts."""
    model_id = send(log_model.save(fitted.record()))
    for uri in (f"models:/{model_id}", f"runs:/{run.info.run_id}/model"):
        predicted = mlflow.pyfunc.load_model(uri).predict(fitted.data)
        np.testing.assert_allclose(np.asarray(fitted.compared(predicted), dtype=float), fitted.expected(), rtol=1e-5)


def test_an_onnx_network_loads_and_predicts_the_same(fit, send, global_uri):
    """It comes back the same, and saving it takes nothing out of the user's object."""
    network = fit("onnx network")
    before = network.model.SerializeToString()
    uri = f"models:/{send(log_model.save(network.record()))}"
    assert network.model.SerializeToString() == before
    onnx.checker.check_model(mlflow.onnx.load_model(uri))
    predicted = mlflow.pyfunc.load_model(uri).predict(network.data)
    np.testing.assert_allclose(np.asarray(predicted["sums"]).ravel(), network.expected().ravel())


def test_a_text_pipeline_loads_and_predicts_the_same(fit, send, global_uri):
    """A transformers pipeline comes back with its tokenizer and its weights."""
    classify = fit("text pipeline")
    predicted = mlflow.pyfunc.load_model(f"models:/{send(log_model.save(classify.record()))}").predict(classify.data)
    np.testing.assert_allclose(predicted["score"], classify.expected(), rtol=1e-5)


def test_a_pipeline_of_the_hub_is_saved_without_asking_it(fit, monkeypatch):
    """Saving never waits for a hub that may be out of reach, leaves the pipeline its name, and notes it."""
    classify = fit("text pipeline")
    classify.model.model.name_or_path = "someone/some-model"

    def refuse(*_args, **_options):
        pytest.fail("the hub was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    saved = log_model.save(classify.record())
    assert classify.model.model.name_or_path == "someone/some-model"
    assert mlflow.models.Model.load(str(saved.folder)).metadata == {"source_model_name": "someone/some-model"}


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_traced_network_takes_any_number_of_rows(count, send, global_uri):
    """A graph traced with one row or with five is not bound to that number."""
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(4, 2)
    rows = np.ones((count, 4), dtype="float32")
    for given in (1, 9):
        record = records.Model("net", torch.nn.Sequential(network), "pytorch", inputs={"X": torch.ones(given, 4)})
        predicted = mlflow.pyfunc.load_model(f"models:/{send(log_model.save(record))}").predict(rows)
        np.testing.assert_allclose(predicted, network(torch.from_numpy(rows)).detach().numpy(), rtol=1e-5)


def test_a_network_whose_graph_would_be_bound_to_the_example_is_pickled(caplog):
    """A module that asks for its number of rows in a way that fixes it in the graph keeps its freedom."""
    torch = pytest.importorskip("torch")

    class Unrolled(torch.nn.Module):
        def forward(self, rows):
            return torch.cat([row[None] * 2 for row in rows])

    saved = log_model.save(records.Model("net", Unrolled(), "pytorch", inputs={"X": torch.ones(9, 4)}))
    assert (saved.folder / "data" / "model.pth").exists()
    [told] = caplog.messages
    assert "exactly 5 rows" in told


def test_every_model_described_by_its_inputs_has_signature_and_example(fitted, send, global_uri):
    """All but Python models without column hints carry a signature, and those of a library an example too."""
    model_id = send(log_model.save(fitted.record()))
    info = mlflow.models.get_model_info(f"models:/{model_id}")
    if fitted.flavor == "pyfunc":
        assert (info.signature is not None) == isinstance(fitted.data, list)
    else:
        assert info.signature.inputs is not None
        assert info.signature.outputs is not None
        example = mlflow.pyfunc.load_model(f"models:/{model_id}").input_example
        assert len(example) <= 5
        assert "target" not in getattr(example, "columns", [])


def test_the_mlmodel_file_is_what_log_model_writes(client, send, run, global_uri):
    """The MLmodel file carries the ids that log_model writes, and no key is missing."""
    model_id = send(log_model.save(record_of(small_model(), inputs={"X": np.eye(1)})))
    ours = mlflow.models.Model.load(f"models:/{model_id}").to_dict()
    assert (ours["model_id"], ours["model_uuid"], ours["run_id"]) == (model_id, model_id, run.info.run_id)
    assert ours["artifact_path"] == client.get_logged_model(model_id).artifact_location
    signature = mlflow.models.infer_signature(np.eye(1), np.eye(1)[0])
    with mlflow.start_run(experiment_id=run.info.experiment_id):
        theirs = mlflow.sklearn.log_model(
            small_model(), name="model", signature=signature, input_example=np.eye(1), pip_requirements=[]
        )
    assert ours.keys() == mlflow.models.Model.load(theirs.model_uri).to_dict().keys()


def test_the_logged_model_is_ready_and_linked_to_its_run(client, send, run):
    """The logged model is READY, is the run's output, and shows the run's parameters and first-step metrics."""
    client.log_param(run.info.run_id, "depth", 3)
    client.log_metric(run.info.run_id, "accuracy", 0.9)
    client.log_metric(run.info.run_id, "loss", 0.1, step=7)
    model_id = send(log_model.save(record_of(small_model())))
    identity = client.get_logged_model(model_id)
    assert identity.status.value == "READY"
    assert identity.source_run_id == run.info.run_id
    assert identity.params == {"depth": "3"}
    assert [(metric.key, metric.value) for metric in identity.metrics] == [("accuracy", 0.9)]
    assert [output.model_id for output in client.get_run(run.info.run_id).outputs.model_outputs] == [model_id]


def test_a_metric_that_is_no_number_is_not_shown_beside_the_model_as_zero(client, send, run):
    """MLflow keeps NaN for runs only: a model's would be 0.0. An infinity is the largest number, as on the run."""
    for name, value in {"auc": math.nan, "loss": math.inf, "accuracy": 0.9}.items():
        client.log_metric(run.info.run_id, name, value)
    identity = client.get_logged_model(send(log_model.save(record_of(small_model()))))
    assert {metric.key: metric.value for metric in identity.metrics} == {"loss": sys.float_info.max, "accuracy": 0.9}
    assert math.isnan(client.get_run(run.info.run_id).data.metrics["auc"])


def test_later_changes_to_the_object_are_not_logged(send, global_uri):
    """What is logged is the model at the moment of saving."""
    model = small_model()
    saved = log_model.save(record_of(model))
    model.coef_[:] = 100
    loaded = mlflow.sklearn.load_model(f"models:/{send(saved)}")
    assert loaded.coef_ == pytest.approx([2.0])


def test_a_name_that_mlflow_refuses_is_made_fit(client, send):
    """Characters that MLflow does not allow in a model's name become underscores."""
    model_id = send(log_model.save(record_of(small_model(), name="fit v1.0: a/b")))
    assert client.get_logged_model(model_id).name == "fit v1_0_ a_b"


# --- formats ---------------------------------------------------------------------------------------------


def format_of(saved: log_model.SavedModel) -> str:
    """The format that a scikit-learn model was saved in."""
    return mlflow.models.Model.load(str(saved.folder)).flavors["sklearn"]["serialization_format"]


@pytest.mark.parametrize(
    "name",
    [
        *("logistic", "random forest", "gradient boosting", "hist gradient boosting", "k-means", "support vectors"),
        *("perceptron", "calibrated", "stacking", "grid search", "mixed pipeline", "lightgbm in a pipeline"),
        "xgboost in a pipeline",
    ],
)
def test_estimators_of_known_libraries_are_saved_in_the_safe_format(fit, name, caplog):
    """Estimators made of known libraries' parts need no word from the user to be saved by skops."""
    assert format_of(log_model.save(fit(name).record())) == "skops"
    assert caplog.records == []


def test_an_unknown_type_falls_back_with_one_warning(send, caplog, global_uri):
    """A transformer of the user's own is saved by cloudpickle, and the warning says what to pass for skops."""
    model = own_pipeline()
    saved = log_model.save(record_of(model))
    assert format_of(saved) == "cloudpickle"
    assert len(caplog.records) == 1
    assert "Model(trust=(" in caplog.text
    assert f"{Clip.__module__}.Clip" in caplog.text
    loaded = mlflow.pyfunc.load_model(f"models:/{send(saved)}")
    np.testing.assert_allclose(loaded.predict(np.eye(4)), model.predict(np.eye(4)))


def test_a_trusted_type_is_saved_in_the_safe_format(send, caplog, global_uri):
    """What the warning says to pass works."""
    model = own_pipeline()
    saved = log_model.save(record_of(model, trust=(f"{Clip.__module__}.Clip",)))
    assert format_of(saved) == "skops"
    assert caplog.records == []
    loaded = mlflow.pyfunc.load_model(f"models:/{send(saved)}")
    np.testing.assert_allclose(loaded.predict(np.eye(4)), model.predict(np.eye(4)))


def test_a_lambda_falls_back_too(send, global_uri):
    """A model that skops cannot write at all is logged nevertheless."""
    doubled = preprocessing.FunctionTransformer(lambda X: X * 2)
    model = pipeline.make_pipeline(doubled, linear_model.Ridge()).fit(np.eye(4), np.arange(4))
    saved = log_model.save(record_of(model))
    assert format_of(saved) == "cloudpickle"
    loaded = mlflow.pyfunc.load_model(f"models:/{send(saved)}")
    np.testing.assert_allclose(loaded.predict(np.eye(4)), model.predict(np.eye(4)))


def test_a_network_is_traced_as_it_predicts_and_left_in_its_mode(fit, caplog):
    """MLflow's safe format is used for what an input shows how to call; dropout is still on in the user's object."""
    network = fit("torch network")
    assert (log_model.save(network.record()).folder / "data" / "model.pt2").exists()
    assert all(part.training for part in network.model.modules())
    assert caplog.records == []


@pytest.mark.parametrize(
    "inputs,why", [({}, "none of the task's inputs"), ({"X": np.eye(2, dtype="float32")}, "cannot be traced")]
)
def test_a_network_that_cannot_be_traced_falls_back_with_one_warning(inputs, why, send, caplog, global_uri):
    """Without an input to trace it with, or with branches that depend on the data, it is pickled and loads again."""
    torch = pytest.importorskip("torch")

    class Branching(torch.nn.Module):
        def forward(self, rows):
            return rows * 2 if rows.sum() > 0 else rows * 3

    saved = log_model.save(records.Model("net", Branching(), "pytorch", inputs=inputs))
    assert (saved.folder / "data" / "model.pth").exists()
    assert len(caplog.records) == 1
    assert why in caplog.text
    predicted = mlflow.pyfunc.load_model(f"models:/{send(saved)}").predict(-np.eye(2, dtype="float32"))
    np.testing.assert_allclose(predicted, np.eye(2) * -3)


def test_saving_is_quiet(fitted, caplog, capfd):
    """Saving prints and logs nothing, though MLflow has advice for many of these models."""
    mlflow_log = logging.getLogger("mlflow")
    mlflow_log.addHandler(caplog.handler)
    try:
        log_model.save(fitted.record())
    finally:
        mlflow_log.removeHandler(caplog.handler)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_other_threads_still_hear_mlflow(fit, caplog):
    """Muting MLflow's advice while a model is saved does not touch what it tells another thread."""
    log = logging.getLogger("mlflow.sklearn")
    log.addHandler(caplog.handler)
    heard = []

    class Loud(linear_model.LinearRegression):
        def predict(self, X):
            log.warning("from the saving thread")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(log.warning, "from another thread").result()
            heard.append(True)
            return super().predict(X)

    try:
        log_model.save(record_of(Loud().fit([[0.0], [1.0]], [0.0, 2.0]), inputs={"X": np.eye(1)}))
    finally:
        log.removeHandler(caplog.handler)
    messages = {entry.getMessage() for entry in caplog.records if entry.name == "mlflow.sklearn"}
    assert heard == [True]
    assert messages == {"from another thread"}


# --- the registry ----------------------------------------------------------------------------------------


def test_a_registered_version_loads_by_its_alias(client, send, run, global_uri):
    """Registering makes a READY version that knows its run and loads by alias."""
    saved = log_model.save(record_of(small_model(), register="house", alias="challenger"))
    model_id = send(saved)
    version = client.get_model_version_by_alias("house", "challenger")
    assert version.status == "READY"
    assert version.run_id == run.info.run_id
    of_runs = {"flowml.run_id": run.info.run_id, "flowml.training_run_id": run.info.run_id}
    assert of_runs.items() <= version.tags.items()
    assert version.source == f"models:/{model_id}"
    assert mlflow.pyfunc.load_model("models:/house@challenger").predict(np.array([[3.0]])) == pytest.approx([6.0])


def test_an_alias_moves_to_the_newest_version(client, send):
    """Registering again makes the next version and moves the alias to it."""
    for _ in range(2):
        send(log_model.save(record_of(small_model(), register="moved", alias="champion")))
    assert client.get_model_version_by_alias("moved", "champion").version == 2
    assert client.get_model_version_by_alias("moved", "previous").version == 1


def test_registering_does_not_need_the_global_tracking_uri(client, send, tmp_path, monkeypatch):
    """A version is made in the client's store even when the process's global URI points elsewhere."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")
    try:
        send(log_model.save(record_of(small_model(), register="elsewhere")))
    finally:
        mlflow.set_tracking_uri(before)
    assert client.get_model_version("elsewhere", "1").status == "READY"
    assert not (tmp_path / "elsewhere.db").exists()


def test_two_threads_may_register_under_one_new_name(client, run):
    """Both get a version when two runs create the same registered model at once."""
    saved = [log_model.save(record_of(small_model(), register="together")) for _ in range(2)]
    experiment_id = run.info.experiment_id
    runs = [run.info.run_id, client.create_run(experiment_id).info.run_id]

    def send(model: log_model.SavedModel, run_id: str) -> str:
        return log_model.send(client, model, run_id=run_id, experiment_id=experiment_id)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, saved, runs))
    assert {version.version for version in client.search_model_versions("name='together'")} == {1, 2}


def test_a_large_model_has_no_digest():
    """A digest takes copies of the model, which may not fill the memory; a model of a usual size has one."""
    model = small_model()
    assert len(identity.digest_of(model) or "") == 32
    model.many_ = np.zeros(14_000_000)
    assert identity.digest_of(model) is None


# --- life of a saved model -------------------------------------------------------------------------------


def test_sending_removes_the_temporary_folder(send):
    """Nothing is left on disk once a model is sent."""
    saved = log_model.save(record_of(small_model()))
    folder = saved.folder
    assert folder.exists()
    send(saved)
    assert not folder.parent.exists()


def test_a_failed_upload_is_marked_and_can_be_retried(client, send, run, tmp_path, global_uri):
    """When the upload fails the logged model is FAILED, the error is raised, and sending again works."""
    (tmp_path / "artifacts").write_text("in the way of the folder")
    saved = log_model.save(record_of(small_model()))
    with pytest.raises((OSError, MlflowException)):
        send(saved)
    states = [identity.status.value for identity in client.search_logged_models([run.info.experiment_id])]
    assert states == ["FAILED"]
    (tmp_path / "artifacts").unlink()
    assert mlflow.pyfunc.load_model(f"models:/{send(saved)}").predict(np.array([[3.0]])) == pytest.approx([6.0])


def test_what_cannot_be_saved_raises_and_leaves_nothing(tmp_path, monkeypatch):
    """A model that cannot be serialized raises from save, and its folder is gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = small_model()
    model.log_ = (number for number in range(3))
    with pytest.raises(Exception, match="generator"):
        log_model.save(record_of(model))
    assert list(tmp_path.iterdir()) == []


class Panicking(BaseEstimator):
    """A model whose content makes a library panic, with what is no `Exception`."""

    class Panic(BaseException):
        """As pyo3's."""

    def __reduce_ex__(self, protocol):
        """Refuse to be pickled."""
        raise self.Panic


def test_a_model_that_panics_costs_nothing_else_that_is_logged():
    """It is told as one that could not be serialized, and the rest is taken in."""
    taken, problem = enqueue([record_of(Panicking()), records.Param("a", "1")], "")
    assert taken == [records.Param("a", "1")]
    assert "could not be serialized: Panic" in str(problem)


def test_an_object_remembers_its_logged_model(send):
    """The very object that was logged leads to its logged model; an equal copy does not."""
    model = small_model()
    assert identity.serialized_of(model) is None
    model_id = send(log_model.save(record_of(model)))
    serialized = identity.serialized_of(model)
    assert serialized is not None
    assert set(serialized.ids.values()) == {model_id}
    assert identity.serialized_of(copy.deepcopy(model)) is None


def test_a_model_that_is_not_sent_yet_is_not_logged_twice(client, send, run):
    """What two tasks return is one logged model, in whichever order they are sent, and its files then are gone."""
    model = small_model()
    first, second = log_model.save(record_of(model)), log_model.save(record_of(model, register="house"))
    folder = first.folder
    assert send(second) == send(first)
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    assert not folder.exists()


def test_a_changed_model_is_logged_again(client, send, run):
    """An object that is fitted anew before the first is sent is two logged models, each as it was."""
    model = small_model()
    first = log_model.save(record_of(model))
    model.fit([[0.0], [1.0]], [0.0, 3.0])
    second = log_model.save(record_of(model))
    assert send(first) != send(second)


def test_registering_again_after_a_failure_makes_no_second_version(client, send, monkeypatch):
    """When the alias fails after the version is made, trying again goes on with that version."""
    saved = log_model.save(record_of(small_model(), register="resumed", alias="champion"))
    with monkeypatch.context() as broken:
        broken.setattr(type(client), "set_registered_model_alias", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            send(saved)
    send(saved)
    assert str(client.get_model_version_by_alias("resumed", "champion").version) == "1"


def test_a_dead_object_is_forgotten(send):
    """Remembering does not keep the model in memory, and its address may serve another object."""
    model = small_model()
    key = id(model)
    send(log_model.save(record_of(model)))
    del model
    gc.collect()
    assert key not in identity._known


@pytest.mark.parametrize("value", [3, "text", None, [1], {"a": 1}, (1,)], ids=repr)
def test_values_that_cannot_be_remembered_are_unknown(value):
    """Asking for the logged model of any value at all is allowed."""
    assert identity.serialized_of(value) is None


class Busy(linear_model.Ridge):
    """A model whose state cannot be read while another thread adds to it."""

    left = 0

    def __getstate__(self):
        if Busy.left:
            Busy.left -= 1
            msg = "dictionary changed size during iteration"
            raise RuntimeError(msg)
        return super().__getstate__()


def test_a_model_is_saved_again_while_another_thread_imports(send, global_uri):
    """What a library goes through may change meanwhile, which fails it; the model is not lost for that."""
    model = Busy().fit(np.eye(3), [1.0, 2.0, 3.0])
    Busy.left = 5
    loaded = mlflow.pyfunc.load_model(f"models:/{send(log_model.save(record_of(model)))}")
    assert Busy.left == 0
    np.testing.assert_allclose(loaded.predict(np.eye(3)), model.predict(np.eye(3)))
