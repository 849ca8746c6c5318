from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import psutil
import pytest
from rich.console import Console

from keyfpn.benchmarks.engine import pool as pool_module
from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.engine.pool import Pool, Task, progress

# Worker processes find what they run by module and name, and pytest's importlib mode hides this file from them.
# So these tests run what the standard library has.


def tasks(*expressions: str) -> list[Task]:
    return [Task(f"picture {index}.jpg", (expression,)) for index, expression in enumerate(expressions)]


def pool(workers: int = 2) -> Pool:
    return Pool(eval, setup=os.putenv, setup_arguments=("KEYFPN_TEST", "1"), workers=workers)


def test_all_results_come_back_with_their_tasks_from_workers_of_one_thread() -> None:
    threads = "__import__('torch').get_num_threads()"
    done = {task.arguments[0]: result for task, result in pool().run(tasks("1 + 1", "2 + 2", threads))}
    assert done == {"1 + 1": 2, "2 + 2": 4, threads: 1}


def test_no_task_is_no_work() -> None:
    assert list(pool().run([])) == []


def test_an_error_names_the_picture_and_what_went_wrong() -> None:
    with pytest.raises(BenchmarkError, match=r"picture 1\.jpg: ZeroDivisionError: division by zero"):
        list(pool().run(tasks("1", "1 / 0")))


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(BenchmarkError, match="a worker process was killed"):
        list(pool(1).run(tasks("__import__('os').kill(__import__('os').getpid(), 9)")))


def test_closing_early_ends_the_workers() -> None:
    results = pool(1).run(tasks("__import__('os').getpid()", "__import__('time').sleep(600)"))
    _, worker = next(results)
    assert psutil.pid_exists(worker)
    results.close()
    assert _ends(worker)


def test_workers_do_not_outlive_a_killed_parent() -> None:
    program = """
import os
from keyfpn.benchmarks.engine.pool import Pool, Task
expressions = "__import__('os').getpid()", "__import__('time').sleep(600)"
pool = Pool(eval, setup=os.putenv, setup_arguments=("KEYFPN_TEST", "1"), workers=1)
for _, worker in pool.run([Task("picture.jpg", (expression,)) for expression in expressions]):
    print(worker, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert psutil.pid_exists(worker)
        parent.kill()
    assert _ends(worker)


def test_progress_writes_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 130.0, 170.0, 180.0])
    monkeypatch.setattr(pool_module.time, "monotonic", lambda: next(clock, 180.0))
    text = io.StringIO()
    with progress(Console(file=text, width=100), "measuring", 4) as advance:
        advance(1)  # after 30 s: too soon for a line
        advance(1)
        advance(2)
    assert text.getvalue().splitlines() == [
        "measuring: 2 of 4 after 70 s, about 70 s left",
        "measuring: 4 of 4 after 80 s, about 0 s left",
    ]


def _ends(worker: int) -> bool:
    try:
        # One that nobody has looked after since stays a zombie, which has ended, too.
        process = psutil.Process(worker)
        deadline = time.monotonic() + 30
        while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.1)
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
