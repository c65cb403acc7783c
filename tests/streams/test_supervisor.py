"""The supervisor: what ends is started anew, what waits is started in time, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

import pytest

from schemas.errors import CalstreamError
from schemas.records import ServiceRecord
from streams import supervisor as module
from streams.overview import Overview
from streams.roster import Service
from streams.site import Address
from streams.supervisor import HOPELESS, SUPERVISED, Managed, Supervisor, end_with_supervisor

PATIENT = 60.0
FOREVER = "import time\nwhile True: time.sleep(0.1)"


def until(condition, patience=PATIENT):
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


@pytest.fixture
def supervise(tmp_path, monkeypatch):
    """Make a supervisor of scripts that stand for commands of calstream; all are ended afterwards."""
    made = []
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c"))

    def make(*managed, where=None):
        said = []
        where = where or Address(bus=f"embedded:{tmp_path / 'bus'}", store=str(tmp_path / "store"))
        made.append(Supervisor(where, managed, tmp_path / "logs", said.append))
        return made[-1], said

    yield make
    for one in made:
        one.stop(lambda: 2, 0.0)


def script(name, text, **changes):
    return Managed(name=name, arguments=(text,), **changes)


def seen(*services, still=True):
    return Overview(time=time.time(), readings=(), services=services, still=still)


def service(one, state="ready", lost=""):
    now = time.time()
    record = ServiceRecord(
        service=one.name, instance="1", host=socket.gethostname(), pid=one.process.pid, state=state,
        started=now, time=now,
    )  # fmt: skip
    return Service(record=record, lost=lost)


def test_what_ends_by_mistake_is_told_with_its_reason_and_started_again(supervise, tmp_path):
    one = script("image2", "import sys; print('calstream: the flat is gone', file=sys.stderr); sys.exit(1)")
    other = script("image3", FOREVER)
    supervisor, said = supervise(one, other)
    supervisor.start()
    first, second = one.process.pid, other.process.pid
    until(lambda: supervisor.mend() or one.process.pid != first)
    assert said[0] == "image2 ended with exit code 1 (the flat is gone); it is started again in 1 s"
    assert other.process.pid == second
    assert other.running


def test_one_that_was_killed_is_started_again(supervise):
    one = script("image2", FOREVER)
    supervisor, said = supervise(one)
    supervisor.start()
    first = one.process.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.mend() or one.process.pid != first)
    assert said == ["image2 was killed by SIGKILL; it is started again in 1 s"]
    assert supervisor.hopeless() is None


def test_pauses_grow_and_one_that_ends_again_and_again_is_hopeless(supervise, monkeypatch):
    one = script("image2", "import sys; sys.exit(3)")
    supervisor, said = supervise(one)
    now = [time.monotonic()]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    supervisor.start()
    pauses = []
    while supervisor.hopeless() is None:
        one.process.wait()
        supervisor.mend()
        pauses.append(one.not_before - now[0])
        now[0] = one.not_before
        supervisor.mend()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert len(said) == HOPELESS
    assert supervisor.hopeless() is one


def test_one_that_ran_well_for_long_counts_as_well_again(supervise, monkeypatch):
    one = script("image2", "pass")
    supervisor, _ = supervise(one)
    supervisor.start()
    one.process.wait()
    one.failures = 4
    one.started -= 100
    supervisor.mend()
    assert one.failures == 0


def test_what_runs_once_is_not_started_again_and_its_failure_is_known(supervise):
    text = (
        "import sys\nfor _ in 'ab': print('calstream: x is no FITS file', file=sys.stderr)\n"
        "print('1 refused')\nsys.exit(1)"
    )
    one = script("ingest", text, again=False)
    supervisor, said = supervise(one)
    supervisor.start()
    until(lambda: not one.running)
    supervisor.mend()
    assert not one.running
    assert not said
    assert supervisor.failed() == [one]
    assert supervisor.complaints(one) == ["x is no FITS file"]


def test_what_ends_because_it_was_told_to_has_not_failed(supervise):
    one = script("ingest", FOREVER, again=False)
    supervisor, _ = supervise(one)
    supervisor.start()
    supervisor.stop(lambda: 1, PATIENT)
    assert one.process.returncode == -signal.SIGTERM
    assert supervisor.failed() == []


def test_complaints_of_an_earlier_process_are_not_this_ones(supervise, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/ingest.log").write_text("calstream: of yesterday\n")
    one = script("ingest", "print('all is well')", again=False)
    supervisor, _ = supervise(one)
    supervisor.start()
    until(lambda: not one.running)
    assert supervisor.complaints(one) == ["all is well"]


def test_what_waits_for_others_begins_when_all_of_them_are_ready(supervise):
    one, two = (script(name, FOREVER, group=name) for name in ("image2", "image3"))
    last = script("ingest", "pass", again=False, last=True)
    supervisor, _ = supervise(one, two, last)
    supervisor.start()
    supervisor.go_on(seen(service(one)))
    supervisor.go_on(seen(service(one), service(two, "starting")))
    assert last.process is None
    supervisor.go_on(seen(service(one), service(two)))
    assert last.process is not None


def test_it_is_done_when_what_runs_once_has_ended_and_two_looks_found_nothing_to_do(supervise):
    one = script("image2", FOREVER, group="image2")
    last = script("ingest", "pass", again=False, last=True)
    supervisor, _ = supervise(one, last)
    supervisor.start()
    idle = seen(service(one))
    assert not any(supervisor.done(idle) for _ in range(4))  # ingest has not even begun
    supervisor.go_on(idle)
    until(lambda: not last.running)
    assert not supervisor.done(idle)
    assert not supervisor.done(seen(service(one), still=False))
    assert [supervisor.done(idle), supervisor.done(idle)] == [False, True]
    os.kill(one.process.pid, signal.SIGKILL)
    until(lambda: not one.running)
    assert not supervisor.done(idle)


def test_a_look_is_completed_by_those_who_have_not_said_anything_yet(supervise):
    one, two, three = (script(name, FOREVER, group=name) for name in ("detector1", "image2", "image3"))
    supervisor, _ = supervise(one, two, three)
    supervisor.start()
    shown = supervisor.completed(seen(service(one), service(three, lost="stale")))
    states = {service.record.service: service.state for service in shown.services}
    assert states == {"detector1": "ready", "image2": "starting", "image3": "stale"}
    os.kill(two.process.pid, signal.SIGKILL)
    until(lambda: not two.running)
    supervisor.mend()
    shown = supervisor.completed(seen(service(one), service(two, lost="dead"), service(three)))
    assert [service.record.service for service in shown.services] == ["detector1", "image2", "image3"]
    assert [service.state for service in shown.services] == ["ready", "ended", "ready"]
    assert "SIGKILL" in shown.services[1].record.sentence


GENTLE = """
import signal, sys, time
told = []
def stop(*_):
    told.append(1)
    if len(told) == 2: sys.exit(7)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True: time.sleep(0.05)
