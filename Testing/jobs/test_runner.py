"""The worker process as a panel uses it: progress, result, warm reuse, cancel, crash, kill, no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from DeepRegistrationLib.jobs import JobFolder, Runner
from DeepRegistrationLib.jobs.processes import is_alive

LAUNCH = [sys.executable, str(Path(__file__).with_name("with_tiny.py"))]


@pytest.fixture(scope="module")
def runner():
    with Runner(LAUNCH) as runner:
        yield runner


@pytest.fixture
def submit(runner, tmp_path, image_files):
    def go(on=runner, **problem):
        folder = JobFolder.create(tmp_path)
        folder.write_problem({"method": "tiny", "values": {}, "inputs": dict(image_files), **problem})
        return on.submit(folder)

    return go


def wait(job, seconds=60.0, until=lambda event: event.is_last):
    """Every event up to the first that `until` is true of."""
    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        for event in job.poll():
            seen.append(event)
            if until(event):
                return seen
        time.sleep(0.01)
    raise AssertionError(f"nothing came in {seconds} s; log: {job.log_text()}")


def running(job):
    """Wait until the method is at work."""
    return wait(job, until=lambda event: event.stage == "Moving")


def pid_of(job):
    return job._worker._process.pid


def test_a_job_reports_progress_and_ends_with_its_result(submit):
    job = submit(values={"seconds": 0.5})
    events = wait(job)
    assert job.finished and job.poll() == []
    fractions = [e.fraction for e in events if e.kind == "progress"]
    assert fractions == sorted(fractions) and len(fractions) > 3
    assert {"Reading the images", "Measuring the deformation", "Writing"} <= {e.stage for e in events}
    last = events[-1]
    assert last.kind == "result"
    assert last.data["provenance"]["method"] == "tiny"
    assert last.data["metrics"]["deformation"]["folding_percent"] == 0
    for name in ("transform", "moved", "jacobian", "inverse", "metrics", "provenance"):
        assert Path(last.data["files"][name]).is_file()
    assert last.data["files"]["moved"].endswith(".nrrd")


def test_the_process_stays_warm(submit):
    first = submit()
    wait(first)
    second = submit()
    wait(second)
    assert pid_of(first) == pid_of(second)


def test_a_second_job_at_the_same_time_gets_a_process_of_its_own(submit):
    slow = submit(values={"seconds": 20})
    running(slow)
    quick = submit()
    assert wait(quick)[-1].kind == "result"
    assert pid_of(quick) != pid_of(slow)
    slow.cancel()


def test_wrong_input_is_a_sentence_and_leaves_the_process_warm(submit, runner):
    before = submit()
    wait(before)
    job = submit(inputs={"fixed": "nowhere.nrrd", "moving": "nowhere.nrrd"})
    last = wait(job)[-1]
    assert last.kind == "error" and last.category == "input"
    assert "nowhere.nrrd" in last.text and "does not exist" in last.text
    assert not job.folder.results.exists()
    again = submit()
    assert wait(again)[-1].kind == "result"
    assert pid_of(again) == pid_of(before)


def test_cancel_ends_the_whole_process_tree_within_a_second(submit):
    job = submit(values={"seconds": 30})
    running(job)
    pid = pid_of(job)
    begun = time.monotonic()
    job.cancel()
    assert time.monotonic() - begun < 1.0
    last = job.poll()[-1]
    assert last.category == "cancelled" and job.finished
    assert not is_alive(pid)
    assert not job.folder.results.exists() or not list(job.folder.results.iterdir())
    assert wait(submit())[-1].kind == "result"


def test_cancel_reaches_processes_started_by_the_worker(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    with Runner([sys.executable, str(script)]) as runner:
        job = runner.submit(JobFolder.create(tmp_path))
        child = int(wait(job, until=lambda e: e.kind == "log")[-1].text)
        assert is_alive(child)
        job.cancel()
        deadline = time.monotonic() + 1.0
        while _runs(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _runs(child)


def _runs(pid):
    """False also for a process that has ended but that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False if Path("/proc/self").exists() else is_alive(pid)
    return state not in "ZX"


def test_cancel_wins_over_a_result_nobody_has_seen(submit):
    job = submit()
    deadline = time.monotonic() + 60
    while not job._closed and time.monotonic() < deadline:
        time.sleep(0.01)
    job.cancel()
    events = job.poll()
    assert [e.kind for e in events if e.is_last] == ["error"] and events[-1].category == "cancelled"


