"""celery_client.py setup | closed COUNT CONNECTIONS 0 | open COUNT CONNECTIONS RATE

Submits one by one from so many connections, spread over a process for each core. Open loop: task number i is due
i / RATE seconds after the start, however long others take. Prints {"per_second"}.
"""

import json
import multiprocessing
import os
import sys
import threading
import time

os.environ["BENCH_CLIENT"] = "1"
from celery_app import app, noop  # noqa: E402


def submit(numbers, lock, began, rate, producer):
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        due = time.time()
        if rate:
            due = began + number / rate
            time.sleep(max(0, due - time.time()))
        noop.apply_async((due,), producer=producer)


def process(first, step, count, threads, rate, barrier, start, results):
    producers = []
    for _ in range(threads):
        connection = app.connection_for_write()
        connection.ensure_connection()
        producers.append(app.amqp.Producer(connection, auto_declare=False))
    numbers, lock = iter(range(first, count, step)), threading.Lock()
    barrier.wait()
    if first == 0:
        start.value = time.time() + 0.05
    barrier.wait()
    time.sleep(max(0, start.value - time.time()))
    all_threads = [threading.Thread(target=submit, args=(numbers, lock, start.value, rate, producer))
                   for producer in producers]
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()
    results.put(time.time())


def main():
    if sys.argv[1] == "setup":
        with app.backend.ResultSession():
            pass  # the tables are made
        print("{}")
        return
    count, connections, rate = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    processes = max(2, os.cpu_count() or 2)
    barrier, start, results = multiprocessing.Barrier(processes), multiprocessing.Value("d"), multiprocessing.Queue()
    all_processes = [
        multiprocessing.Process(target=process, args=(i, processes, count, connections // processes, rate, barrier, start,
                                                      results)) for i in range(processes)]
    for one in all_processes:
        one.start()
    ended = max(results.get() for _ in all_processes)
    for one in all_processes:
        one.join()
    print(json.dumps({"per_second": count / (ended - start.value)}))


main()
