"""The leases against a reference model, on a real Redis, in any order that hypothesis thinks of."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from itertools import count

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labelmill.broker.leases import Lease, Leases, Taken
from labelmill.broker.queues import QueueKeys
from tests.support.leases import SettledLeases

KEYS = QueueKeys("q")
WORKERS = ("first", "second")
FAR = datetime(2100, 1, 1, tzinfo=UTC)
PAST_MS = 1000


class State(Enum):
    HANDED_OUT = auto()
    """To a worker that does not know of it yet: the reply was lost."""
    LEASED = auto()
    EXPIRED = auto()
    DELAYED = auto()


@dataclass
class Delivery:
    """What the model knows of a message that was taken."""

    message: bytes
    attempt: int
    state: State
    list_number: int = 1
    excused: set[int] = field(default_factory=set)
    due: bool = False
    """Whether a delayed one's eta has come."""


@dataclass
class Model:
    """What Redis has to hold."""

    lists: dict[int, list[bytes]] = field(default_factory=lambda: {1: [], 2: []})
    """By number, the oldest first."""
    deliveries: dict[bytes, Delivery] = field(default_factory=dict)
    dead: list[bytes] = field(default_factory=list)
    acknowledged: set[bytes] = field(default_factory=set)
    unstarted: dict[str, list[tuple[bytes, int]]] = field(default_factory=dict)
    """By worker, the group whose reply was lost: deliveries and their attempts."""

    def owns(self, lease: Lease) -> bool:
        """Whether the holder of the lease may still act on it."""
        delivery = self.deliveries.get(lease.delivery)
        return delivery is not None and delivery.attempt == lease.attempt

    def still_unstarted(self, worker: str) -> list[bytes]:
        """Of the group of a worker, those that nobody else was given since."""
        return [
            name
            for name, attempt in self.unstarted.get(worker, [])
            if name in self.deliveries and self.deliveries[name].attempt == attempt
        ]

    def everywhere(self) -> list[bytes]:
        """Every message, wherever it is."""
        return [
            *self.lists[1],
            *self.lists[2],
            *(each.message for each in self.deliveries.values()),
            *self.dead,
            *self.acknowledged,
        ]

    def of(self, *states: State) -> set[bytes]:
        """The deliveries in these states."""
        return {name for name, each in self.deliveries.items() if each.state in states}


