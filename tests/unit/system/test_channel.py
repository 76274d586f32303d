from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from devtls.errors import DevtlsError, NotRunningError
from devtls.system.channel import (
    LONGEST_MESSAGE,
    Client,
    Link,
    Message,
    decode,
    encode,
    is_friend,
    listen,
    send_with_descriptors,
)
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Peer:
    """One end of a channel that keeps what it gets."""

    def __init__(self, loop: Loop, connection: socket.socket) -> None:
        self.got: list[tuple[Message, list[int]]] = []
        self.closed = 0
        self.link = Link(loop, connection, lambda message, passed: self.got.append((message, passed)), self.note_closed)

    def note_closed(self) -> None:
        self.closed += 1


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def peers(loop: Loop) -> Iterator[tuple[Peer, Peer]]:
    here, there = (Peer(loop, connection) for connection in socket.socketpair())
    yield here, there
    for peer in (here, there):
        peer.link.close()
        for _message, passed in peer.got:
            for descriptor in passed:
                os.close(descriptor)


def turn_until(loop: Loop, condition: Callable[[], object]) -> None:
    for _ in range(10_000):
        if condition():
            return
        loop.turn(1)
    pytest.fail("waited in vain")


def is_same_file(first: int, second: int) -> bool:
    return os.path.sameopenfile(first, second)


def test_messages_arrive_whole_and_in_order(loop: Loop, peers: tuple[Peer, Peer]) -> None:
    here, there = peers
    messages: list[Message] = [{"n": number, "text": "é\n" * number} for number in range(50)]
    for message in messages:
        here.link.send(message)
    turn_until(loop, lambda: len(there.got) == 50)
    assert [message for message, _passed in there.got] == messages


def test_a_message_larger_than_the_socket_buffer_arrives(loop: Loop, peers: tuple[Peer, Peer]) -> None:
    here, there = peers
    here.link.send({"site": "x" * 3_000_000})
    here.link.send({"n": 2})
    turn_until(loop, lambda: len(there.got) == 2)
    assert len(there.got[0][0]["site"]) == 3_000_000


def test_descriptors_arrive_with_their_own_message_although_reads_glue_messages(
    loop: Loop, peers: tuple[Peer, Peer]
) -> None:
    here, there = peers
    reader, writer = os.pipe()
    here.link.send({"n": 1})
    here.link.send({"n": 2}, [reader, writer])
    here.link.send({"n": 3})
    here.link.send({"n": 4}, [writer])
    turn_until(loop, lambda: len(there.got) == 4)
    assert [message for message, _passed in there.got] == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert [len(passed) for _message, passed in there.got] == [0, 2, 0, 1]
    assert is_same_file(there.got[1][1][0], reader)
    assert is_same_file(there.got[3][1][0], writer)
    os.close(reader)
    os.close(writer)


def test_descriptors_wait_their_turn_behind_a_full_buffer_and_the_sender_may_close_its_own(
    loop: Loop, peers: tuple[Peer, Peer]
) -> None:
    here, there = peers
    reader, writer = os.pipe()
    here.link.send({"site": "x" * 3_000_000})
    here.link.send({"n": 2}, [reader])
    os.close(reader)
    turn_until(loop, lambda: len(there.got) == 2)
    os.write(writer, b"through")
    assert os.read(there.got[1][1][0], 100) == b"through"
    os.close(writer)


def test_passed_descriptors_are_not_inherited_by_programs(loop: Loop, peers: tuple[Peer, Peer]) -> None:
    here, there = peers
    here.link.send({"n": 1}, [0])
    turn_until(loop, lambda: there.got)
    assert not os.get_inheritable(there.got[0][1][0])


@pytest.mark.parametrize(
    "nonsense", [b"not json\n", b"[1]\n", b'{"_descriptors": 1}\n', b'{"_descriptors": -1}\n', b"\xff\xfe\n"]
)
def test_nonsense_ends_the_connection_and_is_told_once(loop: Loop, nonsense: bytes) -> None:
    ours, theirs = socket.socketpair()
    peer = Peer(loop, ours)
    with theirs:
        theirs.sendall(nonsense + b'{"n": 1}\n')
        turn_until(loop, lambda: peer.closed)
    peer.link.close()
    assert (peer.got, peer.closed, peer.link.is_open) == ([], 1, False)


def test_the_end_of_the_other_side_is_told(loop: Loop, peers: tuple[Peer, Peer]) -> None:
    here, there = peers
    there.link.close()
    turn_until(loop, lambda: here.closed)
    here.link.send({"to": "nobody"})
    assert here.closed == 1


def test_a_reader_that_never_reads_does_not_fill_the_memory(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    peer = Peer(loop, ours)
    with theirs:
        for _ in range(12):
            peer.link.send({"site": "x" * (LONGEST_MESSAGE // 10)})
    assert peer.closed == 1


def test_a_client_asks_and_is_answered_through_a_private_socket(tmp_path: Path) -> None:
    path = tmp_path / "ctl.sock"
    with listen(path) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        server.setblocking(True)
        with Client.connect(path) as client:
            connection, _address = server.accept()
            with connection:
                assert is_friend(connection)
                client.send({"ask": "ps"})
                assert connection.recv(100) == encode({"ask": "ps"})
                reader, writer = os.pipe()
                send_with_descriptors(connection, {"n": 1})
                send_with_descriptors(connection, {"n": 2}, [reader, writer])
                assert client.receive() == ({"n": 1}, [])
                answer = client.receive()
                assert answer
                assert (answer[0], len(answer[1])) == ({"n": 2}, 2)
                for descriptor in (reader, writer, *answer[1]):
                    os.close(descriptor)
            assert client.receive() is None


def test_a_client_that_is_told_nonsense_says_so() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours) as client:
        theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n")
        with pytest.raises(DevtlsError, match="does not speak this protocol"):
            client.receive()


def test_nobody_there_is_told_as_not_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match=r"nothing answers on .*ctl\.sock"):
        Client.connect(tmp_path / "ctl.sock")


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    listen(tmp_path / "ctl.sock").close()
    with listen(tmp_path / "ctl.sock"):
        Client.connect(tmp_path / "ctl.sock").close()


def test_a_large_message_on_a_blocking_socket_carries_its_descriptors() -> None:
    ours, theirs = socket.socketpair()
    with ours, Client(theirs) as client:
        message: Message = {"site": "x" * 2_000_000}
        thread = threading.Thread(target=send_with_descriptors, args=(ours, message, [0]))
        thread.start()
        answer = client.receive()
        thread.join()
        assert answer
        assert (answer[0], len(answer[1])) == (message, 1)
        os.close(answer[1][0])


def test_a_message_that_is_nested_without_end_is_malformed() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        decode(b"[" * 200_000, [])
