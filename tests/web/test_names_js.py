"""How the page shows names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.server import Server

SHOWN = """async (name) => {
  const { avatar, isolated } = await import("/js/dom.js");
  return [isolated(name).textContent, avatar(name).textContent];
}"""


@pytest.fixture(scope="module")
def page(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory: Path = tmp_path_factory.mktemp("names")
    with Server(directory) as server:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.address[1]}/")
        yield page
        page.close()


@pytest.mark.parametrize(
    ("name", "shown", "letter"),
    [
        ("bob", "bob", "B"),
        ("bob\u3164", "bob⟨3164⟩", "B"),
        ("b\u034fob\ufe0f", "b⟨034F⟩ob⟨FE0F⟩", "B"),
        ("\u2800", "⟨2800⟩", "⟨"),
        ("b\u200dob\U000e0101", "b⟨200D⟩ob⟨E0101⟩", "B"),
        ("b\u0378", "b⟨0378⟩", "B"),
    ],
)
def test_names_show_what_readers_do_not_see(page: Any, name: str, shown: str, letter: str) -> None:
    assert page.evaluate(SHOWN, name) == [shown, letter]