class LeasesMachine(RuleBasedStateMachine):
    """Two workers with leases in their hands, some of which they have lost without knowing."""

    def __init__(self, broker: redis.Redis, leases: dict[str, Leases]) -> None:
        super().__init__()
        self.broker = broker
        self.leases = leases
        self.model = Model()
        self.published: list[bytes] = []
        self.numbers = count()
        self.hands: dict[str, list[Lease]] = {name: [] for name in WORKERS}

    @initialize()
    def begin(self) -> None:
        self.broker.flushall()
        for leases in self.leases.values():
            leases._calls.clear()

    @rule(number=st.sampled_from([1, 2]))
    def publish(self, number: int) -> None:
        message = b"m%d" % next(self.numbers)
        self.broker.lpush(KEYS.lists[number - 1], message)
        self.model.lists[number].append(message)
        self.published.append(message)

    @rule(
        worker=st.sampled_from(WORKERS),
        limit=st.integers(1, 3),
        claim=st.booleans(),
        is_lost=st.booleans(),
    )
    def take(self, worker: str, limit: int, claim: bool, is_lost: bool) -> None:
        leases = self.leases[worker]
        if is_lost:
            taken = leases._hand_out("q", limit, leases._calls.setdefault("q", 1), claim=claim)
        else:
            taken = leases.take("q", limit, claim=claim)
        again = self.model.still_unstarted(worker)
        self.model.unstarted.pop(worker, None)
        if again:
            assert [lease.delivery for lease in taken.leases] == again
            for lease in taken.leases:
                self._handed_out(lease, self.model.deliveries[lease.delivery].attempt)
        else:
            self._restore_unstarted()
            self._taken_anew(taken, limit, claim)
        if is_lost:
            for lease in taken.leases:
                self.model.deliveries[lease.delivery].state = State.HANDED_OUT
            if taken.leases:
                self.model.unstarted[worker] = [
                    (lease.delivery, lease.attempt) for lease in taken.leases
                ]
        else:
            self.hands[worker] += taken.leases

    def _restore_unstarted(self) -> None:
        """Those go back as if never taken whose lease ended before their worker knew of them."""
        unbegun: list[bytes] = []
        for worker in list(self.model.unstarted):
            group = self.model.still_unstarted(worker)
            if group and self.model.deliveries[group[0]].state is not State.EXPIRED:
                continue
            del self.model.unstarted[worker]
            unbegun += group
        for name in sorted(unbegun, key=int, reverse=True):
            delivery = self.model.deliveries[name]
            if delivery.attempt == 1:
                self.model.lists[delivery.list_number].insert(0, delivery.message)
                del self.model.deliveries[name]
            else:
                delivery.excused.add(delivery.attempt)

    def _taken_anew(self, taken: Taken, limit: int, claim: bool) -> None:
        expired = self.model.of(State.EXPIRED)
        if expired:
            assert taken.expired == len(expired) - claim
            assert len(taken.leases) == claim
            for lease in taken.leases:
                assert lease.delivery in expired
                self._handed_out(lease, self.model.deliveries[lease.delivery].attempt + 1)
        else:
            assert taken.expired == 0
            self._new_ones(taken.leases, limit)

    def _new_ones(self, leases: list[Lease], limit: int) -> None:
        due = {name for name, each in self.model.deliveries.items() if each.due}
        first = leases[: min(len(due), limit)]
        assert {lease.delivery for lease in first} <= due
        assert len({lease.delivery for lease in first}) == min(len(due), limit)
        for lease in first:
            self._handed_out(lease, 1)
        waiting = [(number, each) for number in (1, 2) for each in self.model.lists[number]]
        rest = leases[len(first) :]
        expected = waiting[: limit - len(first)]
        assert [(lease.list_number, lease.message) for lease in rest] == expected
        for lease in rest:
            assert lease.attempt == 1
            assert lease.delivery not in self.model.deliveries
            self.model.lists[lease.list_number].remove(lease.message)
            self.model.deliveries[lease.delivery] = Delivery(
                lease.message, 1, State.LEASED, lease.list_number
            )

    def _handed_out(self, lease: Lease, attempt: int) -> None:
        delivery = self.model.deliveries[lease.delivery]
        assert (lease.attempt, lease.message) == (attempt, delivery.message)
        assert lease.starts == attempt - len(delivery.excused)
        delivery.attempt, delivery.state, delivery.due = attempt, State.LEASED, False

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        leases = self._some(data)
        lost = {lease.delivery for lease in leases if not self.model.owns(lease)}
        # In one call no delivery stands twice: a worker holds each once.
        assert self.leases["first"].renew("q", leases) == lost
        for lease in leases:
            delivery = self.model.deliveries.get(lease.delivery)
            if self.model.owns(lease):
                self.model.deliveries[lease.delivery].state = State.LEASED
            elif delivery is not None and delivery.attempt > lease.attempt:
                delivery.excused.add(lease.attempt)

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data(), bury=st.booleans())
    def acknowledge(self, data: st.DataObject, bury: bool) -> None:
        leases = self._some(data)
        lost = {lease.delivery for lease in leases if not self.model.owns(lease)}
        call = self.leases["first"].bury if bury else self.leases["first"].ack
        assert call("q", leases) == lost
        for lease in leases:
            if self.model.owns(lease):
                message = self.model.deliveries.pop(lease.delivery).message
                assert message not in self.model.acknowledged
                if bury:
                    self.model.dead.append(message)
                else:
                    self.model.acknowledged.add(message)

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        leases = self._some(data)
        owned = [lease for lease in leases if self.model.owns(lease)]
        assert self.leases["first"].release("q", leases) == len(owned)
        for lease in sorted(owned, key=lambda lease: int(lease.delivery), reverse=True):
            delivery = self.model.deliveries[lease.delivery]
            if lease.attempt == 1:
                del self.model.deliveries[lease.delivery]
                self.model.lists[lease.list_number].insert(0, delivery.message)
            else:
                delivery.attempt, delivery.state = lease.attempt - 1, State.EXPIRED

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data())
    def delay(self, data: st.DataObject) -> None:
        lease = self._some(data)[0]
        owned = self.model.owns(lease)
        assert self.leases["first"].delay(lease, FAR) == owned
        if owned:
            delivery = self.model.deliveries[lease.delivery]
            delivery.attempt, delivery.state, delivery.due = 0, State.DELAYED, False
            delivery.excused, delivery.list_number = set(), 1
            # Its attempts are counted anew: who had it in hand has let it go.
            for hand in self.hands.values():
                hand[:] = [each for each in hand if each.delivery != lease.delivery]

    @precondition(lambda self: self.model.of(State.DELAYED))
    @rule(data=st.data())
    def eta_comes(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.of(State.DELAYED))))
        self.broker.zadd(KEYS.delayed, {name: PAST_MS})
        self.model.deliveries[name].due = True

    @precondition(lambda self: self.model.of(State.LEASED))
    @rule(data=st.data())
    def lease_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.of(State.LEASED))))
        self._expire([name])

    @precondition(lambda self: self.model.unstarted)
    @rule(data=st.data())
    def lease_of_a_lost_reply_ends(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.model.unstarted)))
        self._expire(self.model.still_unstarted(worker))

    def _expire(self, deliveries: list[bytes]) -> None:
        for name in deliveries:
            self.broker.zadd(KEYS.deadlines, {name: PAST_MS})
            self.model.deliveries[name].state = State.EXPIRED

    @rule(worker=st.sampled_from(WORKERS))
    def crash(self, worker: str) -> None:
        self.hands[worker] = []
        # The next one of that name is another worker.
        self.leases[worker]._worker = secrets.token_hex(8)
        self.leases[worker]._calls.clear()
        if worker in self.model.unstarted:
            self.model.unstarted[f"dead {next(self.numbers)}"] = self.model.unstarted.pop(worker)

    def _some(self, data: st.DataObject) -> list[Lease]:
        """Some leases of a worker, which keeps them in its hands: it may call late, and again."""
        worker = data.draw(st.sampled_from([name for name in WORKERS if self.hands[name]]))
        newest = {lease.delivery: lease for lease in self.hands[worker]}
        return data.draw(st.lists(st.sampled_from(list(newest.values())), min_size=1, unique=True))

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        assert sorted(self.model.everywhere()) == sorted(self.published)

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        model, broker = self.model, self.broker
        for number in (1, 2):
            assert broker.lrange(KEYS.lists[number - 1], 0, -1)[::-1] == model.lists[number]
        assert broker.lrange(KEYS.dead, 0, -1)[::-1] == model.dead
        assert broker.hgetall(KEYS.messages) == {
            name: each.message for name, each in model.deliveries.items()
        }
        assert broker.hgetall(KEYS.attempts) == {
            name: b"%d" % each.attempt for name, each in model.deliveries.items()
        }
        held = model.of(State.HANDED_OUT, State.LEASED, State.EXPIRED)
        assert set(broker.zrange(KEYS.deadlines, 0, -1)) == held
        assert broker.hlen(KEYS.unstarted) >= sum(map(bool, map(model.still_unstarted, WORKERS)))
        kept = broker.hgetall(KEYS.excused)
        excused = {name: set(map(int, each.split())) for name, each in kept.items()}
        assert excused == {
            name: each.excused for name, each in model.deliveries.items() if each.excused
        }
        assert set(broker.zrange(KEYS.delayed, 0, -1)) == model.of(State.DELAYED)


def test_the_leases_do_what_their_model_does(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as broker:
        leases: dict[str, Leases] = {name: SettledLeases(broker, 3600) for name in WORKERS}
        run_state_machine_as_test(
            lambda: LeasesMachine(broker, leases),
            settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
        )
