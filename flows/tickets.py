"""Support tickets, made up: their text, their topic, and the article that answers them.

python flows/tickets.py 500 --season outage > tickets.csv

Sentences are put together at random, with other products, sums and days in each. In the season "outage" an update has
gone wrong: most tickets are about that, in words that were rare before, and a model that knows the usual ones alone
takes them for something else.
"""

import argparse
import random
import sys

import pandas as pd

SENTENCES = {
    "billing": [
        "I was charged {sum} euros twice for {product}",
        "the invoice of {month} shows the wrong amount",
        "please send me a receipt for {product}",
        "my refund of {sum} euros has not arrived",
        "why has the price of {product} gone up to {sum} euros",
    ],
    "delivery": [
        "my parcel with {product} is {days} days late",
        "the courier left {product} with a neighbour I do not know",
        "the tracking number of my order does not work",
        "{product} came broken in its box",
        "can you send {product} to another address",
    ],
    "account": [
        "I forgot my password and the reset mail does not come",
        "please change the mail address of my account",
        "how do I add a colleague to my team",
        "I want to delete my account and all my data",
        "somebody else has signed in with my name",
    ],
    "defect": [
        "{product} does not start any more",
        "the battery of {product} is empty after {days} hours",
        "{product} makes a strange noise since {month}",
        "the screen of {product} stays black",
        "{product} gets so hot that I cannot hold it",
    ],
}
OUTAGE = {
    "account": [
        "since the update of version {days} it says token expired when I sign in",
        "error 401 after the update, single sign-on loops for {days} minutes",
        "two-factor codes are refused by the new version",
    ],
    "defect": [
        "the new firmware {days} turned {product} into a brick",
        "after the update {product} reboots every {days} minutes with error 500",
    ],
}
ARTICLES = {
    "billing": "You find each invoice in your account under Payments. A double charge is refunded within five days.",
    "delivery": "A parcel that is more than five days late is sent again, without cost. Write us the order's number.",
    "account": "Reset your password on the sign-in page. If no mail comes within an hour, ask us to send it again.",
    "defect": "Hold the power button for ten seconds. If that does not help, send it back: the warranty is two years.",
}
_WORDS = {
    "product": ["the Aurora lamp", "the Nimbus speaker", "a Delta router", "my Vega watch", "the Terra camera"],
    "month": ["January", "March", "June", "September", "last month"],
    "sum": [9, 19, 49, 120, 310],
    "days": [2, 3, 7, 12, 20],
}
_BEFORE = ["", "Hello, ", "Good morning. ", "Hi team, ", "This is the third time I write: "]
_AFTER = ["", " Please help.", " Thanks!", " I need an answer today.", " What can I do?"]


def tickets(count: int, *, seed: int = 0, season: str = "usual") -> pd.DataFrame:
    """Make up tickets, with the columns text and topic; the same seed always makes the same."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        kinds = OUTAGE if season == "outage" and chance.random() < 0.8 else SENTENCES
        topic = chance.choice(sorted(kinds))
        words = {name: chance.choice(values) for name, values in _WORDS.items()}
        sentence = chance.choice(kinds[topic]).format(**words)
        rows.append((f"{chance.choice(_BEFORE)}{sentence}.{chance.choice(_AFTER)}", topic))
    return pd.DataFrame(rows, columns=["text", "topic"])


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("count", type=int)
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--season", choices=["usual", "outage"], default="usual")
    given = cli.parse_args()
    tickets(given.count, seed=given.seed, season=given.season).to_csv(sys.stdout, index=False)
