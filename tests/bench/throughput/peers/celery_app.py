"""Celery as its users run it when nothing may be lost: acks after the work, persistent messages, results kept."""

import os
import struct
import time

from celery import Celery
from celery.signals import worker_process_init

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.update(
    task_acks_late=True,
    task_default_delivery_mode="persistent",
    broker_transport_options={"confirm_publish": True},
    broker_pool_limit=None if os.environ.get("BENCH_CLIENT") else 10,
    worker_prefetch_multiplier=4,  # its default; 32 is no faster here
)
starts = None


@worker_process_init.connect
def open_starts(**_):
    global starts
    starts = os.open(f"{os.environ['BENCH_STARTS']}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@app.task(name="noop")
def noop(due):
    os.write(starts, struct.pack("<dd", time.time(), due))
