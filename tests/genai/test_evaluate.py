"""Evaluation of what language models answer: scores with intervals, rows, traces, and what is left out and said."""

from __future__ import annotations

import json
from typing import Any

import mlflow
import openai
import pytest
from mlflow import MlflowClient
from mlflow.genai import scorer
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import RegexMatch
from tests.genai.llm_server import Answer, LlmServer
from tests.runs import run_of, runs_of

import flowml
from flowml import AtLeast, Better, Budget, Evaluation, EvaluationError, NotWorse, Verdict, flow, settings
from flowml.registry.rules import Rule

ROWS = [{"inputs": {"question": f"{number} + 1"}, "expectations": {"answer": str(number + 1)}} for number in range(6)]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow draw no progress bars."""
    monkeypatch.setenv("TQDM_DISABLE", "1")


def answer(question: str) -> str:
    """Add, and be wrong about one sum."""
    number = int(question.partition(" ")[0])
    return str(number + (2 if number == 4 else 1))


def exact(outputs: str, expectations: dict[str, Any]) -> bool:
    """Score whether it is right: a plain function."""
    return outputs == expectations["answer"]


@scorer
def length(outputs: str) -> int:
    """Score how long it is: MLflow's decorator."""
    return len(outputs)


def evaluated(predict: Any = answer, **options: Any) -> Evaluation:
    """Evaluate in a flow."""
    options = {"data": ROWS, "scorers": [exact]} | options

    @flow
    def evaluating() -> Evaluation:
        return flowml.evaluate(predict, **options)

    return evaluating()


def test_scores_rows_traces_and_the_dataset_are_kept(client: MlflowClient) -> None:
    """Means with intervals are metrics, the rows a table, each answer a trace with its scores, the data an input."""
    found = evaluated(scorers=[exact, length, RegexMatch(pattern=r"\d")])
    assert found.metrics == {"exact": pytest.approx(5 / 6), "length": 1.0, "regex_match": 1.0}
    low, high = found.scores["exact"].interval or (0, 0)
    assert 0.3 < low < 5 / 6 < high <= 1
    assert found.is_complete
    run = run_of(client, "evaluate")
    assert run.info.run_id == found.run.run_id
    assert run.data.metrics["exact"] == pytest.approx(5 / 6)
    assert (run.data.metrics["exact.low"], run.data.metrics["exact.high"]) == (low, high)
    table = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/evaluation/rows.json"))
    assert len(table["data"]) == 6
    assert {"inputs", "outputs", "exact", "trace_id"} <= set(table["columns"])
    (dataset,) = run.inputs.dataset_inputs
    assert found.dataset == (dataset.dataset.name, dataset.dataset.digest)
    traces = client.search_traces(locations=[run.info.experiment_id])
    assert len(traces) == 6
    for trace in traces:
        assert trace.info.request_metadata["mlflow.sourceRun"] == run.info.run_id
        scores = {each.name: each.feedback.value for each in trace.info.assessments if each.feedback}
        assert scores.keys() == {"exact", "length", "regex_match"}


def test_each_row_is_asked_once_and_its_tokens_are_the_tasks(
    client: MlflowClient, llm: LlmServer, ask: openai.OpenAI
) -> None:
    """MLflow's harness tries a function first; no language model is asked for that, and threads count on the task."""

    def asking(question: str) -> str:
        message = {"role": "user", "content": question}
        said = ask.chat.completions.create(model="gpt-4o-mini", messages=[message])
        return str(said.choices[0].message.content)

    llm.usual = lambda asked: Answer(answer(asked["messages"][0]["content"]), input=7)
    found = evaluated(asking)
    assert len(llm.requests) == 6
    assert found.metrics["exact"] == pytest.approx(5 / 6)
    assert run_of(client, "evaluate").data.metrics["tokens_input"] == 42


