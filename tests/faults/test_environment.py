"""The environment and the queues of another Celery app: nothing of ours is led astray."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
from redis import Redis

from labelmill.local.redis import RedisServer
from tests.support.waiting import wait_for
from tests.support.worker import Workers

CELERY = (sys.executable, "-m", "celery", "-A", "labelmill.worker")

SHOPS_SETTINGS = """
broker_url = "{url}"
task_default_queue = "orders"
broker_transport_options = {{"global_keyprefix": "shop:"}}
worker_pool = "prefork"
"""


class Shop:
    """Another Celery app with a Redis of its own, one of whose queues is called maintenance."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.broker = Redis.from_url(url)
        celery.Celery("shop", broker=url, set_as_current=False).send_task(
            "shop.tidy_up", queue="maintenance"
        )
        self._keys = sorted(self.broker.keys())

    def environment(self, folder: Path) -> dict[str, str]:
        """What its deployment sets, in one file for all containers."""
        (folder / "shop_settings.py").write_text(SHOPS_SETTINGS.format(url=self.url))
        return {
            "CELERY_BROKER_URL": self.url,
            "CELERY_BROKER_READ_URL": self.url,
            "CELERY_BROKER_WRITE_URL": self.url,
            "CELERY_RESULT_BACKEND": self.url,
            "CELERY_CONFIG_MODULE": "shop_settings",
            "CELERY_LOADER": "default",
            "CELERY_APP": "shop",
            "CELERY_CUSTOM_WORKER_POOL": "shop.pool:Pool",
            "CELERY_WORKER_QUEUES": "orders",
            "CELERY_WORKER_POOL": "processes",
            "CELERY_WORKER_CONCURRENCY": "8",
            "CELERY_WORKER_HOSTNAME": "shop@host",
            "CELERY_WORKER_PURGE": "1",
            "CELERY_BEAT_SCHEDULE": "/nowhere/schedule",
            "CELERY_RDBSIG": "1",
            "CELERYD_CONCURRENCY": "8",
            "FORKED_BY_MULTIPROCESSING": "1",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "BROKER_URL": self.url,
            "RESULT_BACKEND": self.url,
            "CONFIG_MODULE": "shop_settings",
            "LOADER": "default",
        }

    def was_left_alone(self) -> bool:
        """Whether nobody has been there since."""
        return sorted(self.broker.keys()) == self._keys and self.broker.llen("maintenance") == 1


@pytest.fixture
def shop(workers: Workers, tmp_path: Path) -> Iterator[Shop]:
    """The shop's environment is the workers', too."""
    with RedisServer() as server:
        shop = Shop(server.url)
        workers.settings |= shop.environment(tmp_path)
        yield shop


@pytest.mark.parametrize("by_celery", [False, True], ids=["labelmill worker", "celery worker"])
def test_a_worker_connects_to_its_own_redis_alone(
    workers: Workers, shop: Shop, by_celery: bool
) -> None:
    words = (*CELERY, "worker", "-n", "%n", "-l", "info") if by_celery else ()
    worker = workers.start(*words)
    ours = celery.Celery("ours", broker=workers.broker_url, set_as_current=False)
    with workers.client() as client:
        assert client.wait(client.submit_text("scripted", "one")).label == "one"
    inspect = ours.control.inspect([worker.name], timeout=20)
    assert inspect.ping() == {worker.name: {"ok": "pong"}}
    shown = inspect.conf()[worker.name]
    assert shown["result_backend"] == "labelmill.worker.no_results:NoResults"
    assert "global_keyprefix" not in str(shown)
    assert "not read: CELERY_APP, CELERY_BEAT_SCHEDULE" in worker.text()
    # What the command line of control says reaches it, too.
    answered = run(workers, "control", "cancel_consumer", "scripted")
    assert "scripted is paused" in " ".join(answered.stdout.split()), answered.stderr
    assert worker.terminate() == 0
    assert shop.was_left_alone()


def test_beat_asks_for_sweeps_there_too_and_writes_no_file(
    workers: Workers, shop: Shop, tmp_path: Path
) -> None:
    workers.configure(reconcile_every="0.2")
    beat = workers.start(*CELERY, "beat", "-l", "info", wait=False)
    with workers.broker() as broker:
        wait_for(lambda: broker.llen("labelmill.maintenance"))
    assert beat.terminate() == 0
    assert shop.was_left_alone()
    assert not [*tmp_path.glob("celerybeat*")]


@pytest.mark.parametrize(
    "option", [("-b", "redis://127.0.0.1:1/0"), ("--config", "shop_settings")], ids=" ".join
)
def test_an_option_that_leads_elsewhere_is_refused(
    workers: Workers, option: tuple[str, str]
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "celery", *option, "-A", "labelmill.worker", "inspect", "ping"],
        capture_output=True,
        text=True,
        cwd=workers.folder,
        env=workers.environment(),
    )
    assert ran.returncode == 2
    assert "LABELMILL_BROKER_URL says where" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_an_older_beat_sends_is_done_and_another_apps_tasks_stay(workers: Workers) -> None:
    app = celery.Celery("beat", broker=workers.broker_url, set_as_current=False)
    app.send_task("shop.tidy_up", queue="maintenance")
    app.send_task("labelmill.reconcile", queue="maintenance")
    with workers.broker() as broker:
        theirs = broker.lindex("maintenance", 1)
        broker.rpush("maintenance", "no json", "[]", '{"headers": 1}')
        worker = workers.start()
        wait_for(lambda: "looked at 0 jobs" in worker.text())
        # And while it runs.
        app.send_task("labelmill.reconcile", queue="maintenance")
        wait_for(lambda: worker.text().count("looked at 0 jobs") == 2)
        assert broker.lrange("maintenance", 0, -1) == [theirs, b"no json", b"[]", b'{"headers": 1}']


def test_a_list_of_another_name_and_type_is_none_of_its_business(workers: Workers) -> None:
    with workers.broker() as broker:
        broker.set("maintenance", "a string")
        workers.start()
        with workers.client() as client:
            assert client.wait(client.submit_text("scripted", "x")).label == "x"
        assert broker.get("maintenance") == b"a string"


def run(workers: Workers, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``celery -A labelmill.worker …``."""
    return subprocess.run(
        [*CELERY, *words],
        capture_output=True,
        text=True,
        cwd=workers.folder,
        env=workers.environment(),
    )
