"""The Celery application: it carries hints that wake workers, never jobs."""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue

from visionseg.queue.lanes import Lane

LOOK = "visionseg.look"
"""The one task: look in this lane. Its message carries no id."""

SETTINGS = {
    # PostgreSQL holds every result; a result backend would be a second truth.
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    # Early acknowledgement: the lease brings a unit back, redelivery would double hints.
    "task_acks_late": False,
    "worker_prefetch_multiplier": 1,
    # A worker that computes takes no hint away from one that is idle.
    "worker_disable_prefetch": True,
    # CUDA cannot be used after a fork.
    "worker_pool_start_method": "spawn",
    # The default of 4 s kills every replacement child while a model loads.
    "worker_proc_alive_timeout": 900,
    # No time limits: a download may take an hour. Who no longer renews its lease is ended instead.
    # Control comes from the database: no revoke, no inspect, no events.
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    # Units go on while Redis is away: the database is the truth.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # A publisher never waits for the broker: the sweeper makes up for lost hints.
    "task_publish_retry": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}
TRANSPORT = {
    "visibility_timeout": 600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    # A worker whose Redis fell silent hears no hints until this ran out about twice.
    "health_check_interval": 5,
    "max_retries": 0,
}
PUBLISHER_SOCKET_TIMEOUT_S = 1


def make_app(broker_url: str, *, publisher: bool, include: tuple[str, ...] = ()) -> Celery:
    """The application of a worker, or of a publisher: that one gives up on a socket after 1 s."""
    app = Celery("visionseg", broker=broker_url, backend=None, include=list(include))
    transport = dict(TRANSPORT)
    if publisher:
        transport |= {"socket_timeout": PUBLISHER_SOCKET_TIMEOUT_S, "socket_connect_timeout": 1}
    app.conf.update(
        SETTINGS,
        broker_transport_options=transport,
        task_queues=[_queue(lane) for lane in Lane],
        task_create_missing_queues=False,
        task_default_queue=Lane.MEDIA.value,
    )
    return app


def _queue(lane: Lane) -> Queue:
    return Queue(lane.value, routing_key=lane.value)  # type: ignore[no-untyped-call]  # kombu's
