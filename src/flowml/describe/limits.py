"""A run's records within MLflow's limits, with nothing lost: what is too much for the table goes to a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from flowml import mlflow_limits, records
from flowml.describe.keys import Keys, legal_model_name, legal_path
from flowml.describe.place import Hidden
from flowml.describe.text import as_json, cut, fingerprint, short
from flowml.errors import pass_on
from flowml.secrets import MASK, mask, mask_known
from flowml.storable import clean, numbered

MOST_PARAMS = 200
MOST_POINTS = 10_000  # of all metrics of one call
_PREVIEW = 500
_MOST_STEPS = 2**63 - 1


def fit(
    new_records: Iterable[records.Record],
    *,
    most_params: int = MOST_PARAMS,
    overflow: str = "inputs.json",
    changed_keys: str = "keys.json",
    hidden: Hidden | None = None,
) -> list[records.Record]:
    """Bring a run's records within MLflow's limits, and secrets out of them.

    Keys get legal characters and lengths; of two parameters with one key the last counts; a long value becomes a
    preview with its SHA-256; parameters beyond ``most_params`` are left out. What was changed or left out stands in
    full in two files among the artifacts. What is within the limits stays as it is, so fitting twice is harmless.

    Args:
        new_records: The records.
        most_params: How many parameters may stand in the table.
        overflow: The JSON file for long values and for parameters beyond the limit, by key.
        changed_keys: The JSON file for the original of each key that was changed.
        hidden: Counts the secrets in what comes out.

    Returns:
        The records to log.
    """
    fitting = _Fitting(most_params, overflow, changed_keys)
    fitted = fitting.fit(new_records)
    if hidden:
        hidden.add(fitting.masked())
    return fitted


class RunParams:
    """The parameters that a run has: MLflow keeps the first value of each."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._overflows = 0

    def take(self, new_records: list[records.Record]) -> list[records.Record]:
        """Return what is to be logged, where more comes to what a run has.

        A parameter that has another value already gets a key of its own; those beyond MLflow's room go to a file.
        """
        made = [self._apart(record) if isinstance(record, records.Param) else record for record in new_records]
        room = MOST_PARAMS - len(self._taken)
        if sum(isinstance(record, records.Param) for record in made) > room:
            self._overflows += 1
            made = fit(made, most_params=room, overflow=f"params/{self._overflows}.json")
        self._taken |= {record.key: record.value for record in made if isinstance(record, records.Param)}
        return made

    def _apart(self, param: records.Param) -> records.Param:
        return records.Param(_key_apart(param, self._taken), param.value)


def fit_piece(
    new_records: Iterable[records.Record], folder: str, names: Iterable[object], hidden: Hidden | None = None
) -> list[records.Record]:
    """Fit what is logged in pieces: each piece has files of its own, so that none overwrites another's."""
    stem = f"{folder}/{fingerprint(chr(0).join(map(str, names)))}"
    return fit(apart(new_records), overflow=f"{stem}.json", changed_keys=f"{stem}_keys.json", hidden=hidden)


def apart(new_records: Iterable[records.Record]) -> Iterator[records.Record]:
    """Give a parameter that has another value already a key of its own: MLflow keeps one value for each."""
    values: dict[str, str] = {}
    for record in new_records:
        if isinstance(record, records.Param):
            key = _key_apart(record, values)
            values[key] = record.value
            yield record if key == record.key else records.Param(key, record.value)
        else:
            yield record


def _key_apart(param: records.Param, values: Mapping[str, str]) -> str:
    """Give the key for a parameter beside those that there are: its own, or the next ``key.2`` that is free.

    Args:
        param: The parameter.
        values: The value of each key so far.
    """
    key, number = param.key, 2
    while values.get(key, param.value) != param.value:
        key, number = numbered(param.key, number), number + 1
    return key


