from __future__ import annotations

from multidict import CIMultiDict

from gateway.client import Client, identify
from gateway.keys import KeyRing

KEYS = KeyRing({"alice": "sk-a", "bob": "sk-b"})


def who(address: str = "10.0.0.1", agent: str = "editor/1", key: str = "", keys: KeyRing = KEYS) -> Client:
    headers = CIMultiDict({"User-Agent": agent, "Authorization": f"Bearer {key}"})
    return identify(address, headers, {}, keys)


def test_a_key_is_one_client_wherever_it_comes_from() -> None:
    assert who(key="sk-a").id == who("10.0.0.2", "other/2", "sk-a").id
    assert who(key="sk-a").id != who(key="sk-b").id


def test_without_a_key_it_is_the_address_and_the_agent() -> None:
    clients = [who(), who("10.0.0.2"), who(agent="other/2"), who(agent="")]
    assert len({client.id for client in clients}) == 4
    assert who(key="nobody's").id == who().id
    assert who(key="sk-a", keys=KeyRing({})).id == who().id


def test_nobody_can_pass_for_a_key_by_name() -> None:
    assert who(key="sk-a").id != identify("", CIMultiDict({"User-Agent": "alice"}), {}, KEYS).id


def test_what_a_client_calls_itself_is_cut_and_printable() -> None:
    assert who(agent="a\tb\x1b[31m" + "x" * 500).agent == "ab[31m" + "x" * 194
