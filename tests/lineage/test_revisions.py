"""Which version of a file is told."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flowml import flow
from flowml.lineage.naming import of_source

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def reading(paths: Path) -> int:
    """Be given a path."""
    return 1


def version_of(catalogue: Any, path: Path) -> tuple[str, str]:
    """Have a flow given a path, and return the version that the catalogue was told, and by whose word."""
    reading(path)
    (data,) = catalogue.of("reading")[-1]["inputs"]
    tags = {tag["key"]: tag["value"] for tag in data["facets"]["tags"]["tags"]}
    return data["facets"]["version"]["datasetVersion"], tags["revision_by"]


def test_the_version_is_that_of_who_keeps_it(catalogue: Any, project: Path) -> None:
    """DVC's fingerprint, beside a file or in the lock of a pipeline; Delta's newest version; a commit; the content."""
    for name in ("tracked", "made", "changed"):
        (project / f"{name}.csv").write_text(f"x\n{name}\n")
    (project / "tracked.csv.dvc").write_text("outs:\n- md5: 0a1b2c\n  size: 3\n  path: tracked.csv\n")
    (project / "dvc.lock").write_text("stages:\n  make:\n    outs:\n    - path: made.csv\n      md5: 3d4e5f\n")
    assert version_of(catalogue, project / "tracked.csv") == ("0a1b2c", "DVC")
    assert version_of(catalogue, project / "made.csv") == ("3d4e5f", "DVC")

    (project / "table" / "_delta_log").mkdir(parents=True)
    for number in (9, 10):
        (project / "table" / "_delta_log" / f"{number:020}.json").write_text("{}")
    assert version_of(catalogue, project / "table") == ("10", "Delta")

    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    (project / "dvc.lock").unlink()
    for words in (("init", "--quiet"), ("add", "changed.csv"), ("commit", "--quiet", "--message=Begin")):
        subprocess.run(["git", *who, *words], cwd=project, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, check=True, capture_output=True, text=True)
    assert version_of(catalogue, project / "changed.csv") == (commit.stdout.strip(), "git")
    (project / "changed.csv").write_text("x\nanother\n")
    wanted = hashlib.sha256(b"x\nanother\n").hexdigest()
    assert version_of(catalogue, project / "changed.csv") == (f"sha256:{wanted}", "content")


@pytest.mark.parametrize(
    "source, place",
    [
        ("s3a://bucket/day/1.parquet", ("s3://bucket", "day/1.parquet")),
        ("gs://bucket/a", ("gs://bucket", "a")),
        ("abfss://data@account.dfs.core.windows.net/a", ("abfss://data@account.dfs.core.windows.net", "a")),
        ("postgresql+psycopg2://host:6000/shop#public.orders", ("postgres://host:6000", "shop.public.orders")),
        ("mysql://host/shop#orders", ("mysql://host:3306", "shop.orders")),
        ("bigquery://project/sales.orders", ("bigquery", "project.sales.orders")),
        ("snowflake://org-account/db.schema.table", ("snowflake://org-account", "db.schema.table")),
        ("duckdb:///shop.duckdb#main.orders", ("duckdb", "shop.duckdb.main.orders")),
        ("file:///data/a%20b.csv", ("file", "/data/a b.csv")),
        ("https://example.org:8443/a.csv", ("https://example.org:8443", "a.csv")),
    ],
)
def test_sources_have_the_names_of_the_standard(source: str, place: tuple[str, str]) -> None:
    """An address is named as the standard's page on names has it."""
    assert of_source(source) == place
