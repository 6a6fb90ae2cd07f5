"""docs/web.md against the program."""

from __future__ import annotations

import re

from chat_protocol.web import http
from chat_protocol.web.channel import REQUEST_SECONDS, Channel
from chat_protocol.web.files import HEADERS
from tests.docs.markdown import ROOT, read, sections, table

TEXT = read("web.md")
SECTIONS = sections(TEXT)


def test_the_headers_are_those_of_every_answer() -> None:
    said = {
        row["header"].strip("`").lower().encode(): row["value"].strip("`").encode()
        for row in table(SECTIONS["What is served"])
    }
    assert said == HEADERS


def test_the_limits_have_their_values() -> None:
    values = {row["limit"]: row["value"] for row in table(SECTIONS["Limits"])}
    assert values["`REQUEST_SECONDS`"] == f"{REQUEST_SECONDS:g} s"
    assert values["`RESPONSE_BUFFER`"] == f"{http.RESPONSE_BUFFER // 1024} KiB"
    assert Channel.totalHeadersSize == 16 * 1024
    assert values["request line and headers"] == f"16 KiB, {Channel.maxHeaders} headers"


def test_the_documents_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
