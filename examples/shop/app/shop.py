"""A small shop: `web`, `api`, `worker`, `migrate` and `report`, by the first argument."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import redis

# The load balancer of this node.
HERE = "rest.service.consul"
QUEUE = "orders"


def database():
    password = Path("/run/secrets/db_password").read_text().strip()
    return psycopg2.connect(host=HERE, dbname="shop", user="shop", password=password, connect_timeout=3)


def queue():
    return redis.Redis(host=HERE, socket_connect_timeout=3, socket_timeout=30)


# The database or the queue is away: it starts, moves to another node, or is restored. A transaction whose connection is lost
# ends with an InterfaceError.
AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError, redis.RedisError)


def patiently(work, seconds=100, away=(*AWAY, psycopg2.errors.UndefinedTable)):
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except away as error:
            if time.monotonic() > end:
                raise
            print(f"waits: {str(error).splitlines()[0]}")
            time.sleep(1)


# However many requests wait: a database that has just come back must not be overrun.
TURN = threading.Semaphore(10)


def run(statement, values=()):
    with TURN, contextlib.closing(database()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def orders(handler):
    """POST adds an order, whose key makes a repeated request harmless; GET counts them."""
    if handler.command == "POST":
        length = int(handler.headers.get("Content-Length", 0))
        order = json.loads(handler.rfile.read(length))
        key, item = str(order["key"]), str(order["item"])
        patiently(lambda: run("insert into orders (key, item) values (%s, %s) on conflict do nothing", (key, item)))
        patiently(lambda: queue().lpush(QUEUE, key))
        return {"key": key}
    [(total, packed)] = patiently(lambda: run("select count(*), count(packed) from orders"))
    return {"orders": total, "packed": packed}


def front(handler):
    with urllib.request.urlopen(f"http://{HERE}/shop/api", timeout=110) as answer:
        counts = json.load(answer)
    return f"<!doctype html><title>Shop</title><h1>{counts['orders']} orders, {counts['packed']} packed</h1>\n"


def serve(answer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Sends an answer whole: as long as none has begun, the load balancer may ask another instance.
        wbufsize = -1

        def do_GET(self):
            try:
                status, content = (200, "ok") if self.path == "/health" else (200, answer(self))
            except (KeyError, ValueError) as error:
                status, content = 400, {"error": str(error)}
            except (psycopg2.Error, redis.RedisError, OSError) as error:
                print(f"failed: {error}")
                status, content = 503, {"error": "try again later"}
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(content, str) else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 100
        # Requests that are going on end first.
        daemon_threads = False

    server = Server(("", 8080), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


def worker():
    """Packs orders. What the queue has lost, the database still knows."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        taken = patiently(lambda: queue().brpop(QUEUE, timeout=5), 3600)
        keys = [taken[1].decode()] if taken else None
        patiently(
            lambda: run("update orders set packed = now() where packed is null and (%s::text[] is null or key = any(%s))", (keys, keys)),
            3600,
        )


def migrate():
    """Each file of migrations/ once, in order, all in one transaction."""

    def apply():
        connection = database()
        with connection, connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(1)")
            cursor.execute("create table if not exists migrations (name text primary key)")
            cursor.execute("select name from migrations")
            done = {name for (name,) in cursor.fetchall()}
            for file in sorted(Path(__file__).with_name("migrations").glob("*.sql")):
                if file.name not in done:
                    print(f"applies {file.name}")
                    cursor.execute(file.read_text())
                    cursor.execute("insert into migrations values (%s)", (file.name,))
        connection.close()

    patiently(apply, away=AWAY)


def report():
    [(total, packed)] = patiently(lambda: run("select count(*), count(packed) from orders"))
    print(f"{total} orders, {packed} packed")


commands = {"web": lambda: serve(front), "api": lambda: serve(orders), "worker": worker, "migrate": migrate, "report": report}
commands[sys.argv[1]]()
