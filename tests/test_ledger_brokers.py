"""The ledger of waits on each kind of Redis that Celery can be given."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from brokers import WITH_WORKER_HERE, free_port, until
from celery import Celery
from duomi._celery.sweep import sweep
from duomi.celery import register
from redis import ConnectionError as RedisConnectionError
from redis import Redis

pytestmark = WITH_WORKER_HERE

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "another database": ("redis://127.0.0.1:{port}/7", {}),
    "a prefix": ("redis://127.0.0.1:{port}/0", {"global_keyprefix": "shop-"}),
    "priorities": ("redis://127.0.0.1:{port}/0", {"priority_steps": [0, 5], "queue_order_strategy": "priority"}),
    "a socket": ("redis+socket://{folder}/redis.sock?virtual_host=3", {}),
    "TLS": ("rediss://127.0.0.1:{tls_port}/0?ssl_cert_reqs=required&ssl_ca_certs={folder}/ca.pem", {}),
    "Sentinel": ("sentinel://127.0.0.1:{sentinel_port}/0", {"master_name": "waits"}),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Start a Redis with a port, a socket and TLS, and a Sentinel that knows it."""
    folder = tmp_path_factory.mktemp("ways")
    port, tls_port, sentinel_port = free_port(), free_port(), free_port()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "redis.pem")
    (folder / "sentinel.conf").write_text(
        f"port {sentinel_port}\nbind 127.0.0.1\nsentinel monitor waits 127.0.0.1 {port} 1\n", encoding="utf-8"
    )
    options = {
        "port": port, "bind": "127.0.0.1", "save": "", "unixsocket": "redis.sock", "tls-port": tls_port,
        "tls-cert-file": "redis.pem", "tls-key-file": "redis.pem", "tls-ca-cert-file": "ca.pem", "tls-auth-clients": "no",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    running = [
        subprocess.Popen(["redis-server", *arguments], cwd=folder, stdout=subprocess.DEVNULL)
        for arguments in (words, ["sentinel.conf", "--sentinel"])
    ]

    def is_known() -> bool:
        assert all(process.poll() is None for process in running), "Redis does not start"
        with (
            contextlib.suppress(RedisConnectionError),
            Redis(port=port) as redis,
            Redis(port=sentinel_port) as sentinel,
        ):
            return bool(redis.ping() and sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "waits"))
        return False

    until(is_known)
    yield {"port": port, "tls_port": tls_port, "sentinel_port": sentinel_port, "folder": quote(str(folder))}
    for process in running:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("way", WAYS)
def test_a_wait_is_sent_again_on_each_kind_of_redis(places: dict[str, Any], way: str) -> None:
    """Whatever leads to the broker's Redis, the ledger is in it, and a lost message comes again."""
    url, options = WAYS[way]
    app: Any = Celery(way, broker=url.format(**places), broker_transport_options=options)
    task: Any = register(app, revive_after=0.001)
    sent = task.apply_async(("one",), priority=5 if way == "priorities" else None)
    with app.connection() as connection:
        channel: Any = connection.default_channel
        assert channel._size("celery") == 1
        channel._purge("celery")
        until(lambda: sweep(task.ledger))
        message = channel.basic_get("celery")

        assert message.headers["id"] == sent.id
        assert channel._size("celery") == 0
        channel.basic_ack(message.delivery_tag)
    task.ledger.end(message.headers["duomi_wait"])
    app.close()
