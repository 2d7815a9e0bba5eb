"""Artifacts and results in S3: a server of the tests' own answers as S3 does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import boto3
import mlflow
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer
from prefect_aws import AwsClientParameters, AwsCredentials, S3Bucket
from sklearn.linear_model import LogisticRegression
from tests.runs import run_of

from flowml import Dataset, flow, settings, task
from flowml.store.backend import connection


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 with nothing in it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, project: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of it, with a bucket for artifacts, which the settings name, and one for the rest."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "FLOWML_ARTIFACTS": "s3://artifacts/team",
    }.items():
        monkeypatch.setenv(name, value)
    found = boto3.client("s3")
    for bucket in ("artifacts", "data"):
        found.create_bucket(Bucket=bucket)  # that one is there already is no error in this region
    settings.reload()
    return found


def keys(s3: Any, bucket: str) -> list[str]:
    """Return what a bucket holds."""
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_flows_artifacts_and_results_are_in_s3(s3: Any, tmp_path: Path) -> None:
    """A model, a file and a table go to MLflow's bucket, a result to Prefect's block, and each can be read again."""
    pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 0, 1, 1]}).to_parquet(tmp_path / "1.parquet")
    s3.upload_file(str(tmp_path / "1.parquet"), "data", "day/1.parquet")
    params = AwsClientParameters(endpoint_url=s3.meta.endpoint_url)
    keys_of_aws = AwsCredentials(
        aws_access_key_id="testing", aws_secret_access_key="testing", aws_client_parameters=params
    )
    bucket = S3Bucket(bucket_name="data", bucket_folder="results", credentials=keys_of_aws)
    bucket.save("flowml-results", overwrite=True)

    @task
    def load(path: str) -> Annotated[pd.DataFrame, Dataset(source="{path}", save=True)]:
        return pd.read_parquet(path)

    @task(persist_result=True, result_storage=bucket, result_storage_key="double.pickle")
    def double(number: int) -> int:
        return 2 * number

    @task
    def fit(frame: pd.DataFrame) -> LogisticRegression:
        return LogisticRegression().fit(frame[["x"]], frame["y"])

    @task
    def report() -> Path:
        Path("report.txt").write_text("all is well")
        return Path("report.txt")

    @flow
    def training(path: str) -> int:
        fit(load(path))
        report()
        return double(21)

    assert training("s3://data/day/1.parquet") == 42
    store = connection.connect().client
    assert {Path(key).name for key in keys(s3, "artifacts")} >= {"report.txt", "MLmodel", "load.parquet"}
    assert [key for key in keys(s3, "data") if key.startswith("results/")] == ["results/double.pickle"]
    (made,) = [each for each in run_of(store, "load").inputs.dataset_inputs if each.dataset.name == "load"]
    assert made.dataset.source_type == "s3"
    assert json.loads(made.dataset.source) == {"uri": "s3://data/day/1.parquet"}
    assert mlflow.data.get_source(made).uri == "s3://data/day/1.parquet"
    (model,) = run_of(store, "fit").outputs.model_outputs
    assert mlflow.sklearn.load_model(f"models:/{model.model_id}").predict(pd.DataFrame({"x": [3.0]})).tolist() == [1]
    assert training.with_options(name="again")("s3://data/day/1.parquet") == 42
    assert len(keys(s3, "data")) == 2


def test_a_table_of_a_warehouse_has_its_source(s3: Any) -> None:
    """The query's table stands in MLflow without a password; a source that cannot be filled in is said, once."""

    @task
    def orders() -> Annotated[pd.DataFrame, Dataset(source="postgresql://ada:pw12345@db/shop#public.orders")]:
        return pd.DataFrame({"x": [1]})

    @task
    def wrong() -> Annotated[pd.DataFrame, Dataset(source="s3://data/{day}.parquet")]:
        return pd.DataFrame({"x": [1]})

    @flow
    def reading() -> None:
        orders()
        wrong()

    reading()
    store = connection.connect().client
    (made,) = run_of(store, "orders").inputs.dataset_inputs
    assert json.loads(made.dataset.source)["tags"]["flowml.source"] == "postgresql://db/shop#public.orders"
    (made,) = run_of(store, "wrong").inputs.dataset_inputs
    assert made.dataset.source_type == "code"
    (said,) = [text for tag, text in run_of(store, "wrong").data.tags.items() if "not_logged" in tag]
    assert "'day'" in said
    del s3
