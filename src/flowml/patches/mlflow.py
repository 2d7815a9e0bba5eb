"""MLflow's private names. Checked with MLflow 3.17.0 and 3.17.2."""

from __future__ import annotations

from flowml.patches.private import PrivateName

_FLUENT = "mlflow.tracking.fluent"
_BY_HAND = "plain mlflow.* calls go to the task's run in sync tasks only; flowml.log() works everywhere"

ACTIVE_RUN_STACK = PrivateName(
    _FLUENT, "_active_run_stack", "makes the stack of active runs follow the context", _BY_HAND
)
LAST_ACTIVE_RUN_ID = PrivateName(
    _FLUENT, "_last_active_run_id", "answers mlflow.last_active_run() in a flow", "it names a run of flowml's"
)
ACTIVE_EXPERIMENT_ID = PrivateName(
    _FLUENT,
    "_active_experiment_id",
    "reads what mlflow.set_experiment() chose before the flow",
    "a flow's runs go to the experiment of the flow's name",
)
GET_EXPERIMENT_ID = PrivateName(
    _FLUENT, "_get_experiment_id", "finds the experiment of a run that is opened by hand", "it is the flow's"
)
GET_OR_START_RUN = PrivateName(_FLUENT, "_get_or_start_run", "sends what is logged by hand to the task's run", _BY_HAND)
REQUEST_SESSION = PrivateName(
    "mlflow.utils.request_utils",
    "_get_request_session",
    "leaves trying again to flowml's sender",
    "a server that is away holds the sender for minutes",
)
CLIENTS_STORE = PrivateName(
    "mlflow.tracking.client",
    "MlflowClient._tracking_client",
    "reads and writes SQL tables directly",
    "flows with many tasks end later",
    on_instances=True,
)
LOG_URL = PrivateName(
    "mlflow.tracking._tracking_service.client",
    "TrackingServiceClient._log_url",
    "keeps run addresses, with the password in them, out of the output of this client alone",
    "MLflow prints a line for each run that is closed",
)
SPARK_SESSION = PrivateName(
    "mlflow.utils._spark_utils",
    "_get_active_spark_session",
    "looks for no Spark session where pyspark is not loaded",
    "MLflow tries to import pyspark at each call",
)
REGISTRY_STORES = PrivateName(
    "mlflow.tracking._model_registry.utils",
    "_get_store_registry",
    "imports the stores of model registries before the sender needs them",
    "registering a model may wait for an import of the user's",
)
AUTOLOGGED_MODELS = PrivateName(
    "mlflow.sklearn",
    "_AUTOLOGGING_METRICS_MANAGER",
    "recognizes a model that autologging has logged",
    "a task that returns it logs it a second time",
)
AUTOLOGGED_RUN = PrivateName(
    "sklearn.base",
    "BaseEstimator._mlflow_run_id",
    "leaves out of a model's fingerprint what autologging sets on the model",
    "a model that is returned twice is logged twice",
    on_instances=True,
)
PACKAGES_OF_MODULES = PrivateName(
    "mlflow.utils.requirements_utils",
    "_MODULES_TO_PACKAGES",
    "shares MLflow's list of the installed packages",
    "the first model of a process takes a second longer",
)
REGISTRY_CLIENT = PrivateName(
    "mlflow.tracking.client",
    "MlflowClient._get_registry_client",
    "reads all aliases of a prompt in one request",
    "each version of the prompt is asked for its own",
)
LISTED_PRICES_OF = PrivateName(
    "mlflow.utils.providers",
    "_load_bundled_provider",
    "reads what a model's tokens cost in the list that is installed with MLflow, without asking the network",
    "cost is unknown where neither the settings nor the span say a price",
)
LISTED_PRICES = PrivateName(
    "mlflow.utils.providers",
    "_lookup_model_info",
    "looks for a model whose provider is unknown in the list of prices that is installed with MLflow",
    "cost is unknown where neither the settings nor the span say a price or a provider",
)

REMOVE_RUN = PrivateName(
    "mlflow.store.tracking.sqlalchemy_store",
    "SqlAlchemyStore._hard_delete_run",
    "removes a run that is copied from the offline store; `mlflow gc` removes all else that is deleted there, too",
    "`flowml sync --prune` removes no runs",
)
REMOVE_MODEL = PrivateName(
    "mlflow.store.tracking.sqlalchemy_store",
    "SqlAlchemyStore._hard_delete_logged_model",
    "removes a logged model that is copied from the offline store",
    "`flowml sync --prune` removes no logged models",
)
VALIDATE_BATCH = PrivateName(
    "mlflow.utils.validation",
    "_validate_batch_log_data",
    "refuses what MLflow refuses before runs are written to SQL tables directly",
    "flows with many tasks end later",
)
VALIDATE_PARAM = PrivateName(
    "mlflow.utils.validation",
    "_validate_param",
    "refuses a parameter that is logged by hand in a flow with retries when it is logged",
    "it is refused when the flow ends",
)

NAMES = (
    REMOVE_RUN,
    REMOVE_MODEL,
    VALIDATE_BATCH,
    VALIDATE_PARAM,
    ACTIVE_RUN_STACK,
    LAST_ACTIVE_RUN_ID,
    ACTIVE_EXPERIMENT_ID,
    GET_EXPERIMENT_ID,
    GET_OR_START_RUN,
    REQUEST_SESSION,
    CLIENTS_STORE,
    LOG_URL,
    SPARK_SESSION,
    REGISTRY_STORES,
    PACKAGES_OF_MODULES,
    AUTOLOGGED_MODELS,
    AUTOLOGGED_RUN,
    REGISTRY_CLIENT,
    LISTED_PRICES,
    LISTED_PRICES_OF,
)
