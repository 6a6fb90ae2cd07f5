"""The publishing ids of the page: within the bounds that a server accepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.server import Server

STEP = 2**32

# What an outbox sends: ids and states, with what was kept and what the server says it has stored.
SENT = """async ([lastId, ids, published, code, detail, resumed]) => {
  const { Outbox } = await import("/js/outbox.js");
  const user = `${Math.random()}`;
  const entry = (id, time) =>
    ({ id, text: "hi", scope: 0, to: ["bob"], time, state: "waiting", why: "" });
  localStorage.setItem(`console-chat:outbox:${user}`, JSON.stringify(
    { lastId, entries: ids.map((id, n) => entry(id, String(n))) }));
  const changed = [];
  const outbox = new Outbox(user, (one) => changed.push([one.state, one.why]));
  await outbox.open();
  const sent = [];
  const request = async (_, { publishingId }) => {
    sent.push(String(publishingId));
    return { code, detail };
  };
  outbox.online({ request }, BigInt(published), resumed);
  await new Promise((resolve) => setTimeout(resolve, 50));
  return [sent, changed];
}"""


@pytest.fixture(scope="module")
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory: Path = tmp_path_factory.mktemp("outbox")
    with Server(directory) as server:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.address[1]}/")
        yield page
        page.close()


def send(
    page: Any,
    last: int,
    ids: list[int],
    published: int,
    code: int = 1,
    detail: str = "",
    resumed: bool = True,
) -> tuple[list[int], list[list[str]]]:
    kept = [str(one) for one in ids]
    sent, changed = page.evaluate(SENT, [str(last), kept, str(published), code, detail, resumed])
    return [int(one) for one in sent], changed


@pytest.mark.parametrize(
    ("last", "ids", "published"),
    [(0, [0, 0], 0), (7, [5, 7, 0], 5), (2**61, [2**61, 0], 0), (9 + 2**39, [9 + 2**39], 9)],
)
def test_ids_within_the_bounds_stay_and_grow(
    page: Any, last: int, ids: list[int], published: int
) -> None:
    sent, _ = send(page, last, ids, published)
    kept = [one for one in ids if one]
    assert sent[: len(kept)] == kept
    assert sent == sorted(set(sent))
    assert all(last < one <= last + 2 * STEP for one in sent[len(kept) :])


@pytest.mark.parametrize(
    ("last", "published"), [(2**61 + 1, 0), (2**63 - 1, 0), (10 + 2**39, 9), (2**50, 2**49)]
)
def test_after_the_restore_of_an_old_backup_ids_go_on_above_it(
    page: Any, last: int, published: int
) -> None:
    sent, _ = send(page, last, [max(published, 1), last, 0], published)
    first = 0
    if published:
        first = 1
        assert sent[0] == published
    assert len(sent) == 3
    assert all(published < one <= published + 3 * STEP for one in sent[first:])


def test_without_an_id_left_it_says_so(page: Any) -> None:
    sent, changed = send(page, 0, [0], 2**63 - 1)
    assert (sent, changed) == ([], [["failed", "this user has no message number left"]])


def test_a_refused_id_is_said(page: Any) -> None:
    detail = "publishingId: at most 7 can follow 0"
    _, changed = send(page, 0, [0], 0, 0x0100, detail)
    assert changed == [["failed", f"the server does not accept its number ({detail})"]]


def test_what_was_sent_as_a_forgotten_device_is_not_sent_again(page: Any) -> None:
    sent, changed = send(page, 7, [5, 7, 0], 0, resumed=False)
    assert len(sent) == 1
    assert sent[0] > 7
    assert (
        changed[:2]
        == [["failed", "the server no longer knows this browser, so it may have been sent or not"]]
        * 2
    )
