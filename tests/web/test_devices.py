"""One person in several browsers, in a terminal and in a script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client
from tests.blackbox.server import Server
from tests.cli.program import COMMAND
from tests.cli.screen.picture import picture as drawing
from tests.cli.screen.tmux import CHATCLIENT, NO_TMUX, Tmux, has_tmux
from tests.web.people import (
    PATIENCE,
    PICTURES,
    People,
    log_in,
    person,
    picture,
    say,
    shows,
    stored,
    wait_for,
)

pytestmark = pytest.mark.timeout(180)


def device(page: Any, name: str) -> str:
    found: str = page.evaluate(f'JSON.parse(localStorage["console-chat:device:{name}"])')
    return found


def link_of(page: Any) -> str:
    page.click("#add-device")
    page.wait_for_selector("#device-code svg")
    link: str = page.input_value("#device-link")
    page.keyboard.press("Escape")
    return link


def test_another_browser_is_added_by_a_link(people: People) -> None:
    laptop = people.enter("alice")
    with Client(people.server.address, "bob") as bob:
        person(laptop, "bob")
        say(laptop, "from the laptop")
        assert bob.receive().text == "from the laptop"
        link = link_of(laptop)
        phone = people.page(viewport={"width": 390, "height": 780}, has_touch=True)
        phone.goto(link)
        phone.wait_for_selector("#chat:not([hidden])")
        assert "#" not in phone.url
        assert device(phone, "alice") != device(laptop, "alice")
        assert laptop.locator("#banner:not([hidden])").count() == 0
        phone.click('#conversations [data-key="bob"]')
        # There, Enter is for line breaks.
        phone.fill("#text", "from the phone")
        phone.click("#send")
        assert bob.receive().text == "from the phone"
        assert bob.send("to both", "alice") == 1
        for page in (laptop, phone):
            shows(page, "from the laptop", "from the phone", "to both")
            stored(page, 2)
        assert laptop.title() == "Console Chat"


def test_without_the_link_a_name_in_use_is_refused(people: People) -> None:
    laptop = people.enter("alice")
    other = people.page()
    other.fill("#name", "alice")
    other.click("#enter")
    wait_for(lambda: "Add a device" in other.inner_text("#login-error"))
    other.goto(f"{people.url}#device=alice:wrong")
    other.wait_for_function("""localStorage["console-chat:token:alice"] === '"wrong"'""")
    wait_for(lambda: "Add a device" in other.inner_text("#login-error"))
    assert laptop.locator("#banner:not([hidden])").count() == 0


def test_a_browser_is_the_same_device_after_a_logout(people: People) -> None:
    page = people.enter("alice")
    name = device(page, "alice")
    assert name.startswith("web-")
    page.click("#logout")
    page.wait_for_selector("#entry:not([hidden])")
    log_in(page, "alice")
    assert device(page, "alice") == name


def test_with_the_password_a_second_browser_just_works(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("alice:secret\nbob:secret\n")
    with Server(tmp_path, ["--auth", "file:passwords"]) as server:
        people = People(chromium, server)
        pages = [people.page(), people.page()]
        for page in pages:
            page.fill("#name", "alice")
            page.click("#enter")
            page.wait_for_selector("#password-field:not([hidden])")
            page.fill("#password", "secret")
            log_in(page, "alice")
        say(pages[0], "to everyone from one")
        shows(pages[1], "to everyone from one")
        link = link_of(pages[0])
        third = people.page()
        third.goto(link)
        third.wait_for_selector("#chat:not([hidden])")
        people.close()


@pytest.mark.skipif(not has_tmux(), reason=NO_TMUX)
def test_two_pages_a_terminal_and_a_script_of_one_person(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("alice:secret\n")
    options = ["--auth", "file:passwords", "--trust-version-1"]
    with Server(tmp_path, options) as server, Client(server.address, "bob") as bob:
        people = People(chromium, server)
        laptop, phone = people.page(), people.page(viewport={"width": 390, "height": 780})
        for page in (laptop, phone):
            page.fill("#name", "alice")
            page.click("#enter")
            page.wait_for_selector("#password-field:not([hidden])")
            page.fill("#password", "secret")
            log_in(page, "alice")
        where = f"127.0.0.1:{server.address[1]}"
        login = ["--server", where, "--user", "alice"]
        with Tmux(tmp_path) as tmux:
            state = {"XDG_STATE_HOME": str(tmp_path / "state"), "CHAT_PASSWORD": "secret"}
            terminal = tmux.open("alice", [*CHATCLIENT, *login], 90, 20, **state)
            terminal.wait_for("● bob")
            terminal.enter("/query bob")
            terminal.wait_for("bob │ online")
            person(laptop, "bob")
            say(laptop, "from the laptop")
            terminal.wait_for("alice ✓ from the laptop")
            phone.click('#conversations [data-key="bob"]')
            say(phone, "from the phone")
            terminal.wait_for("alice ✓ from the phone")
            terminal.enter("from the terminal")
            shows(phone, "from the laptop", "from the phone", "from the terminal")
            subprocess.run(
                [*CHATCLIENT, *login, "send", "bob", "from a script"],
                env=os.environ | state,
                timeout=PATIENCE / 1000,
                check=True,
            )
            assert bob.send("I see", "alice") == 1
            expected = [*(f"from {one}" for one in ("the laptop", "the phone", "the terminal"))]
            expected += ["from a script", "I see"]
            for page in (laptop, phone):
                shows(page, *expected)
                stored(page, 4)
            terminal.wait_for("alice ✓ from a script", "bob   I see")
            assert [bob.receive().text for _ in range(4)] == expected[:4]
            for picture_of, page in (("laptop", laptop), ("phone", phone)):
                picture(page, f"devices-{picture_of}")
            if PICTURES:
                screens = [terminal.screen("the same person in a terminal")]
                Path(PICTURES, "devices-terminal.svg").write_text(drawing([screens]))
        people.close()


def test_a_script_without_the_token_does_not_send_beside_the_page(people: People) -> None:
    with Client(people.server.address, "bob") as bob:
        page = people.enter("alice")
        person(page, "bob")
        # On an open server only who has the token of a session may do so.
        where = f"127.0.0.1:{people.server.address[1]}"
        done = subprocess.run(
            [*COMMAND, "--server", where, "-u", "alice", "send", "bob", "x"],
            capture_output=True,
            text=True,
            timeout=PATIENCE / 1000,
            check=False,
        )
        assert "already logged in elsewhere" in done.stderr
        say(page, "mine")
        assert bob.receive().text == "mine"


# What a reader of QR codes does (ISO/IEC 18004), as far as it needs no error correction.

FIELD = [1]
for _ in range(254):
    FIELD.append((FIELD[-1] << 1) ^ (0x11D if FIELD[-1] & 0x80 else 0))

BLOCKS = {
    1: (7, [19]),
    3: (15, [55]),
    5: (26, [108]),
    7: (20, [78, 78]),
    10: (18, [68, 68, 69, 69]),
}

MASKS = [
    lambda i, j: (i + j) % 2,
    lambda i, j: i % 2,
    lambda i, j: j % 3,
    lambda i, j: (i + j) % 3,
    lambda i, j: (i // 2 + j // 3) % 2,
    lambda i, j: i * j % 2 + i * j % 3,
    lambda i, j: (i * j % 2 + i * j % 3) % 2,
    lambda i, j: ((i + j) % 2 + i * j % 3) % 2,
]

CENTERS = {1: [], 3: [6, 22], 5: [6, 30], 7: [6, 22, 38], 10: [6, 28, 50]}


def is_function(row: int, column: int, size: int, version: int) -> bool:
    """Whether a module belongs to a pattern or to the information about the format."""
    corners = (row < 9 and column < 9) or (row < 9 and column >= size - 8)
    if corners or (row >= size - 8 and column < 9) or 6 in (row, column):
        return True
    if version >= 7 and ((row < 6 and column >= size - 11) or (column < 6 and row >= size - 11)):
        return True
    return any(
        abs(row - i) <= 2 and abs(column - j) <= 2
        for i in CENTERS[version]
        for j in CENTERS[version]
        if (i, j) not in ((6, 6), (6, size - 7), (size - 7, 6))
    )


def read_code(rows: list[list[bool]]) -> str:
    size = len(rows)
    version = (size - 17) // 4
    # Around the upper left finder, the most significant bit first; the mask is undone.
    line = [rows[8][at] for at in (0, 1, 2, 3, 4, 5, 7, 8)]
    line += [rows[at][8] for at in (7, 5, 4, 3, 2, 1, 0)]
    form = int("".join(str(int(one)) for one in line), 2) ^ 0x5412
    assert form >> 13 == 1
    mask = MASKS[form >> 10 & 7]
    bits = []
    column, upward = size - 1, True
    while column > 0:
        column -= column == 6
        for step in range(size):
            row = size - 1 - step if upward else step
            for at in (column, column - 1):
                if not is_function(row, at, size, version):
                    bits.append(rows[row][at] ^ (mask(row, at) == 0))
        column, upward = column - 2, not upward
    codewords = [
        int("".join(str(int(bit)) for bit in bits[at : at + 8]), 2)
        for at in range(0, len(bits) - 7, 8)
    ]
    count, sizes = BLOCKS[version]
    blocks: list[list[int]] = [[] for _ in sizes]
    position = 0
    for at in range(max(sizes)):
        for block, length in zip(blocks, sizes, strict=True):
            if at < length:
                block.append(codewords[position])
                position += 1
    data = [byte for block in blocks for byte in block]
    for at in range(count * len(sizes)):
        blocks[at % len(sizes)].append(codewords[position + at])
    for block in blocks:
        for root in range(count):
            # The polynomial that is sent has the roots of the generator.
            value = 0
            for byte in block:
                product = FIELD[(FIELD.index(value) + root) % 255] if value else 0
                value = product ^ byte
            assert value == 0
    head = "".join(f"{byte:08b}" for byte in data)
    width = 8 if version < 10 else 16
    assert head[:4] == "0100"
    length = int(head[4 : 4 + width], 2)
    text = head[4 + width : 4 + width + 8 * length]
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8)).decode()


@pytest.mark.parametrize("length", [5, 17, 50, 100, 150, 271])
def test_a_reader_of_qr_codes_reads_the_link(people: People, length: int) -> None:
    page = people.page()
    text = ("https://chät.example:5555/#device=alice:" + "aB3_" * 80).encode()[:length].decode()
    rows = page.evaluate('async (text) => (await import("/js/qr.js")).qrCode(text)', text)
    assert read_code(rows) == text


def test_a_text_that_is_too_long_has_no_code(people: People) -> None:
    page = people.page()
    assert page.evaluate('async () => (await import("/js/qr.js")).qrCode("x".repeat(272))') is None
