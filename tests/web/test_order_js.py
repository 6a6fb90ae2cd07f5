"""The order of the messages of a conversation, whatever order their offsets become known in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.server import Server

# Runs steps on a model of alice; returns texts, the last change, the highest offset, and more.
RUN = """async (steps) => {
  const { Model } = await import("/js/model.js");
  localStorage.clear();
  const model = new Model("alice");
  const kinds = [];
  model.addEventListener("items", ({ detail }) => kinds.push(detail.kind));
  const message = ([from, text, offset, time]) => ({
    from, message: text, offset: BigInt(offset), time: BigInt(time), scope: 0,
    to: [from === "alice" ? "bob" : "alice"],
  });
  for (const [what, ...rest] of steps) {
    if (what === "sending") {
      const [text, time, state] = rest;
      model.sending({ text, time: String(time), state, why: "", scope: 0, to: ["bob"] });
    } else {
      model.store(rest.map(message), { arrived: what === "arrived" });
    }
  }
  const conversation = model.conversation("bob");
  return [conversation.items.map((one) => one.text), kinds.at(-1), String(model.latest),
    String(conversation.rank), String(conversation.newest)];
}"""


@pytest.fixture(scope="module")
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory: Path = tmp_path_factory.mktemp("order")
    with Server(directory) as server:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.address[1]}/")
        yield page
        page.close()


def test_an_own_message_whose_answer_was_lost_moves_to_its_place(page: Any) -> None:
    texts, kind, *_ = page.evaluate(
        RUN,
        [
            ["sending", "question", 1000, "waiting"],
            ["arrived", ["bob", "answer", 7, 0]],
            ["history", ["alice", "question", 6, 1000], ["bob", "answer", 7, 0]],
        ],
    )
    assert texts == ["question", "answer"]
    assert kind == "earlier"


def test_own_messages_without_an_offset_keep_their_order(page: Any) -> None:
    texts, *_ = page.evaluate(
        RUN,
        [
            ["arrived", ["bob", "one", 1, 0]],
            ["sending", "two", 1000, "stored"],
            ["sending", "three", 1001, "waiting"],
            ["sending", "five", 1002, "waiting"],
            ["arrived", ["bob", "four", 4, 0]],
            ["history", ["alice", "three", 3, 1001]],
        ],
    )
    assert texts == ["one", "two", "three", "four", "five"]


def test_the_offset_of_an_own_message_counts_for_the_conversation(page: Any) -> None:
    *_, latest, rank, newest = page.evaluate(
        RUN,
        [
            ["arrived", ["bob", "one", 1, 0]],
            ["sending", "two", 1000, "stored"],
            ["history", ["alice", "two", 9, 1000]],
        ],
    )
    assert (latest, rank, newest) == ("9", "18", "9")
