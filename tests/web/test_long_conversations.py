"""Conversations of thousands of messages, in a real browser."""

from __future__ import annotations

import pytest

from chat_protocol.wire import codec
from chat_protocol.wire.commands import Login2, Publish
from tests.blackbox import wire
from tests.blackbox.client import Client, connect
from tests.web.people import People, log_in, person, shows, texts, wait_for

pytestmark = pytest.mark.timeout(180)


def test_ten_thousand_messages(people: People) -> None:
    count = 10_000
    people.server.kill9()
    people.server.start()
    with Client(people.server.address, "alice"):
        pass
    with Client(people.server.address, "bob") as bob:
        frames = [wire.message(f"number {n}", "bob", "alice", 0, 1 + n) for n in range(count)]
        bob.write(b"".join(frames))
        assert set(bob.answers(range(1, 1 + count))) == {wire.OK}
    alice = people.page()
    # How long nothing moved, while 10,000 messages come in.
    alice.evaluate(FRAMES)
    log_in(alice, "alice")
    wait_for(lambda: alice.title() == "(99+) Console Chat")
    alice.click('#conversations [data-key="bob"]')
    wait_for(lambda: texts(alice)[-1:] == [f"number {count - 1}"], "the last is there")
    at_login = alice.evaluate("longest()")
    alice.evaluate(SCROLL)
    wait_for(lambda: alice.evaluate("window.reached"), "the first message is reached")
    frames = alice.evaluate("frameTimes()")
    assert texts(alice)[0] == "number 0"
    most = alice.evaluate("window.most")
    assert most < 400, "elements grow with the messages"
    alice.keyboard.press("Alt+End")
    wait_for(lambda: texts(alice)[-1:] == [f"number {count - 1}"], "the end is back")
    print(
        f"10,000 messages: longest pause at the login {at_login:.0f} ms; scrolling"
        f" median {frames[0]:.1f} ms, 95 % {frames[1]:.1f} ms, longest {frames[2]:.0f} ms;"
        f" at most {most} rows"
    )


def test_what_is_rare_or_far_up_is_found(people: People) -> None:
    count = 2000
    with (
        Client(people.server.address, "ann") as ann,
        connect(people.server.address) as dan,
    ):
        dan.sendall(codec.encode(Login2("dan", {}), 1))
        dan.sendall(codec.encode(Publish(0, "once to everyone", 1, (), 1), 2))
        for number in range(count):
            dan.sendall(codec.encode(Publish(0, f"number {number}", 0, ("ann",), 2 + number), 3))
        while ann.receive().text != f"number {count - 1}":
            pass
    page = people.enter("ann")
    shows(page, "once to everyone")
    person(page, "dan")
    wait_for(lambda: f"number {count - 1}" in texts(page))
    # As if the bar were dragged to the top: no more events come from there.
    for _ in range(60):
        page.evaluate("document.getElementById('scroller').scrollTop = 0")
        page.wait_for_timeout(100)
        if texts(page)[0] == "number 0":
            break
    assert texts(page)[0] == "number 0"


FRAMES = """() => {
  let last = performance.now();
  window.times = [];
  const tick = (now) => { times.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  window.longest = () => Math.max(...times);
  window.frameTimes = () => {
    const sorted = [...times].sort((one, other) => one - other);
    return [sorted[sorted.length >> 1], sorted[Math.floor(sorted.length * 0.95)], sorted.at(-1)];
  };
}"""


SCROLL = """() => {
  const scroller = document.getElementById("scroller");
  window.times.length = 0;
  window.most = 0;
  const tick = () => {
    const rows = scroller.querySelectorAll(".row");
    window.most = Math.max(window.most, rows.length);
    scroller.scrollTop -= 700;
    if (rows[0]?.querySelector(".text").textContent === "number 0" && scroller.scrollTop === 0) {
      window.reached = true;
    } else requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""
