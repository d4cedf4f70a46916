"""The leases on a real Redis."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import redis

from labelmill.broker.inspect import QueueInspector
from labelmill.broker.leases import MAX_LEASES, LeaseKeeper, Leases, Taken, portions
from labelmill.broker.queues import QueueKeys
from tests.support.leases import SettledLeases
from tests.support.waiting import wait_for

KEYS = QueueKeys("q")


@pytest.fixture
def leases(broker: redis.Redis) -> Leases:
    return SettledLeases(broker, duration=30)


def push(broker: redis.Redis, *messages: str, list_number: int = 0) -> None:
    for message in messages:
        broker.lpush(KEYS.lists[list_number], message)


def messages(taken: Taken) -> list[bytes]:
    return [lease.message for lease in taken.leases]


def expire(broker: redis.Redis) -> None:
    """Let every lease have ended, without waiting for it."""
    for delivery in broker.zrange(KEYS.deadlines, 0, -1):
        broker.zadd(KEYS.deadlines, {delivery: 1})


def test_takes_the_oldest_first(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a", "b", "c")
    assert messages(leases.take("q", 2, claim=True)) == [b"a", b"b"]
    assert messages(leases.take("q", 2, claim=True)) == [b"c"]


def test_takes_urgent_lists_first(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "least", list_number=3)
    push(broker, "most", list_number=0)
    push(broker, "more", list_number=1)
    assert messages(leases.take("q", 9, claim=True)) == [b"most", b"more", b"least"]


def test_a_taken_job_is_recorded_until_acknowledged(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a")
    taken = leases.take("q", 9, claim=True)
    assert broker.hvals(KEYS.messages) == [b"a"]
    assert QueueInspector(broker).depths(["q"])["q"]["leased"] == 1
    assert leases.ack("q", taken.leases) == set()
    assert leases.take("q", 9, claim=True).leases == []
    assert set(broker.keys("labelmill:q:*")) == {KEYS.deliveries.encode(), KEYS.seen.encode()}


def test_many_leases_are_renewed_and_given_back_in_portions(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, *map(str, range(2500)))
    taken = [lease for _ in range(3) for lease in leases.take("q", MAX_LEASES, claim=True).leases]
    assert len(taken) == 2500
    assert [len(some) for some in portions(taken)] == [1024, 1024, 452]
    stranger = taken[2000]._replace(attempt=7)

    assert leases.renew("q", [*taken[:2000], stranger, *taken[2001:]]) == {stranger.delivery}
    assert leases.release("q", taken) == 2500
    assert messages(leases.take("q", 3, claim=True)) == [b"0", b"1", b"2"]


def test_the_same_message_twice_is_two_deliveries(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a", "a")
    first, second = leases.take("q", 9, claim=True).leases
    leases.ack("q", [first])
    assert broker.hvals(KEYS.messages) == [b"a"]
    assert leases.ack("q", [second]) == set()


def test_an_expired_lease_is_claimed_with_the_next_attempt(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a")
    leases.take("q", 1, claim=True)
    expire(broker)
    again = leases.take("q", 9, claim=True).leases
    assert [(lease.message, lease.attempt) for lease in again] == [(b"a", 2)]


def lose_a_reply(leases: Leases, queue: str = "q", limit: int = 9) -> list[bytes]:
    """Let a group be handed out to a worker that never hears of it; its messages."""
    call = leases._calls.setdefault(queue, 1)
    return messages(leases._hand_out(queue, limit, call, claim=True))


def test_a_take_whose_reply_was_lost_brings_the_same_group(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a", "b")
    assert lose_a_reply(leases) == [b"a", b"b"]
    push(broker, "c")
    again = leases.take("q", 9, claim=True).leases
    assert [(each.message, each.starts) for each in again] == [(b"a", 1), (b"b", 1)]
    assert messages(leases.take("q", 9, claim=True)) == [b"c"]


def test_nothing_is_kept_of_a_worker_that_died_with_all_its_jobs_done(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a")
    dead = Leases(broker, duration=30)
    dead.ack("q", dead.take("q", 9, claim=True).leases)
    assert broker.hlen(KEYS.unstarted) == 1
    assert leases.take("q", 9, claim=True).leases == []
    assert not broker.exists(KEYS.unstarted)


def test_who_asks_for_the_next_group_has_begun_with_the_last_one(
    broker: redis.Redis, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the note of that did not get to Redis."""
    monkeypatch.setattr(leases._notes, "send", lambda *_: None)
    push(broker, "a")
    leases.take("q", 1, claim=True)
    assert leases.take("q", 1, claim=True).leases == []
    expire(broker)
    assert SettledLeases(broker, 30).take("q", 1, claim=True).leases[0].starts == 2