def test_a_row_that_fails_is_that_rows(client: MlflowClient) -> None:
    """A prediction that raises is in no mean, a scorer that raises is counted; both are said, the rest is scored."""

    def failing(question: str) -> str:
        if question.startswith("0"):
            msg = "no zeros"
            raise ValueError(msg)
        return answer(question)

    def picky(outputs: str) -> bool:
        if outputs == "3":
            msg = "not three"
            raise RuntimeError(msg)
        return True

    found = evaluated(failing, scorers=[exact, picky])
    assert found.failed_rows == 1
    assert found.metrics["exact"] == pytest.approx(4 / 5)
    assert (found.scores["picky"].scored, found.scores["picky"].failed) == (4, 2)
    assert not found.is_complete
    assert "1 of 6 predictions failed" in str(found)
    (row,) = found.table[found.table["inputs"] == {"question": "2 + 1"}].to_dict("records") or [{}]
    assert "not three" in row["errors"]["picky"]
    run = run_of(client, "evaluate")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["rows.failed"] == 1
    assert "predictions failed" in run.data.tags["flowml.evaluation.incomplete"]


def test_a_score_that_is_no_number_is_that_rows(client: MlflowClient) -> None:
    """NaN counts as a failed score, with its reason; the other rows and scorers keep theirs."""

    def first_only(outputs: str) -> float:
        return 1.0 if outputs == "1" else float("nan")

    found = evaluated(scorers=[exact, first_only])
    assert found.metrics == {"exact": pytest.approx(5 / 6), "first_only": 1.0}
    assert (found.scores["first_only"].scored, found.scores["first_only"].failed) == (1, 5)
    assert "the scorer returned nan" in str(found.table["errors"].tolist())


def test_where_all_rows_fail_the_task_fails(client: MlflowClient) -> None:
    """Nothing is known where every prediction, or every score, has failed: that is an error with its reasons."""

    def broken(question: str) -> str:
        raise ValueError(question)

    def always(outputs: str) -> bool:
        raise RuntimeError("never" + outputs)

    with pytest.raises(EvaluationError, match="All 6 predictions have failed"):
        evaluated(broken)
    with pytest.raises(EvaluationError, match=r"All 6 scores have failed.*never"):
        evaluated(scorers=[always])


@pytest.mark.parametrize(
    "options, said",
    [
        ({"data": []}, "The data has no rows"),
        ({"scorers": []}, "scores nothing"),
        ({"scorers": [exact, exact]}, "Two scorers are called 'exact'"),
        ({"scorers": [lambda outputs: outputs]}, "A lambda cannot be a scorer"),
        ({"scorers": ["exact"]}, "takes MLflow's scorers, and functions"),
        ({"data": [{"input": {"question": "1 + 1"}}]}, "Row 0 has no 'inputs'.*Did you mean 'inputs'"),
        ({"data": [{"inputs": "1 + 1"}]}, "they are the function's arguments, by name"),
        ({"data": [{**ROWS[0], "outputs": "1"}]}, "give a function to evaluate, or outputs, not both"),
        ({"data": "rows.csv"}, "takes rows with 'inputs', or a table with target="),
        ({"predict": None}, "Row 0 has no 'outputs', and no function was given"),
        ({"of": "prompts:/nothing/1"}, "There is no prompt 'nothing'"),
    ],
)
def test_what_cannot_be_evaluated(client: MlflowClient, options: dict[str, Any], said: str) -> None:
    """Bad input is an error that says what was wrong, before anything is asked."""
    with pytest.raises(flowml.FlowmlError, match=f"(?s){said}"):
        evaluated(**options)


def test_answers_that_are_there_already(client: MlflowClient) -> None:
    """Rows with outputs are scored without a function."""
    rows = [{**row, "outputs": answer(row["inputs"]["question"])} for row in ROWS]
    assert evaluated(None, data=rows).metrics["exact"] == pytest.approx(5 / 6)


