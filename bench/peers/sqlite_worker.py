"""`python -m bench.peers.sqlite_worker FILE`: holds a SQLite database and does what its standard input says.

A line is "KIND KEYS SECONDS OPERATIONS SEED"; the answer has the form of the load generator's, then "end".
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time
from collections import Counter
from typing import Final

from bench.generator.dialects import KEY, LAST, LOG
from bench.generator.plan import KEY_DIGITS, KEY_MARK

VALUE_BYTES: Final = 200
_NOISE_BYTES: Final = 1 << 20
_PRAGMAS: Final = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -262144")
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS log (position INTEGER PRIMARY KEY, log_id TEXT NOT NULL, value BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS log_by_id ON log (log_id, position)",
)
_STATEMENTS: Final = {
    "get": "SELECT value FROM state WHERE key = ?",
    "put": "INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    "append": "INSERT INTO log (log_id, value) VALUES (?, ?)",
    "last": f"SELECT position, value FROM log WHERE log_id = ? ORDER BY position DESC LIMIT {LAST}",
}
_LOGS: Final = ("append", "last")


def work(database: sqlite3.Connection, kind: str, keys: int, seconds: float, operations: int, seed: int) -> None:
    """Do operations of one kind, for a number of seconds or so many one key after the other; print the outcome."""
    statement = _STATEMENTS[kind]
    rng = random.Random(seed)
    pool = rng.randbytes(_NOISE_BYTES)
    prefix = (LOG if kind in _LOGS else KEY).removesuffix(KEY_MARK).decode()
    writes = kind in ("put", "append")
    counts: Counter[int] = Counter()
    missing = done = 0
    clock, pick = time.perf_counter_ns, rng.random
    now = started = clock()
    until = started + int(seconds * 1e9)
    while done < operations if operations else now < until:
        number = done % keys if operations else int(pick() * keys)
        name = f"{prefix}{number:0{KEY_DIGITS}}"
        if writes:
            at = int(pick() * (_NOISE_BYTES - VALUE_BYTES))
            database.execute(statement, (name, pool[at : at + VALUE_BYTES]))
        elif not database.execute(statement, (name,)).fetchall():
            missing += 1
        before, now = now, clock()
        counts[(now - before) // 100 * 100] += 1
        done += 1
    print(f"window {(now - started) / 1e9}\nissued {done}\nanswered {done}\nin_time {done}\nkind {kind} 0 {missing}")
    for value, count in counts.items():
        print(f"latency 0 {value} {count}")


def main() -> None:
    """Serve until the input ends."""
    os.umask(0o077)
    with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        for statement in _SCHEMA:
            database.execute(statement)
        for line in sys.stdin:
            kind, keys, seconds, operations, seed = line.split()
            if kind in _STATEMENTS:
                # A load is one transaction: at a sync for each row it would take longer than the bench.
                database.execute("BEGIN" if int(operations) else "SELECT 1")
                work(database, kind, int(keys), float(seconds), int(operations), int(seed))
                if database.in_transaction:
                    database.execute("COMMIT")
            elif kind == "compact":
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            print("end", flush=True)


if __name__ == "__main__":
    main()