def test_cancel_after_the_end_changes_nothing(submit):
    job = submit()
    wait(job)
    job.cancel()
    assert job.poll() == [] and is_alive(pid_of(job))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "category", "words"), [("SIGKILL", "killed", "outside"), ("SIGSEGV", "crash", "SIGSEGV")]
)
def test_a_process_that_dies_is_a_sentence_with_its_log(submit, number, category, words, monkeypatch):
    monkeypatch.setattr("DeepRegistrationLib.jobs.runner.oom_kills", lambda: 0)
    job = submit(values={"seconds": 30})
    running(job)
    os.kill(pid_of(job), getattr(signal, number))
    last = wait(job, 10)[-1]
    assert last.category == category and words in last.text and "\n" not in last.text
    assert wait(submit())[-1].kind == "result"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_kill_for_want_of_memory_is_told_apart(submit, monkeypatch):
    kills = iter(range(100))
    monkeypatch.setattr("DeepRegistrationLib.jobs.runner.oom_kills", lambda: next(kills))
    job = submit(values={"seconds": 30})
    running(job)
    os.kill(pid_of(job), signal.SIGKILL)
    last = wait(job, 10)[-1]
    assert last.category == "memory" and "ran out of memory" in last.text


def test_memory_that_runs_out_inside_the_method_is_a_sentence(submit):
    last = wait(submit(values={"fail": "memory"}))[-1]
    assert last.category == "memory" and "out of memory" in last.text


def test_an_error_of_the_program_keeps_its_traceback_in_the_log(submit):
    job = submit(values={"fail": "bug"})
    last = wait(job)[-1]
    assert last.category == "crash" and "a bug on purpose" in last.text and "\n" not in last.text
    deadline = time.monotonic() + 2
    while "Traceback" not in job.log_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "Traceback" in job.log_text()
    assert "Traceback" in job.folder.log.read_text(encoding="utf-8")


def test_a_process_that_cannot_load_is_a_sentence(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("import there_is_no_such_package\n")
    with Runner([sys.executable, str(script)]) as runner:
        job = runner.submit(JobFolder.create(tmp_path))
        last = wait(job, 10)[-1]
        assert last.category == "crash" and "there_is_no_such_package" in last.text
        assert "Traceback" in job.log_text()


def test_a_python_that_is_not_there_is_a_sentence(tmp_path):
    with Runner([str(tmp_path / "no-python")]) as runner:
        last = wait(runner.submit(JobFolder.create(tmp_path)), 5)[-1]
    assert last.category == "crash" and "no-python" in last.text


def test_close_ends_every_process(tmp_path, image_files):
    runner = Runner(LAUNCH)
    folder = JobFolder.create(tmp_path)
    folder.write_problem({"method": "tiny", "values": {"seconds": 30}, "inputs": dict(image_files)})
    job = runner.submit(folder)
    running(job)
    pid = pid_of(job)
    runner.close()
    assert not is_alive(pid)
    assert job.poll()[-1].category == "cancelled"


@pytest.mark.parametrize("seconds", [0, 30])
def test_no_orphan_outlives_its_owner(tmp_path, image_files, seconds):
    """The worker ends with its standard input: idle, and in the middle of a job."""
    command = [*LAUNCH, "-m", "DeepRegistrationLib", "worker"]
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    if seconds:
        folder = JobFolder.create(tmp_path)
        folder.write_problem({"method": "tiny", "values": {"seconds": seconds}, "inputs": dict(image_files)})
        worker.stdin.write(f"{folder.path}\n".encode())
        worker.stdin.flush()
        while b'"Moving"' not in worker.stdout.readline():
            pass
    worker.stdin.close()
    assert worker.wait(10) == 0


def test_a_worker_runs_named_jobs_and_returns(tmp_path, image_files):
    folder = JobFolder.create(tmp_path)
    folder.write_problem({"method": "tiny", "inputs": dict(image_files)})
    done = subprocess.run(
        [*LAUNCH, "-m", "DeepRegistrationLib", "worker", str(folder.path)], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert b'"kind": "result"' in done.stdout.splitlines()[-1]


def test_what_a_library_prints_goes_to_the_log_and_not_among_the_events(tmp_path):
    program = (
        "import os, sys; from DeepRegistrationLib.jobs import worker\n"
        "channel = worker._claim_stdout(); print('from Python'); sys.stdout.flush()\n"
        "os.write(1, b'from C'); channel.write(b'event'); channel.flush()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=Path(LAUNCH[1]).parents[2]
    )
    assert done.stdout == b"event"
    assert b"from Python" in done.stderr and b"from C" in done.stderr