"""


def test_a_second_signal_goes_on_to_everything(supervise, tmp_path):
    one = script("image2", GENTLE)
    supervisor, _ = supervise(one)
    supervisor.start()
    until(lambda: "ready" in (tmp_path / "logs/image2.log").read_text())
    asked = iter([1] * 20)
    supervisor.stop(lambda: next(asked, 2), PATIENT)
    assert one.process.returncode == 7


def test_what_does_not_end_within_the_grace_period_is_killed(supervise, tmp_path):
    one = script("image2", GENTLE)
    supervisor, _ = supervise(one)
    supervisor.start()
    until(lambda: "ready" in (tmp_path / "logs/image2.log").read_text())
    supervisor.stop(lambda: 1, 0.5)
    assert one.process.returncode == -signal.SIGKILL


def test_everything_is_told_where_bus_and_store_are(supervise, tmp_path):
    names = "CALSTREAM_BUS", "CALSTREAM_STORE", "CALSTREAM_SUPERVISOR"
    text = f"import os; print(*(os.environ[name] for name in {names}))"
    one = script("image2", text, again=False)
    supervisor, _ = supervise(one, where=Address(bus="embedded:/a b", store="/c"))
    supervisor.start()
    until(lambda: not one.running)
    assert (tmp_path / "logs/image2.log").read_text() == f"embedded:/a b /c {os.getpid()}\n"


def test_a_command_that_a_folder_of_the_users_could_hide_is_still_ours(tmp_path, monkeypatch):
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams/__init__.py").write_text("raise SystemExit('this is not calstream')")
    (tmp_path / "schemas").mkdir()
    monkeypatch.chdir(tmp_path)
    one = Managed(name="help", arguments=("--version",), again=False)
    supervisor = Supervisor(Address(bus="memory:", store="x"), [one], tmp_path / "logs")
    supervisor.start()
    until(lambda: not one.running)
    assert one.process.returncode == 0, supervisor.complaints(one)
    assert (tmp_path / "logs/help.log").read_text().startswith("calstream ")


def test_a_folder_on_pythonpath_that_hides_ours_is_named(tmp_path, monkeypatch):
    (tmp_path / "hiding/schemas").mkdir(parents=True)
    (tmp_path / "hiding/schemas/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hiding"))
    one = Managed(name="image2", arguments=("--version",))
    said = []
    supervisor = Supervisor(Address(bus="memory:", store="x"), [one], tmp_path / "logs", said.append)
    supervisor.start()
    until(lambda: not one.running)
    supervisor.mend()
    supervisor.stop(lambda: 2, 0.0)
    assert f"the folder {tmp_path / 'hiding/schemas'} hides" in said[0]


def test_a_service_ends_when_its_supervisor_is_gone(tmp_path):
    """Its supervisor is killed before it can ask the kernel to be told: it ends by itself."""
    if sys.platform != "linux":
        pytest.skip("asks the kernel of Linux")
    os.environ[SUPERVISED] = str(os.getpid())  # whose child it is not
    try:
        with pytest.raises(CalstreamError, match="supervisor is gone"):
            end_with_supervisor()
    finally:
        del os.environ[SUPERVISED]
        import ctypes

        ctypes.CDLL(None).prctl(1, 0)
