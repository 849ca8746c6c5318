from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from keyfpn.benchmarks.engine.errors import WorkerError
from keyfpn.benchmarks.engine.pool import Pool, Task

# Worker processes find what they run by module and name, and pytest's importlib mode hides this file from them.
# So these tests run what the standard library has.


def tasks(*expressions: str) -> list[Task]:
    return [Task(f"picture {index}.jpg", (expression,)) for index, expression in enumerate(expressions)]


PID = "__import__('os').getpid()"


def test_all_results_come_back_with_their_tasks() -> None:
    with Pool(2) as pool:
        done = {task.arguments[0]: result for task, result in pool.run(eval, tasks("1 + 1", "2 + 2", PID))}
    assert (done["1 + 1"], done["2 + 2"]) == (2, 4)
    assert done[PID] != os.getpid()


def test_workers_stay_for_the_next_run_and_end_with_the_pool() -> None:
    with Pool(1) as pool:
        ((_, first),) = pool.run(eval, tasks(PID))
        ((_, second),) = pool.run(eval, tasks(PID))
        assert first == second
        assert psutil.pid_exists(first)
    assert _ends(first)


def test_no_task_is_no_work() -> None:
    with Pool(2) as pool:
        assert list(pool.run(eval, [])) == []


def test_an_error_names_the_picture_and_what_went_wrong_and_the_pool_goes_on() -> None:
    with Pool(2) as pool:
        expected = r"picture 1\.jpg: expected a result, found ZeroDivisionError: division by zero\. .*is kept"
        with pytest.raises(WorkerError, match=expected):
            list(pool.run(eval, tasks("1", "1 / 0")))
        ((_, result),) = pool.run(eval, tasks("1 + 1"))
        assert result == 2


def test_an_error_of_keyfpn_keeps_its_words_and_gets_the_picture() -> None:
    subjects = ("p2", "folder/picture 0.jpg")
    error = "__import__('keyfpn.protocol.errors', fromlist=['x']).FeatureError"
    raising = "(_ for _ in ()).throw({error}({subject!r}, 'finite numbers', 'NaN', 'Mend it.'))"
    with Pool(1) as pool:
        for subject, told in zip(subjects, ("picture 0.jpg: p2", "folder/picture 0.jpg"), strict=True):
            with pytest.raises(WorkerError) as caught:
                list(pool.run(eval, tasks(raising.format(error=error, subject=subject))))
            assert str(caught.value) == f"{told}: expected finite numbers, found NaN. Mend it."


def test_a_killed_worker_is_told() -> None:
    with Pool(1) as pool, pytest.raises(WorkerError, match=r"worker process: .* it was killed.* Try fewer --workers"):
        list(pool.run(eval, tasks(f"__import__('os').kill({PID}, 9)")))


def test_closing_early_ends_the_workers() -> None:
    results = Pool(1).run(eval, tasks(PID, "__import__('time').sleep(600)"))
    _, worker = next(results)
    assert psutil.pid_exists(worker)
    results.close()
    assert _ends(worker)


def test_an_interrupt_ends_the_workers() -> None:
    workers: list[int] = []

    def interrupted() -> None:
        with Pool(1) as pool:
            for _, worker in pool.run(eval, tasks(PID, "__import__('time').sleep(600)")):
                workers.append(worker)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _ends(*workers)


def test_workers_do_not_outlive_a_killed_parent() -> None:
    program = """
import os
from keyfpn.benchmarks.engine.pool import Pool, Task
expressions = "__import__('os').getpid()", "__import__('time').sleep(600)"
for _, worker in Pool(1).run(eval, [Task("picture.jpg", (expression,)) for expression in expressions]):
    print(worker, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert psutil.pid_exists(worker)
        parent.kill()
    assert _ends(worker)


def test_the_pool_needs_no_torch() -> None:
    program = "import sys, keyfpn.benchmarks.engine.pool; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


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