def test_a_note_that_redis_does_not_take_harms_nobody(broker: redis.Redis, leases: Leases) -> None:
    for number in range(3):
        push(broker, f"m{number}")
        assert messages(leases.take("q", 1, claim=True)) == [b"m%d" % number]
        broker.client_kill_filter(_type="normal", skipme=True)


def test_a_group_that_nobody_began_goes_back_as_if_never_taken(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "b", "c")
    push(broker, "a", list_number=0)
    push(broker, "d", list_number=3)
    assert lose_a_reply(Leases(broker, 30)) == [b"b", b"c", b"a", b"d"]
    expire(broker)
    again = leases.take("q", 9, claim=False)  # by full hands, too
    assert messages(again) == [b"b", b"c", b"a", b"d"]
    assert {each.starts for each in again.leases} == {1}


def test_a_claim_that_nobody_began_does_not_count(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a")
    leases.take("q", 1, claim=True)
    for _ in range(3):
        expire(broker)
        assert lose_a_reply(Leases(broker, 30)) == [b"a"]
    expire(broker)
    [lease] = leases.take("q", 1, claim=True).leases
    assert (lease.attempt, lease.starts) == (5, 2)


def test_a_worker_that_outlives_its_lease_was_not_ended_by_the_job(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a")
    [lost] = leases.take("q", 1, claim=True).leases
    expire(broker)
    assert leases.take("q", 1, claim=True).leases[0].starts == 2
    for _ in range(2):  # the second one as after a lost reply
        assert leases.renew("q", [lost]) == {lost.delivery}
    expire(broker)
    assert leases.take("q", 1, claim=True).leases[0].starts == 2


def test_after_a_standstill_workers_have_a_moment_to_renew(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a", "b")
    kept, lost = leases.take("q", 2, claim=True).leases
    expire(broker)
    broker.delete(KEYS.seen)  # as it is when nobody could ask for half a lease
    other = SettledLeases(broker, 30)
    push(broker, "c")
    assert messages(other.take("q", 9, claim=True)) == [b"c"]
    assert leases.renew("q", [kept]) == set()
    broker.zadd(KEYS.deadlines, {lost.delivery: 1})
    assert messages(other.take("q", 9, claim=True)) == [b"b"]


def test_a_standstill_is_forgiven_once(broker: redis.Redis) -> None:
    """Or busy workers, which seldom ask, would never claim what a dead one has left."""
    dead, busy = SettledLeases(broker, 0.5), SettledLeases(broker, 0.5)
    push(broker, "a")
    dead.take("q", 1, claim=True)
    expire(broker)
    broker.delete(KEYS.seen)
    assert busy.take("q", 1, claim=True).leases == []
    wait_for(lambda: broker.zcount(KEYS.deadlines, "-inf", now_ms(broker)))
    broker.delete(KEYS.seen)
    [lease] = busy.take("q", 1, claim=True).leases
    assert (lease.message, lease.starts) == (b"a", 2)


def now_ms(broker: redis.Redis) -> int:
    seconds, microseconds = broker.time()
    return int(seconds * 1000 + microseconds // 1000)


@pytest.mark.parametrize("key", ["messages", "attempts", "excused", "unstarted", "delayed"])
def test_a_key_of_another_application_has_nothing_popped(
    broker: redis.Redis, leases: Leases, key: str
) -> None:
    push(broker, "a")
    broker.set(getattr(KEYS, key), "another's")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        leases.take("q", 9, claim=True)
    assert broker.lrange("q", 0, -1) == [b"a"]
    broker.delete(getattr(KEYS, key))
    assert messages(leases.take("q", 9, claim=True)) == [b"a"]


def test_what_came_of_other_lists_is_handed_out(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a")
    broker.set(KEYS.lists[2], "another's")
    assert messages(leases.take("q", 9, claim=True)) == [b"a"]
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        leases.take("q", 9, claim=True)


def test_expired_leases_are_claimed_one_by_one_and_before_new_jobs(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a", "b")
    leases.take("q", 2, claim=True)
    expire(broker)
    push(broker, "new")
    assert messages(leases.take("q", 9, claim=True)) == [b"a"]
    assert messages(leases.take("q", 9, claim=True)) == [b"b"]
    assert messages(leases.take("q", 9, claim=True)) == [b"new"]


def test_full_hands_claim_nothing_and_learn_that_leases_wait(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a")
    leases.take("q", 1, claim=True)
    expire(broker)
    push(broker, "new")
    taken = leases.take("q", 9, claim=False)
    assert (taken.leases, taken.expired) == ([], 1)


def test_a_lost_lease_cannot_be_acknowledged(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a")
    [lost] = leases.take("q", 1, claim=True).leases
    expire(broker)
    [current] = leases.take("q", 1, claim=True).leases
    assert leases.ack("q", [lost]) == {lost.delivery}
    assert broker.hvals(KEYS.messages) == [b"a"]
    assert leases.ack("q", [current]) == set()


def test_renewal_keeps_a_lease_and_tells_of_a_lost_one(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a", "b")
    kept, lost = leases.take("q", 2, claim=True).leases
    broker.zadd(KEYS.deadlines, {lost.delivery: 1})
    leases.take("q", 1, claim=True)
    broker.zadd(KEYS.deadlines, {kept.delivery: 1})
    assert leases.renew("q", [kept, lost]) == {lost.delivery}
    assert leases.take("q", 1, claim=True).expired == 0


def test_release_puts_first_attempts_back_at_the_head(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a", "b", "c", "d")
    taken = leases.take("q", 3, claim=True).leases
    assert leases.release("q", taken) == 3
    assert [broker.lindex("q", i) for i in (-1, -2, -3, -4)] == [b"a", b"b", b"c", b"d"]
    assert leases.take("q", 1, claim=True).leases[0].attempt == 1


def test_release_goes_back_to_the_list_it_came_from(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a", list_number=2)
    leases.release("q", leases.take("q", 1, claim=True).leases)
    assert broker.lrange(KEYS.lists[2], 0, -1) == [b"a"]


def test_a_released_later_attempt_keeps_its_number(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a")
    leases.take("q", 1, claim=True)
    expire(broker)
    leases.release("q", leases.take("q", 1, claim=True).leases)
    assert leases.take("q", 1, claim=True).leases[0].attempt == 2


def test_a_delayed_job_is_due_at_its_eta_as_a_first_attempt(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a")
    [lease] = leases.take("q", 1, claim=True).leases
    assert leases.delay(lease, leases.now() + timedelta(hours=1))
    empty = leases.take("q", 1, claim=True)
    assert empty.leases == []
    assert empty.due_in == pytest.approx(3600, abs=30)
    broker.zadd(KEYS.delayed, {lease.delivery: 1})
    [due] = leases.take("q", 1, claim=True).leases
    assert (due.message, due.attempt) == (b"a", 1)


def test_buried_jobs_are_dead_letters(broker: redis.Redis, leases: Leases) -> None:
    push(broker, "a")
    leases.bury("q", leases.take("q", 1, claim=True).leases)
    assert broker.lrange(KEYS.dead, 0, -1) == [b"a"]
    assert not broker.exists(KEYS.messages)


def test_scripts_come_back_after_the_server_forgot_them(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "a")
    broker.script_flush()
    assert messages(leases.take("q", 1, claim=True)) == [b"a"]


def test_numbers_are_not_given_again_by_a_server_that_lost_its_data(
    broker: redis.Redis, leases: Leases
) -> None:
    push(broker, "old")
    [old] = leases.take("q", 1, claim=True).leases
    broker.flushall()
    push(broker, "new")
    [new] = leases.take("q", 1, claim=True).leases
    assert int(new.delivery) > int(old.delivery)
    assert leases.ack("q", [old]) == {old.delivery}
    assert broker.hvals(KEYS.messages) == [b"new"]


def test_largest_group_is_taken_and_acknowledged(broker: redis.Redis, leases: Leases) -> None:
    push(broker, *(str(number) for number in range(1024)))
    taken = leases.take("q", 1024, claim=True)
    assert len(taken.leases) == 1024
    assert leases.ack("q", taken.leases) == set()


def test_the_keeper_outlives_short_leases(broker: redis.Redis) -> None:
    leases = Leases(broker, duration=0.5)
    beats: list[int] = []
    keeper = LeaseKeeper(leases, lambda: beats.append(1))
    push(broker, "a")
    keeper.hold(leases.take("q", 1, claim=True).leases)
    delivery = keeper.held()[0].delivery
    first = broker.zscore(KEYS.deadlines, delivery)
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    wait_for(lambda: broker.zscore(KEYS.deadlines, delivery) > first + 1000)
    keeper.stop()
    thread.join()
    assert leases.take("q", 1, claim=True).expired == 0
    assert len(beats) >= 2


def test_the_keeper_lets_go_of_a_lost_lease(broker: redis.Redis, leases: Leases) -> None:
    keeper = LeaseKeeper(leases, lambda: None)
    push(broker, "a")
    taken = leases.take("q", 1, claim=True).leases
    keeper.hold(taken)
    expire(broker)
    leases.take("q", 1, claim=True)
    keeper.renew()
    assert keeper.held() == []
    assert not keeper.holds(taken[0])
