"""The examples of docs/protocol.md, their bytes written out once more, by hand."""

from __future__ import annotations

from typing import Any

from chat_protocol.wire.commands import (
    Ack,
    Close,
    Deliver,
    History,
    HistoryAnswer,
    Login,
    Login2,
    LoginAnswer,
    Message,
    Publish,
    Response,
    Response2,
    StoredMessage,
    Users,
    UsersAnswer,
    UserStatus,
)

VERSION_1 = {"E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E14"}

FIRST_OFFSET = 1_700_000_000_000_001


EXAMPLES: dict[str, tuple[bytes, int, Any]] = {
    "E1": (
        b"\x00\x00\x00\x0e\x01\x00\x01\x00\x00\x00\x01\x00\x05user1",
        1,
        Login("user1"),
    ),
    "E2": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x01\x00\x01",
        1,
        Response(1),
    ),
    "E3": (
        b"\x00\x00\x00\x24\x01\x00\x02\x00\x00\x00\x02\x00\x05hello\x00\x05user1\x00\x05user2"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        2,
        Message("hello", "user1", "user2", 1_700_000_000),
    ),
    "E4": (
        b"\x00\x00\x00\x24\x01\x00\x02\x00\x00\x00\x00\x00\x05hello\x00\x05user1\x00\x05user2"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        0,
        Message("hello", "user1", "user2", 1_700_000_000),
    ),
    "E5": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x02\x00\x01",
        2,
        Response(1),
    ),
    "E6": (
        b"\x00\x00\x00\x21\x01\x00\x02\x00\x00\x00\x03\x00\x02hi\x00\x05user1\x00\x05user9"
        b"\x00\x00\x00\x00\x65\x53\xf1\x01",
        3,
        Message("hi", "user1", "user9", 1_700_000_001),
    ),
    "E7": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x03\x00\x03",
        3,
        Response(3),
    ),
    "E8": (
        b"\x00\x00\x00\x0e\x01\x00\x01\x00\x00\x00\x04\x00\x05user9",
        4,
        Login("user9"),
    ),
    "E9": (
        b"\x00\x00\x00\x09\x01\x00\x03\x00\x00\x00\x04\x00\x04",
        4,
        Response(4),
    ),
    "E10": (
        b"\x00\x00\x00\x1e"
        b"\x02"
        b"\x00\x01"
        b"\x00\x00\x00\x01"
        b"\x00\x05user1"
        b"\x00\x00\x00\x01"
        b"\x00\x06window"
        b"\x00\x02\x35\x30",
        1,
        Login2("user1", {"window": "50"}),
    ),
    "E11": (
        b"\x00\x00\x00\xaa"
        b"\x02"
        b"\x80\x01"
        b"\x00\x00\x00\x01"
        b"\x00\x01"
        b"\x00\x00"
        b"\x00\x00\x00\x09"
        b"\x00\x07product"
        b"\x00\x0d"
        b"chat-protocol"
        b"\x00\x07version"
        b"\x00\x03"
        b"2.0"
        b"\x00\x09heartbeat"
        b"\x00\x01\x30"
        b"\x00\x06window"
        b"\x00\x02\x35\x30"
        b"\x00\x10max-frame-length"
        b"\x00\x06"
        b"262144"
        b"\x00\x0dpublishing-id"
        b"\x00\x01\x30"
        b"\x00\x07pending"
        b"\x00\x01\x30"
        b"\x00\x07resumed"
        b"\x00\x01\x30"
        b"\x00\x07session"
        b"\x00\x0c"
        b"0J7mYf2cQ9tK",
        1,
        LoginAnswer(
            1,
            "",
            {
                "product": "chat-protocol",
                "version": "2.0",
                "heartbeat": "0",
                "window": "50",
                "max-frame-length": "262144",
                "publishing-id": "0",
                "pending": "0",
                "resumed": "0",
                "session": "0J7mYf2cQ9tK",
            },
        ),
    ),
    "E12": (
        b"\x00\x00\x00\x2e"
        b"\x02"
        b"\x01\x02"
        b"\x00\x00\x00\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x02\x68\x69"
        b"\x00"
        b"\x00\x00\x00\x02"
        b"\x00\x05user2"
        b"\x00\x05user3"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        2,
        Publish(1, "hi", 0, ("user2", "user3"), 1_700_000_000),
    ),
    "E13": (
        b"\x00\x00\x00\x35"
        b"\x02"
        b"\x01\x08"
        b"\x00\x00\x00\x00"
        b"\x00\x06\x0a\x24\x18\x1e\x40\x01"
        b"\x00\x02\x68\x69"
        b"\x00\x05user1"
        b"\x00"
        b"\x00\x00\x00\x02"
        b"\x00\x05user2"
        b"\x00\x05user3"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        0,
        Deliver(FIRST_OFFSET, "hi", "user1", 0, ("user2", "user3"), 1_700_000_000),
    ),
    "E14": (
        b"\x00\x00\x00\x21"
        b"\x01"
        b"\x00\x02"
        b"\x00\x00\x00\x00"
        b"\x00\x02\x68\x69"
        b"\x00\x05user1"
        b"\x00\x05user3"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        0,
        Message("hi", "user1", "user3", 1_700_000_000),
    ),
    "E15": (
        b"\x00\x00\x00\x0b\x02\x00\x03\x00\x00\x00\x02\x00\x01\x00\x00",
        2,
        Response2(1),
    ),
    "E16": (
        b"\x00\x00\x00\x0f\x02\x01\x0a\x00\x00\x00\x02\x00\x06\x0a\x24\x18\x1e\x40\x01",
        2,
        Ack(FIRST_OFFSET),
    ),
    "E17": (
        b"\x00\x00\x00\x10\x02\x01\x0f\x00\x00\x00\x03\x00\x05user1\x00\x02",
        3,
        Users("user1", 2),
    ),
    "E18": (
        b"\x00\x00\x00\x2f"
        b"\x02"
        b"\x81\x0f"
        b"\x00\x00\x00\x03"
        b"\x00\x01"
        b"\x00\x00"
        b"\x00\x00\x00\x02"
        b"\x00\x05user2"
        b"\x01"
        b"\x17\x97\x9c\xfe\x36\x2a\x00\x00"
        b"\x00\x05user3"
        b"\x01"
        b"\x17\x97\x9c\xfe\x36\x2a\x00\x00",
        3,
        UsersAnswer(
            1,
            "",
            (
                UserStatus("user2", 1, 1_700_000_000_000_000_000),
                UserStatus("user3", 1, 1_700_000_000_000_000_000),
            ),
        ),
    ),
    "E19": (
        b"\x00\x00\x00\x18"
        b"\x02"
        b"\x01\x0b"
        b"\x00\x00\x00\x04"
        b"\x00\x05user2"
        b"\x00\x00\x00\x00\x00\x00\x00\x00"
        b"\x00\x00",
        4,
        History("user2", 0, 0),
    ),
    "E20": (
        b"\x00\x00\x00\x3d"
        b"\x02"
        b"\x81\x0b"
        b"\x00\x00\x00\x04"
        b"\x00\x01"
        b"\x00\x00"
        b"\x00\x00\x00\x01"
        b"\x00\x06\x0a\x24\x18\x1e\x40\x01"
        b"\x00\x02\x68\x69"
        b"\x00\x05user1"
        b"\x00"
        b"\x00\x00\x00\x02"
        b"\x00\x05user2"
        b"\x00\x05user3"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        4,
        HistoryAnswer(
            1,
            "",
            (StoredMessage(FIRST_OFFSET, "hi", "user1", 0, ("user2", "user3"), 1_700_000_000),),
        ),
    ),
    "E21": (
        b"\x00\x00\x00\x0e\x02\x01\x16\x00\x00\x00\x05\x00\x01\x00\x03bye",
        5,
        Close(1, "bye"),
    ),
    "E22": (
        b"\x00\x00\x00\x0b\x02\x00\x03\x00\x00\x00\x05\x00\x01\x00\x00",
        5,
        Response2(1),
    ),
    "E23": (
        b"\x00\x00\x00\x38"
        b"\x02"
        b"\x00\x01"
        b"\x00\x00\x00\x01"
        b"\x00\x05user1"
        b"\x00\x00\x00\x02"
        b"\x00\x06device"
        b"\x00\x05phone"
        b"\x00\x07session"
        b"\x00\x0c0J7mYf2cQ9tK",
        1,
        Login2("user1", {"device": "phone", "session": "0J7mYf2cQ9tK"}),
    ),
    "E24": (
        b"\x00\x00\x00\x27"
        b"\x02"
        b"\x01\x02"
        b"\x00\x00\x00\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x02"
        b"\x00\x02ho"
        b"\x00"
        b"\x00\x00\x00\x01"
        b"\x00\x05user2"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        2,
        Publish(2, "ho", 0, ("user2",), 1_700_000_000),
    ),
    "E25": (
        b"\x00\x00\x00\x2e"
        b"\x02"
        b"\x01\x08"
        b"\x00\x00\x00\x00"
        b"\x00\x06\x0a\x24\x18\x1e\x40\x02"
        b"\x00\x02ho"
        b"\x00\x05user1"
        b"\x00"
        b"\x00\x00\x00\x01"
        b"\x00\x05user2"
        b"\x00\x00\x00\x00\x65\x53\xf1\x00",
        0,
        Deliver(FIRST_OFFSET + 1, "ho", "user1", 0, ("user2",), 1_700_000_000),
    ),
}
