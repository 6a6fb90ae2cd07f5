"""Several devices of one user: what each store does with positions, copies and publishing ids."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random
from typing import cast

import pytest

from chat_protocol.domain.login_rules import (
    MAX_DEVICES,
    MAX_SENDER_NAMES,
    NO_NAME,
    SENDER_SECONDS,
    LoginRequest,
    sender_name,
)
from chat_protocol.domain.messages import Batch, Message, PositionKey, Registration
from chat_protocol.domain.ports import ISharedStore, IStore
from chat_protocol.domain.queries import Account, Lookup, Page
from chat_protocol.domain.users import Audience, Session, User
from chat_protocol.wire import commands
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from tests.stores.conftest import MakeStore, WallClock
from tests.stores.helpers import Sender, Single, now, singles

LIMIT = 5
DAY = 24 * 60 * 60
MONTH = 30 * DAY * 10**9


class Chat:
    """A store, and the sessions of its users."""

    def __init__(self, store: IStore, wall_clock: WallClock) -> None:
        self.store = store
        self._wall_clock = wall_clock
        self._users: dict[str, User] = {}
        self.online: dict[tuple[str, str], Sender] = {}

    def commit(self, *messages: Message, positions: dict[PositionKey, int] | None = None) -> None:
        now(self.store.commit(Batch([], list(messages), positions or {})))

    def log_in(self, name: str, device: str = "") -> Registration:
        """Log in, as a user who has shown the password."""
        self._wall_clock.pass_(1)
        here = [one for (user, _), one in self.online.items() if user == name]
        registration = Registration(
            name,
            self._wall_clock(),
            LoginRequest(device, 2, takes_over=True, verified=True),
            "token",
            frozenset(one.device_id for one in here if one.device != NO_NAME),
        )
        now(self.store.commit(Batch([registration], [], {})))
        assert registration.refused is None
        user = self._users.setdefault(name, User(name))
        user.id, user.has_devices = registration.user_id, registration.has_devices
        sender = Sender(user, device, registration.device_id)
        sender.number = registration.number
        self.online[name, device] = sender
        return registration

    def log_out(self, name: str, device: str = "") -> None:
        self._wall_clock.pass_(1)
        session = self.online.pop((name, device))
        now(self.store.commit(Batch([], [], {}, [cast(Session, session)])))

    def leave(self, name: str) -> None:
        """Log out from the only device. A store that is not shared is not told of it."""
        if ISharedStore.providedBy(self.store):
            self.log_out(name)
        else:
            del self.online[name, ""]

    def message(self, name: str, device: str, *texts: str, to: str = "", id_: int = 0) -> Message:
        """Return messages to users, whose names ``to`` has; to everyone if it is empty."""
        users = [self._users[one] for one in to.split()]
        tail = users[0].name if len(users) == 1 else ""
        frames = [encode(commands.Message(text, name, tail, 7)) for text in texts]
        return Message(
            cast(Session, self.online[name, device]),
            Audience(*users),
            [bytes(4)] * len(texts),
            [text.encode() for text in texts],
            frames,
            sum(map(len, frames)),
            2,
            id_,
        )

    def send(self, name: str, device: str, *texts: str, to: str = "", id_: int = 0) -> Message:
        message = self.message(name, device, *texts, to=to, id_=id_)
        self.commit(message)
        return message

    def page(self, name: str, device: str = "", after: int = 0, most: int = 1000) -> list[Single]:
        session = self.online[name, device]
        asked = Page(session.user.id, after, most, 1 << 20, session.device_id)
        now(self.store.read([asked]))
        return singles(asked.entries)

    def texts(self, name: str, device: str = "") -> str:
        """Return what is to be delivered to a device, and check that ``pending`` is right."""
        found = self.page(name, device)
        assert self.account(name, device).pending == len(found)
        return " ".join(one.text for one in found)

    def account(self, name: str, device: str = "") -> Account:
        session = self.online[name, device]
        asked = Account(session.user.id, session.device_id)
        now(self.store.read([asked]))
        return asked

    def take(self, name: str, device: str = "", count: int = 1000) -> None:
        """Acknowledge messages."""
        session = self.online[name, device]
        found = self.page(name, device)[:count]
        self.commit(positions={(session.user.id, session.device_id): found[-1].offset})

    def forget(self, *, of: Collection[tuple[str, str]] = ()) -> list[PositionKey]:
        """Have devices forgotten until nothing more is found."""
        keys = {(self.online[one].user.id, self.online[one].device_id) for one in of}
        found: list[PositionKey] = []
        for _ in range(3):
            overrun: list[PositionKey] = now(
                self.store.forget_devices(self._wall_clock(), MONTH, keys)
            )
            found += overrun
        return sorted(set(found))


@pytest.fixture
def chat(make_store: MakeStore, wall_clock: WallClock) -> Iterator[Chat]:
    store = make_store(LIMIT)
    now(store.open())
    chat = Chat(store, wall_clock)
    chat.log_in("bob")
    yield chat
    now(store.close())


def test_each_device_has_a_position_of_its_own(chat: Chat) -> None:
    for device in ("", "phone", "laptop"):
        chat.log_in("alice", device)
    chat.send("bob", "", "1", "2", "3", to="alice")
    for device in ("", "phone", "laptop"):
        assert chat.texts("alice", device) == "1 2 3"
    chat.take("alice", "phone", 2)
    chat.take("alice", "")
    assert chat.texts("alice", "") == ""
    assert chat.texts("alice", "phone") == "3"
    assert chat.texts("alice", "laptop") == "1 2 3"
    chat.send("bob", "", "4", to="alice")
    assert chat.texts("alice", "") == "4"
    assert chat.texts("alice", "laptop") == "1 2 3 4"


def test_a_message_has_the_same_offset_on_each_device(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.send("bob", "", "1", to="alice")
    assert chat.page("alice", "phone") == chat.page("alice", "laptop")


def test_a_page_begins_behind_the_position_and_behind_what_was_sent(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.send("bob", "", "1", "2", "3", to="alice")
    first, second, _ = chat.page("alice", "phone")
    assert [one.text for one in chat.page("alice", "phone", first.offset, 1)] == ["2"]
    chat.take("alice", "phone", 2)
    assert [one.text for one in chat.page("alice", "phone", first.offset)] == ["3"]
    assert [one.text for one in chat.page("alice", "laptop", second.offset)] == ["3"]


def test_what_a_user_sends_comes_to_the_other_devices(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.log_in("alice")
    assert chat.send("alice", "laptop", "hi", to="bob").copied
    chat.send("alice", "phone", "all")
    assert chat.texts("alice", "phone") == "hi"
    assert chat.texts("alice", "laptop") == "all"
    assert chat.texts("alice", "") == "hi all"
    assert chat.texts("bob") == "hi all"
    (copy,) = chat.page("alice", "phone")
    assert (copy.sender, copy.scope, copy.to) == ("alice", 0, ("bob",))
    (copy,) = chat.page("alice", "laptop")
    assert (copy.sender, copy.scope, copy.to) == ("alice", 1, ())


def test_a_message_to_oneself_comes_once_to_each_device(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    assert not chat.send("alice", "laptop", "note", to="alice").copied
    chat.send("alice", "laptop", "both", to="bob alice")
    assert chat.texts("alice", "phone") == chat.texts("alice", "laptop") == "note both"


def test_a_user_with_one_device_gets_no_copies(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    assert not chat.send("alice", "phone", "hi", to="bob").copied
    chat.send("alice", "phone", "all")
    assert not chat.send("bob", "", "hello", to="alice").copied
    assert chat.texts("alice", "phone") == "hello"


def test_the_first_device_of_a_user_begins_at_the_beginning(chat: Chat) -> None:
    chat.log_in("alice", sender_name("script"))
    chat.send("bob", "", "1", to="alice")
    chat.send("bob", "", "all")
    assert not chat.log_in("alice", "phone").known
    assert chat.texts("alice", "phone") == "1 all"


def test_a_further_device_begins_where_the_furthest_one_is(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "tablet")
    chat.send("bob", "", "1", "2", "3", to="alice")
    chat.send("bob", "", "all")
    chat.take("alice", "phone", 2)
    registration = chat.log_in("alice", "laptop")
    assert (registration.known, registration.has_devices) == (False, True)
    assert chat.texts("alice", "laptop") == "3 all"
    assert chat.texts("alice", "tablet") == "1 2 3 all"


def test_the_second_device_begins_where_the_first_one_is(chat: Chat) -> None:
    chat.log_in("alice")
    chat.send("bob", "", "1", "2", to="alice")
    chat.send("bob", "", "all")
    chat.send("bob", "", "3", to="alice")
    chat.take("alice", count=3)
    chat.log_in("alice", "phone")
    assert chat.texts("alice", "phone") == chat.texts("alice") == "3"
    chat.take("alice")
    chat.log_in("alice", "tablet")
    assert chat.texts("alice", "tablet") == ""
    assert chat.texts("alice", "phone") == "3"


def test_a_device_gets_nothing_that_was_sent_before_its_first_login(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.send("alice", "laptop", "before", to="bob")
    chat.send("alice", "laptop", "all before")
    chat.log_in("alice", "tablet")
    chat.send("alice", "laptop", "after", to="bob")
    assert chat.texts("alice", "tablet") == "after"
    assert chat.texts("alice", "phone") == "before all before after"


def test_a_device_is_known_at_its_second_login(chat: Chat) -> None:
    assert chat.log_in("bob").known
    assert not chat.log_in("alice", "phone").known
    assert not chat.log_in("alice").known
    for device in ("phone", ""):
        chat.log_out("alice", device)
        assert chat.log_in("alice", device).known


def test_a_mailbox_is_full_of_what_no_device_has_received(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.send("bob", "", "1", "2", "3", "4", to="alice")
    chat.take("alice", "phone", 2)
    chat.take("alice", "laptop", 1)
    sent = chat.send("bob", "", "5", "6", "7", "8", to="alice")
    assert (sent.accepted, sent.refusal) == (3, Code.MAILBOX_FULL)
    assert chat.texts("alice", "phone") == "3 4 5 6 7"
    assert chat.texts("alice", "laptop") == "2 3 4 5 6 7"
    chat.take("alice", "laptop")
    assert chat.send("bob", "", "8", to="alice").accepted == 1


def test_copies_fill_no_mailbox_and_the_oldest_are_dropped(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    for number in range(7):
        chat.send("alice", "laptop", str(number), to="bob")
        chat.take("bob")
    assert chat.texts("alice", "phone") == "2 3 4 5 6"
    chat.send("bob", "", "a", to="alice")
    chat.send("bob", "", "b")
    assert chat.texts("alice", "phone") == "4 5 6 a b"
    chat.send("bob", "", "c", "d", to="alice")
    assert chat.texts("alice", "phone") == "6 a b c d"
    assert chat.texts("alice", "laptop") == "a b c d"


def test_what_a_device_has_sent_itself_drops_no_copies_that_it_gets(chat: Chat) -> None:
    for device in ("phone", "laptop"):
        chat.log_in("alice", device)
    chat.send("alice", "phone", "1", "2", to="bob")
    for text in "345678":
        chat.send("alice", "laptop", text, to="bob")
        chat.take("bob")
    assert chat.texts("alice", "laptop") == "1 2"
    assert chat.texts("alice", "phone") == "4 5 6 7 8"


def test_sessions_that_only_send_are_copied_to_all_devices(chat: Chat) -> None:
    chat.log_in("alice")
    chat.log_in("alice", sender_name("script"))
    chat.log_in("alice", NO_NAME)
    assert chat.send("alice", sender_name("script"), "1", to="bob").copied
    chat.send("alice", NO_NAME, "2", to="bob")
    assert chat.texts("alice") == "1 2"
    chat.take("alice", count=1)
    assert chat.texts("alice") == "2"
    # A device of that name is another one.
    chat.log_in("alice", "script")
    chat.send("alice", sender_name("script"), "3", to="bob")
    assert chat.texts("alice", "script") == "3"
    assert chat.texts("alice") == "2 3"


def test_copies_leave_the_mailbox(chat: Chat) -> None:
    """Else a device would get them that comes later."""
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.send("alice", "laptop", "1", to="bob")
    chat.take("alice", "phone")
    chat.send("alice", "phone", "2", to="bob")
    assert chat.texts("alice", "phone") == ""
    assert chat.texts("alice", "laptop") == "2"


def test_publishing_ids_are_those_of_a_device(chat: Chat) -> None:
    for device in ("", "phone", sender_name("phone")):
        chat.log_in("alice", device)
    for first, device in ((10, ""), (20, "phone"), (30, sender_name("phone"))):
        chat.send("alice", device, "x", to="bob", id_=first)
    for first, device in ((10, ""), (20, "phone"), (30, sender_name("phone"))):
        assert chat.account("alice", device).publishing_id == first
        assert chat.send("alice", device, "again", to="bob", id_=first).offset == 0
    assert chat.send("alice", "phone", "y", to="bob", id_=15).refusal is Code.OUT_OF_ORDER
    assert chat.texts("bob") == "x x x"


def test_a_ninth_device_replaces_the_one_that_is_offline_for_longest(chat: Chat) -> None:
    devices = [f"device{number}" for number in range(MAX_DEVICES)]
    for device in devices:
        chat.log_in("alice", device)
    for device in ("device3", "device1", "device5"):
        chat.log_out("alice", device)
    chat.send("bob", "", "1", to="alice")
    chat.log_in("alice", "ninth")
    assert not chat.log_in("alice", "device3").known
    assert chat.log_in("alice", "device5").known
    chat.log_out("alice", "ninth")
    assert not chat.log_in("alice", "device1").known


def test_a_device_is_forgotten_when_it_was_absent_for_long(
    chat: Chat, wall_clock: WallClock
) -> None:
    for device in ("phone", "laptop", "tablet"):
        chat.log_in("alice", device)
    chat.log_out("alice", "phone")
    wall_clock.pass_(29 * DAY)
    chat.send("bob", "", "1", to="alice")
    assert chat.forget() == []
    assert chat.log_in("alice", "phone").known
    assert chat.texts("alice", "phone") == "1"
    chat.log_out("alice", "phone")
    chat.take("alice", "laptop")
    wall_clock.pass_(31 * DAY)
    assert chat.forget() == []
    assert not chat.log_in("alice", "phone").known
    assert chat.texts("alice", "phone") == ""
    # It is online, and so it stays.
    assert chat.texts("alice", "tablet") == "1"


def test_the_first_device_is_forgotten_as_the_others(chat: Chat, wall_clock: WallClock) -> None:
    chat.log_in("alice")
    chat.leave("alice")
    chat.log_in("alice", "phone")
    chat.send("bob", "", "1", to="alice")
    wall_clock.pass_(31 * DAY)
    chat.forget()
    assert not chat.log_in("alice").known


def test_the_last_device_is_never_forgotten(chat: Chat, wall_clock: WallClock) -> None:
    for device in ("phone", "laptop"):
        chat.log_in("alice", device)
    for device in ("laptop", "phone"):
        chat.log_out("alice", device)
    chat.send("bob", "", "1", to="alice")
    wall_clock.pass_(31 * DAY)
    chat.forget()
    assert chat.log_in("alice", "phone").known
    assert not chat.log_in("alice", "laptop").known
    assert chat.texts("alice", "phone") == "1"


def test_a_mailbox_is_emptied_when_a_device_is_forgotten(chat: Chat, wall_clock: WallClock) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.log_out("alice", "phone")
    chat.send("bob", "", "1", "2", "3", to="alice")
    chat.take("alice", "laptop")
    wall_clock.pass_(31 * DAY)
    chat.forget()
    chat.send("bob", "", "4", to="alice")
    assert chat.texts("alice", "laptop") == "4"
    assert not chat.log_in("alice", "phone").known
    assert chat.texts("alice", "phone") == "4"


def test_a_device_that_is_too_far_behind_is_forgotten(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.log_out("alice", "phone")
    for number in range(LIMIT + 1):
        chat.send("bob", "", str(number), to="alice")
        chat.take("alice", "laptop")
    assert chat.forget() == []
    registration = chat.log_in("alice", "phone")
    assert not registration.known
    assert chat.texts("alice", "phone") == ""


def test_a_login_of_a_device_that_is_too_far_behind_is_a_first_one(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.log_out("alice", "phone")
    for number in range(LIMIT):
        chat.send("bob", "", str(number), to="alice")
        chat.take("alice", "laptop")
    assert chat.log_in("alice", "phone").known
    chat.log_out("alice", "phone")
    chat.send("bob", "", "all")
    chat.take("alice", "laptop")
    assert not chat.log_in("alice", "phone").known


def test_a_device_that_is_online_and_too_far_behind_is_reported(chat: Chat) -> None:
    phone = chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    for number in range(LIMIT + 1):
        chat.send("bob", "", str(number), to="alice")
        chat.take("alice", "laptop")
    both = [("alice", "phone"), ("alice", "laptop")]
    assert chat.forget(of=both) == [(phone.user_id, phone.device_id)]
    assert chat.texts("alice", "phone") == "0 1 2 3 4 5"
    chat.log_out("alice", "phone")
    assert chat.forget(of=[("alice", "laptop")]) == []
    assert not chat.log_in("alice", "phone").known


def test_devices_that_are_all_behind_are_kept(chat: Chat) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    for number in range(LIMIT):
        chat.send("bob", "", str(number), to="alice")
    for number in range(3):
        chat.send("bob", "", f"all{number}")
    assert chat.forget(of=[("alice", "phone"), ("alice", "laptop")]) == []
    for device in ("phone", "laptop"):
        chat.log_out("alice", device)
        assert chat.log_in("alice", device).known


def test_a_forgotten_device_keeps_its_publishing_ids_for_a_day(
    chat: Chat, wall_clock: WallClock
) -> None:
    chat.log_in("alice", "phone")
    chat.log_in("alice", "laptop")
    chat.send("alice", "phone", "1", to="bob", id_=7)
    chat.log_out("alice", "phone")
    wall_clock.pass_(31 * DAY)
    chat.forget()
    assert not chat.log_in("alice", "phone").known
    assert chat.account("alice", "phone").publishing_id == 7


@pytest.mark.parametrize(("later", "known"), [(SENDER_SECONDS - 60, True), (DAY + 60, False)])
def test_publishing_ids_of_a_session_that_only_sends_are_kept_for_a_day(
    chat: Chat, wall_clock: WallClock, later: float, known: bool
) -> None:
    chat.log_in("alice")
    name = sender_name("script")
    assert not chat.log_in("alice", name).known
    chat.send("alice", name, "1", to="bob", id_=7)
    wall_clock.pass_(2 * DAY)
    chat.forget()
    chat.log_out("alice", name)
    wall_clock.pass_(later)
    chat.forget()
    assert chat.log_in("alice", name).known is known
    assert chat.account("alice", name).publishing_id == (7 if known else 0)


def test_the_sender_that_ended_longest_ago_is_forgotten_first(chat: Chat) -> None:
    chat.log_in("alice")
    chat.log_in("alice", sender_name("stays"))
    chat.send("alice", sender_name("stays"), "x", to="bob", id_=5)
    for number in range(MAX_SENDER_NAMES + 1):
        name = sender_name(str(number))
        chat.log_in("alice", name)
        chat.send("alice", name, "x", to="bob", id_=5)
        chat.take("bob")
        chat.log_out("alice", name)
    chat.forget()
    assert not chat.log_in("alice", sender_name("0")).known
    assert chat.log_in("alice", sender_name(str(MAX_SENDER_NAMES))).known
    assert chat.account("alice", sender_name("stays")).publishing_id == 5


def test_a_lookup_tells_what_a_login_would(chat: Chat) -> None:
    phone = chat.log_in("alice", "phone")
    lookups = [Lookup("alice", "phone"), Lookup("alice", ""), Lookup("bob"), Lookup("carol")]
    now(chat.store.read(lookups))
    found = [(one.user_id > 0, one.device_id, one.known, one.has_devices) for one in lookups]
    assert found == [
        (True, phone.device_id, True, False),
        (True, 0, False, False),
        (True, 0, True, False),
        (False, 0, False, False),
    ]
    chat.log_in("alice")
    asked = Lookup("alice", "phone")
    now(chat.store.read([asked]))
    assert asked.has_devices


class Model:
    """What the devices of users get, written down as simply as possible."""

    def __init__(self) -> None:
        self.mail: dict[str, list[Single]] = {}
        self.position: dict[tuple[str, str], int] = {}
        self.first: dict[tuple[str, str], int] = {}
        self.last = 0

    def log_in(self, name: str, device: str) -> None:
        if (name, device) in self.position:
            return
        others = [at for (user, _), at in self.position.items() if user == name]
        self.mail.setdefault(name, [])
        self.position[name, device] = max(others, default=0)
        self.first[name, device] = self.last

    def sent(self, one: Single) -> None:
        self.last = one.offset
        for name, mail in self.mail.items():
            if name in (one.sender, *one.to) or one.scope:
                mail.append(one)

    def expected(self, name: str, device: str) -> list[Single]:
        first, position = self.first[name, device], self.position[name, device]
        return [
            one
            for one in self.mail[name]
            if one.offset > position
            and (
                one.sender != name
                or name in one.to
                or (one.device != device and one.offset > first)
            )
        ]


@pytest.mark.parametrize("seed", range(3))
def test_devices_get_what_a_simple_model_says(
    make_store: MakeStore, wall_clock: WallClock, seed: int
) -> None:
    random, model = Random(seed), Model()
    store = make_store(0)
    now(store.open())
    chat = Chat(store, wall_clock)
    names, devices = ("alice", "bob", "carol"), ("", "phone", "laptop")
    for name in names:
        device = random.choice(devices)
        chat.log_in(name, device)
        model.log_in(name, device)
    for step in range(150):
        name, device = random.choice(list(model.position))
        choice = random.random()
        if choice < 0.1:
            name, device = random.choice(names), random.choice(devices)
            chat.log_in(name, device)
            model.log_in(name, device)
        elif choice < 0.6:
            to = random.sample(names, random.randrange(3))
            count = random.randrange(1, 4)
            texts = [f"{step}.{number}" for number in range(count)]
            sent = chat.send(name, device, *texts, to=" ".join(to))
            for single in singles([sent.entry()]):
                model.sent(single)
        elif expected := model.expected(name, device):
            count = random.randrange(1, len(expected) + 1)
            chat.take(name, device, count)
            model.position[name, device] = expected[count - 1].offset
        for one in model.position:
            assert chat.page(*one) == model.expected(*one)
            assert chat.account(*one).pending == len(model.expected(*one))
    now(store.close())