class _Fitting:
    def __init__(self, most_params: int, overflow: str, changed_keys: str) -> None:
        self.most_params = most_params
        self.overflow = overflow
        self.changed_keys = changed_keys
        self.keys = Keys()
        self.params: dict[str, str] = {}
        self.whole: dict[str, str] = {}
        self.originals: dict[str, str] = {}
        self.metrics: dict[tuple[str, int], records.Metric] = {}
        self.points_left_out = 0
        self.tags: dict[str, records.Tag] = {}
        self.others: list[records.Record] = []

    def fit(self, new_records: Iterable[records.Record]) -> list[records.Record]:
        for record in new_records:
            self._take(record)
        return self._result()

    def masked(self) -> int:
        """Count what is masked: in parameters, whole, and in texts."""
        texts = [self.whole.get(key, value) for key, value in self.params.items()]
        texts += [record.text for record in self.others if isinstance(record, records.Text)]
        return sum(text.count(MASK) for text in texts)

    def _take(self, record: records.Record) -> None:
        match record:
            case records.Param(key, value):
                self._param(_text(key), _text(value))
            case records.Metric():
                self._metric(record)
            case records.Tag(key, value):
                legal = self.keys.legal(_text(key))
                self.tags[legal] = records.Tag(legal, cut(mask(clean(_text(value))), mlflow_limits.TAG))
            case records.Text(path, text) if path in (self.overflow, self.changed_keys) and _is_object(text):
                (self.whole if path == self.overflow else self.originals).update(json.loads(text))
            case records.Text(path, text):
                hide = mask_known if path.endswith((".html", ".svg")) else mask
                self.others.append(records.Text(legal_path(path), hide(clean(text))))
            case records.Blob(path, data):
                self.others.append(records.Blob(legal_path(path), data))
            case records.File(path):
                self.others.append(replace(record, path=legal_path(path) if path else ""))
            case records.Lost():
                self._lost(record)
            case records.Dataset() | records.Model() | records.ModelInput():
                self.others.append(_fitted(record))
            case _:
                self.others.append(record)

    def _param(self, key: str, value: str) -> None:
        key, value = self.keys.legal(key), mask(clean(value))
        if key in self.params:  # the last one counts, and stands last
            del self.params[key]
            self.whole.pop(key, None)
        if len(value) > mlflow_limits.PARAM:
            self.whole[key] = value
            summary = f"{len(value):,} characters, sha256:{fingerprint(value)}, whole in {self.overflow}"
            value = f"{value[:_PREVIEW]}… ({summary})"
        self.params[key] = value

    def _lost(self, lost: records.Lost) -> None:
        fitted = records.Lost(_text(lost.name), mask(clean(_text(lost.what))), mask(clean(_text(lost.why))))
        self._take(records.Tag(f"flowml.not_logged.{fitted.name}", f"could not {fitted.what}: {fitted.why}"))
        self.others.append(fitted)

    def _metric(self, metric: records.Metric) -> None:
        number = _float(metric.value)
        if number is None:
            return
        step = min(max(metric.step, -_MOST_STEPS), _MOST_STEPS)
        point = records.Metric(self.keys.legal(_text(metric.key)), number, step)
        place = (point.key, step)
        if place in self.metrics or len(self.metrics) < MOST_POINTS:
            self.metrics[place] = point
        else:
            self.points_left_out += 1

    def _result(self) -> list[records.Record]:
        kept = list(self.params.items())
        if len(kept) > self.most_params:
            beyond = kept[self.most_params :]
            kept = kept[: self.most_params]
            self.whole = {**dict(beyond), **self.whole}
            text = f"{len(beyond):,} more parameters are in {self.overflow}"
            self.tags["flowml.params_truncated"] = records.Tag("flowml.params_truncated", text)
        if self.points_left_out:
            text = f"{MOST_POINTS:,} of {MOST_POINTS + self.points_left_out:,} points"
            self.tags["flowml.metrics_truncated"] = records.Tag("flowml.metrics_truncated", text)
        self.originals.update(self.keys.changed)
        files = [
            records.Text(path, as_json(content))
            for path, content in ((self.overflow, self.whole), (self.changed_keys, self.originals))
            if content
        ]
        params = [records.Param(key, value) for key, value in kept]
        return [*params, *self.metrics.values(), *self.tags.values(), *self.others, *files]


def _text(value: Any) -> str:
    """Read what should be text; a describer of the user's may have put anything there."""
    return value if type(value) is str else short(value)


def _float(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, str) else float(value)
    except BaseException as error:  # noqa: BLE001 - of any class: then it is none
        pass_on(error)
        return None


def _is_object(text: str) -> bool:
    return text.startswith("{") and text.endswith("}")


def _fitted(record: records.Dataset | records.Model | records.ModelInput) -> records.Record:
    if isinstance(record, records.Dataset):
        return _dataset(record)
    return replace(record, name=legal_model_name(record.name))


def _dataset(record: records.Dataset) -> records.Dataset:
    schema, profile = dict(record.schema), dict(record.profile)
    columns = schema.get("mlflow_colspec")
    if isinstance(columns, list):
        while columns and len(json.dumps(schema)) > mlflow_limits.SCHEMA:
            columns = columns[: len(columns) // 2]
            schema, profile = {"mlflow_colspec": columns}, {**profile, "schema_columns": len(columns)}
    elif len(json.dumps(schema)) > mlflow_limits.SCHEMA:
        schema = {}
    if len(json.dumps(profile)) > mlflow_limits.PROFILE:
        profile = {name: profile[name] for name in ("num_rows", "num_elements") if name in profile}
    name = cut(mask(clean(record.name)), mlflow_limits.DATASET_NAME) or "dataset"
    return replace(record, name=name, digest=record.digest[:36], schema=schema, profile=profile)
