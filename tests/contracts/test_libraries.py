"""What flowml relies on in other libraries, and in Python itself, beyond what is documented."""

from __future__ import annotations

import importlib
import json
import threading
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import scipy.sparse
import wrapt


def test_the_end_of_the_process() -> None:
    """`threading._register_atexit` takes a function with its arguments; what was registered last is called first."""
    called: list[int] = []
    threading._register_atexit(called.append, 1)  # type: ignore[attr-defined]
    last = threading._threading_atexits.pop()  # type: ignore[attr-defined]
    last()
    assert called == [1]


def test_a_lock_that_another_thread_holds() -> None:
    """`_at_fork_reinit` of a re-entrant lock makes it free, whoever holds it."""
    lock = threading.RLock()
    holder = threading.Thread(target=lock.acquire)
    holder.start()
    holder.join()
    assert not lock.acquire(blocking=False)
    lock._at_fork_reinit()  # type: ignore[attr-defined]
    assert lock.acquire(blocking=False)


def test_a_module_that_is_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import system notes that in `_initializing` of its spec, and takes it away afterwards."""
    (tmp_path / "looks_at_itself.py").write_text("during = getattr(__spec__, '_initializing', False)")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("looks_at_itself")
    assert module.during
    assert not getattr(module.__spec__, "_initializing", False)


def test_sparse_matrices_and_arrays() -> None:
    """SciPy's have a family in common, of a module of SciPy's."""
    families = [set(kind.__mro__) for kind in (scipy.sparse.csr_matrix, scipy.sparse.coo_array, scipy.sparse.dok_array)]
    assert any(family.__module__.startswith("scipy.sparse") for family in set.intersection(*families))


def test_a_dataset_of_lightgbm_that_was_not_built() -> None:
    """Its `_handle` is None until it is."""
    dataset = lightgbm.Dataset(np.eye(4))
    assert dataset._handle is None
    assert dataset.construct()._handle is not None


def test_the_proxy_of_a_function() -> None:
    """What a proxy keeps for itself has names that begin with `_self_`; all else is the function's."""

    class Proxy(wrapt.ObjectProxy):  # type: ignore[type-arg, misc]
        _self_own = 1

    proxy = Proxy(json.dumps)
    proxy._self_own = 2
    assert (proxy._self_own, hasattr(json.dumps, "_self_own"), proxy.__code__) == (2, False, json.dumps.__code__)


def test_the_version_of_a_deployment_on_ray_serve() -> None:
    """Its `_version` is None until it is set; two deployments of one version differ in their configuration alone."""
    serve = pytest.importorskip("ray.serve", exc_type=ImportError)

    class Answering:
        pass

    one, two = (serve.deployment(Answering, user_config=number) for number in (1, 2))
    assert one._version is None
    one._version = two._version = "abc"
    assert one.options(num_replicas=2)._version == "abc"
