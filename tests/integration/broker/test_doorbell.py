"""The doorbell on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from labelmill.broker.leases.doorbell import Doorbell
from labelmill.local.redis import RedisServer
from tests.support.waiting import wait_for

# Far longer than any of these tests may take: a wait that ends has been ended.
FOREVER = 1000.0


@pytest.fixture
def doorbell(redis_url: str) -> Iterator[Doorbell]:
    doorbell = Doorbell(redis_url)
    yield doorbell
    doorbell.close()


class Waiter(threading.Thread):
    """A thread in :meth:`Doorbell.wait`."""

    def __init__(self, doorbell: Doorbell, *lists: str) -> None:
        super().__init__(daemon=True)
        self._doorbell = doorbell
        self._lists = lists
        self.error: redis.RedisError | None = None
        self.only_rung: bool | None = None
        self.start()

    def run(self) -> None:
        try:
            self.only_rung = self._doorbell.wait(self._lists, FOREVER)
        except redis.RedisError as error:
            self.error = error

    def ended(self) -> bool:
        return not self.is_alive()


def blocked(broker: redis.Redis) -> int:
    number: int = broker.info("clients")["blocked_clients"]
    return number


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_entry_in_any_list_ends_the_wait_and_stays(
    broker: redis.Redis, doorbell: Doorbell, name: str
) -> None:
    waiter = Waiter(doorbell, "a", "b")
    wait_for(lambda: blocked(broker) == 2)
    broker.lpush(name, "first")
    wait_for(waiter.ended)
    assert (waiter.only_rung, broker.lrange(name, 0, -1)) == (False, [b"first"])


def test_an_entry_that_is_there_ends_the_wait_at_once_and_keeps_its_place(
    broker: redis.Redis, doorbell: Doorbell
) -> None:
    broker.lpush("a", "first", "second")
    doorbell.wait(["a"], FOREVER)
    doorbell.wait(["a"], FOREVER)
    assert broker.lrange("a", 0, -1) == [b"second", b"first"]


def test_a_long_entry_is_read_to_its_end(broker: redis.Redis, doorbell: Doorbell) -> None:
    broker.lpush("a", b"x" * 5_000_000)
    doorbell.wait(["a"], FOREVER)
    broker.delete("a")
    waiter = Waiter(doorbell, "a")
    wait_for(lambda: blocked(broker) == 1)
    broker.lpush("a", "short")
    wait_for(waiter.ended)
    assert waiter.error is None


def test_a_ring_ends_the_wait(broker: redis.Redis, doorbell: Doorbell) -> None:
    waiter = Waiter(doorbell, "a")
    wait_for(lambda: blocked(broker) == 1)
    doorbell.ring()
    wait_for(waiter.ended)
    assert waiter.only_rung


def test_an_entry_counts_for_more_than_a_ring(broker: redis.Redis, doorbell: Doorbell) -> None:
    doorbell.wait(["a"], 0)
    broker.lpush("a", "entry")
    wait_for(lambda: blocked(broker) == 0)
    doorbell.ring()
    assert not doorbell.wait(["a"], FOREVER)


def test_a_ring_ends_the_next_wait_and_only_that(doorbell: Doorbell) -> None:
    for _ in range(100_000):  # more than any buffer holds
        doorbell.ring()
    doorbell.wait([], FOREVER)
    waiter = Waiter(doorbell)
    waiter.join(0.05)
    assert waiter.is_alive()
    doorbell.ring()
    wait_for(waiter.ended)


def test_the_wait_has_an_end(doorbell: Doorbell) -> None:
    assert not doorbell.wait(["a"], 0.01)
    assert not doorbell.wait([], 0.01)


def test_one_peek_stays_pending_over_many_waits(broker: redis.Redis, doorbell: Doorbell) -> None:
    for _ in range(10):
        doorbell.wait(["a"], 0)
    wait_for(lambda: blocked(broker) == 1)


def test_a_list_that_is_not_asked_for_does_not_end_the_wait(
    broker: redis.Redis, doorbell: Doorbell
) -> None:
    doorbell.wait(["a"], 0)
    waiter = Waiter(doorbell, "b")
    broker.lpush("a", "answers the old peek")
    wait_for(lambda: blocked(broker) == 1)
    assert waiter.is_alive()
    broker.lpush("b", "answers this one")
    wait_for(waiter.ended)
    doorbell.wait(["a"], FOREVER)


def test_a_list_that_the_server_refuses_ends_the_wait_once(
    broker: redis.Redis, doorbell: Doorbell
) -> None:
    broker.set("a", "not a list")
    assert doorbell.wait(["a"], FOREVER) is False
    assert doorbell.wait(["a"], 0.2) is False  # in its time, and not at once again and again
    broker.delete("a")
    broker.lpush("b", "entry")
    doorbell.wait(["a", "b"], FOREVER)


def test_a_redis_that_dies_and_comes_back() -> None:
    with RedisServer() as server:
        doorbell = Doorbell(server.url)
        waiter = Waiter(doorbell, "a", "b")
        with redis.Redis.from_url(server.url) as broker:
            wait_for(lambda: blocked(broker) == 2)
            server.kill()
            wait_for(waiter.ended)
            assert isinstance(waiter.error, redis.RedisError)
            with pytest.raises(redis.RedisError):
                doorbell.wait(["a"], FOREVER)
            server.start()
            broker.lpush("a", "entry")
            wait_for(lambda: answers(doorbell))
        doorbell.close()


def answers(doorbell: Doorbell) -> bool:
    try:
        doorbell.wait(["a", "b"], FOREVER)
    except redis.RedisError:
        return False
    return True


def test_closing_does_not_wait_for_what_is_pending(broker: redis.Redis, redis_url: str) -> None:
    doorbell = Doorbell(redis_url)
    doorbell.wait(["a", "b"], 0)
    doorbell.close()
    doorbell.ring()  # as a stage does that has not ended yet
    wait_for(lambda: blocked(broker) == 0)
