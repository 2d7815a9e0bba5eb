"""The smallest tracked flow: run it, then look for ``hello`` in MLflow."""

from flowml import flow, task


@task
def score(name: str, weight: float = 2.0) -> float:
    return weight * len(name)


@flow
def hello(names: list[str]) -> dict[str, float]:
    scores = score.map(names).result()
    return {"best": max(scores), "mean": sum(scores) / len(scores)}


if __name__ == "__main__":
    hello(["Ada", "Grace", "Katherine"])