@pytest.fixture
def judge(llm: LlmServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A judge of MLflow's at the address of the server, which finds all good but one."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    verdict = {"result": True, "rationale": "fine"}
    llm.usual = lambda _: Answer(json.dumps(verdict), input=100, output=20)
    return make_judge(
        name="good",
        instructions="Is {{ outputs }} a number?",
        model="openai:/gpt-4o-mini",
        base_url=f"{llm.url}/chat/completions",
        feedback_value_type=bool,
    )


@pytest.mark.slow
def test_a_judge_at_an_own_address(client: MlflowClient, llm: LlmServer, judge: Any) -> None:
    """A judge asks any address that speaks OpenAI's language; what it used is told, and counts on the task."""
    found = evaluated(scorers=[judge], budget=Budget(max_calls=6))
    assert found.metrics["good"] == 1
    assert found.judge_calls == len(llm.requests) == 6
    assert found.judges.total.input == 600
    assert found.judges.known_cost > 0
    assert found.is_complete
    assert run_of(client, "evaluate").data.metrics["tokens_input"] == 600


@pytest.mark.parametrize("budget", [Budget(max_calls=2), Budget(max_cost="0.00005")], ids=["calls", "cost"])
def test_a_budget_that_is_used_up_stops_the_judges(
    client: MlflowClient, llm: LlmServer, judge: Any, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is not scored by them, which is counted and said; other scorers go on, and a gate refuses to decide."""
    monkeypatch.setenv("MLFLOW_GENAI_EVAL_MAX_WORKERS", "1")
    found = evaluated(scorers=[judge, exact], budget=budget)
    assert len(llm.requests) == found.judge_calls == 2
    assert (found.scores["good"].scored, found.scores["good"].unscored) == (2, 4)
    assert found.scores["exact"].scored == 6
    assert "is used up" in found.stopped
    assert "4 not scored" in str(found)
    assert not found.is_complete

    @flow
    def gating() -> None:
        flowml.gate(found, rules=[AtLeast("good", 0.5)])

    with pytest.raises(flowml.RegistryError, match="good of evaluation is not complete: 4 of 6 rows have no number"):
        gating()


def test_a_judge_of_your_own_is_within_the_budget(client: MlflowClient, llm: LlmServer, ask: openai.OpenAI) -> None:
    """A function that asks a language model is one: its calls are seen by their spans."""

    def friendly(outputs: str) -> bool:
        message = {"role": "user", "content": f"Is {outputs} friendly?"}
        said = ask.chat.completions.create(model="gpt-4o-mini", messages=[message])
        return said.choices[0].message.content == "yes"

    found = evaluated(scorers=[friendly, exact], budget=Budget(max_calls=3))
    assert len(llm.requests) == found.judge_calls == 3
    assert (found.scores["friendly"].scored, found.scores["friendly"].unscored) == (3, 3)


def test_a_cost_that_is_unknown_stops_too(client: MlflowClient, llm: LlmServer, ask: openai.OpenAI) -> None:
    """Where no price is known, a limit of cost cannot be kept: the judges stop after the first answer and say so."""

    def friendly(outputs: str) -> bool:
        message = {"role": "user", "content": outputs}
        return bool(ask.chat.completions.create(model="nobody-knows-it", messages=[message]))

    found = evaluated(scorers=[friendly], budget=Budget(max_cost=1))
    assert "no price is known for nobody-knows-it" in found.stopped
    assert found.scores["friendly"].unscored >= 1


@pytest.mark.parametrize(
    "options, error, said",
    [
        ({}, ValueError, "limits nothing"),
        ({"max_calls": 1.5}, TypeError, "takes a whole number, not 1.5"),
        ({"max_calls": -1}, ValueError, "0 is the least"),
        ({"max_cost": "much"}, ValueError, "takes US dollars, such as 0.5, not 'much'"),
        ({"max_cost": True}, TypeError, "takes US dollars"),
        ({"max_cost": float("nan")}, ValueError, "takes US dollars"),
    ],
)
def test_a_budget_that_is_none(options: dict[str, Any], error: type[Exception], said: str) -> None:
    """What limits nothing, or is no limit, is refused."""
    with pytest.raises(error, match=said):
        Budget(**options)


def test_two_evaluations_are_compared_row_by_row(client: MlflowClient) -> None:
    """Differences are on the rows that both have scored, with an interval; others cannot be compared."""
    better = evaluated(lambda question: str(int(question.partition(" ")[0]) + 1), name="new")
    found = better.compare(evaluated(name="old", data=ROWS[1:]))
    assert found["exact"].rows == 5
    assert found["exact"].difference == pytest.approx(0.2)
    assert not found["exact"].is_sure
    assert "new against old" in str(found)
    with pytest.raises(EvaluationError, match="no row in common"):
        better.compare(evaluated(data=[{"inputs": {"question": "9 + 1"}, "expectations": {"answer": "10"}}] * 2))


def test_two_rows_that_are_the_same_are_two(client: MlflowClient) -> None:
    """Rows are told apart by their place among those that are alike."""
    found = evaluated(data=[*ROWS, *ROWS])
    assert len(set(found.rows.keys)) == 12
    assert found.compare(found)["exact"].rows == 12


def test_a_gate_decides_by_evaluations(client: MlflowClient) -> None:
    """A prompt is evaluated, gated, and promoted; its alias, which needs a gate, may move then."""
    for text in ("Add", "Add well"):
        client.register_prompt("adding", text)
    client.set_prompt_alias("adding", "production", 1)
    (settings.project_folder() / "pyproject.toml").write_text(
        '[tool.flowml.registry."prompts:/adding".production]\ngate = true\n', "utf-8"
    )

    def right(question: str) -> str:
        return str(int(question.partition(" ")[0]) + 1)

    @flow
    def releasing() -> tuple[Verdict, Verdict]:
        before = flowml.evaluate(answer, data=ROWS, scorers=[exact], of="prompts:/adding@production")
        after = flowml.evaluate(right, data=ROWS, scorers=[exact], of="prompts:/adding/2")
        worse = flowml.gate(before, rules=[NotWorse("exact", where="question.str.len() < 9")], against=after)
        better = flowml.gate(after, rules=[AtLeast("exact", 0.9), Better("exact", by=0.1)], against=before)
        flowml.promote("prompts:/adding", 2, to="production")
        return worse, better

    worse, better = releasing()
    assert not worse
    assert better
    assert (better.model, better.candidate, better.champion) == ("prompts:/adding", "2", "1")
    assert better.results[1].interval is not None
    assert client.get_prompt_version_by_alias("adding", "production").version == 2
    evaluations = runs_of(client, "evaluate")
    assert [run.data.tags["flowml.evaluation.of"] for run in evaluations] == ["prompts:/adding/1", "prompts:/adding/2"]
    assert json.loads(evaluations[1].data.tags["mlflow.linkedPrompts"]) == [{"name": "adding", "version": "2"}]


@pytest.mark.parametrize(
    "against, rules, said",
    [
        (None, [AtLeast("exakt", 0.5)], "No scorer of evaluation is called 'exakt'. Did you mean 'exact'"),
        ("prompts:/adding@production", [Better("exact")], "is no evaluation, and an evaluation is compared with one"),
        (ROWS[1:], [Better("exact")], "were evaluated on other rows: of 6 and 5 they share 5"),
    ],
)
def test_what_a_gate_cannot_decide(client: MlflowClient, against: Any, rules: list[Rule], said: str) -> None:
    """No such scorer, no evaluation, and other rows are errors; nothing is decided."""
    found = evaluated()
    other = evaluated(data=against) if isinstance(against, list) else against

    @flow
    def gating() -> None:
        flowml.gate(found, rules=rules, against=other)

    with pytest.raises(flowml.RegistryError, match=said):
        gating()
