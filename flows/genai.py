"""Support tickets, answered: train, compare with the champion, ask a person, promote, serve, write answers by a prompt.

python flows/genai.py [--tickets 600] [--ask]; flows/monitor.py looks after what it serves. An answer is written by any
OpenAI-compatible server, named as its client wants it: OPENAI_BASE_URL, OPENAI_API_KEY, and LLM_MODEL.
Without one it is the first sentence of the article, so that the example runs without a network.
"""

import argparse
import os
import re
from typing import Annotated, Any

import mlflow
import pandas as pd
from mlflow.entities.model_registry import PromptVersion
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline

import flowml
from flowml import AtLeast, Cron, Dataset, Deployment, NotWorse, OnMetric, Prompt, Track, flow, task
from tickets import ARTICLES, tickets

MODEL, PROMPT = "tickets", "answer-ticket"
TEMPLATE = "Answer the ticket in one sentence, by this article alone.\nArticle: {{article}}\nTicket: {{ticket}}"


@task
def load(count: int) -> pd.DataFrame:
    """Make up tickets, and add those that were asked since, where somebody has said what was right."""
    known = flowml.served_requests(MODEL, with_truth=True)
    asked = flowml.served_tables(known)
    said = known.set_index("id")["truth"].reindex(asked.inputs.index) if len(asked.inputs) else pd.Series(dtype=object)
    new = asked.inputs.assign(topic=[one[0] if isinstance(one, list) else one for one in said])
    return pd.concat([tickets(count), new], ignore_index=True)


@task(persist_result=True)  # the code of a flow that was suspended runs again from the top; what was trained stays
def fit(rows: Annotated[pd.DataFrame, Dataset("tickets", save=True)]) -> Pipeline:
    """Learn the topic of a ticket from its words."""
    model = make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), LogisticRegression(C=10))
    return model.fit(rows[["text"]], rows["topic"])


@task
def prompt() -> str:
    """Register the prompt once, and give it its alias."""
    found = mlflow.genai.load_prompt(f"prompts:/{PROMPT}@production", allow_missing=True)
    if found is None:
        found = mlflow.genai.register_prompt(PROMPT, TEMPLATE, commit_message="the first one")
        mlflow.genai.set_prompt_alias(PROMPT, "production", found.version)
    return f"{PROMPT}/{found.version}"


@mlflow.trace(span_type="LLM")
def write(text: str, article: str) -> str:
    if not os.environ.get("OPENAI_BASE_URL"):
        return article.split(". ", 1)[0] + "."
    import openai

    said = openai.OpenAI(max_retries=0, timeout=30).chat.completions.create(
        model=os.environ.get("LLM_MODEL", "gpt-4o-mini"), messages=[{"role": "user", "content": text}]
    )
    return said.choices[0].message.content or ""


@task(retries=2, retry_delay_seconds=1)
def answer(
    rows: pd.DataFrame, model: Pipeline, prompt: Annotated[PromptVersion, Prompt.ref(f"{PROMPT}@production")] = None
) -> pd.DataFrame:
    """Find the article of each ticket's topic, and write an answer by it."""
    topics = model.predict(rows[["text"]])
    articles = [ARTICLES[topic] for topic in topics]
    asked = [prompt.format(article=one, ticket=text) for one, text in zip(articles, rows["text"], strict=True)]
    return rows.assign(answer=[write(text, one) for text, one in zip(asked, articles, strict=True)])


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def right_article(outputs: str, expectations: dict[str, str]) -> bool:
    """Tell whether the answer has more words of the right article than of any other."""
    shared = {topic: len(words(outputs) & words(article)) for topic, article in ARTICLES.items()}
    return max(shared, key=shared.__getitem__) == expectations["topic"]


def brief(outputs: str) -> bool:
    return len(outputs.split()) <= 40


@flow(track=Track(trace=True, tags={"use_case": "GenAI classifier"}))
def genai(*, count: int = 600, ask: bool = False, timeout: float = 86400.0) -> dict[str, Any]:
    if os.environ.get("OPENAI_BASE_URL"):
        mlflow.openai.autolog()
    rows, held_out = train_test_split(load(count), test_size=0.3, random_state=0)
    candidate = flowml.register(fit(rows), MODEL, alias="challenger")
    rules = [AtLeast("accuracy", 0.6), NotWorse("accuracy", tolerance=0.01)]
    verdict = flowml.gate(
        f"{MODEL}/{candidate.version}", held_out, "topic", against=f"{MODEL}@champion", rules=rules, resamples=200
    )
    if not verdict:
        return {"version": candidate.version, "outcome": "failed the gate"}
    who = None
    if ask:
        decision = flowml.approve(MODEL, candidate, timeout=timeout, why=str(verdict))
        if not decision.approved:
            return {"version": candidate.version, "outcome": decision.outcome}
        who = decision.who
    flowml.promote(MODEL, candidate.version, why=str(verdict), who=who)
    served = flowml.deploy_model(f"{MODEL}@champion", sample=1)
    version = prompt()
    answered = answer(held_out.head(20), flowml.load_model(f"{MODEL}@champion"))
    said = [
        {"inputs": {"ticket": row.text}, "outputs": row.answer, "expectations": {"topic": row.topic}}
        for row in answered.itertuples()
    ]
    scores = flowml.evaluate(data=said, scorers=[right_article, brief], of=f"prompts:/{version}")
    told = {"version": candidate.version, "outcome": "promoted", "url": served.url}
    return {**told, "right_article": scores.metrics["right_article"]}


# Each night at three; and as soon as flows/monitor.py finds that people ask otherwise, with somebody to look at it.
has_drifted = OnMetric("compare.drift.drifted", above=0, flow="monitor", parameters={"ask": True})
every_night = Deployment(genai, "every-night", schedule=Cron("0 3 * * *"), triggers=[has_drifted])

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--tickets", dest="count", type=int, default=600)
    cli.add_argument("--ask", action="store_true")
    print(genai(**vars(cli.parse_args())))
