"""A few rounds of every fault that studies/reliability injects, and interrupts one by one."""

import os
import signal
import threading
import time

import pytest

from koopscope.runs.interrupts import signals_held
from koopscope.runs.native.recorder import Recorder
from studies.reliability.faults import FAULTS, steps_of, tally, weights


@pytest.mark.parametrize("fault", list(FAULTS))
def test_nothing_committed_is_lost_and_no_file_is_half(fault):
    tried, failures = tally(fault, 10 if fault in ("killed", "interrupted") else 5, seed=7)
    assert tried >= 5
    assert failures == []


def test_an_interrupt_in_a_snapshot_reaches_the_training_after_it_is_written(tmp_path):
    path = tmp_path / "run.h5"
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0), loss=0)
    told = [0]
    for step in range(1, 31):
        strike = threading.Timer(0.0005 * step, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            strike.start()
            if recorder.snapshot(step, weights(step), loss=step):
                told.append(step)
            time.sleep(60)
        strike.join()
    assert recorder.snapshot(31, weights(31), loss=31)
    found = steps_of(path)
    assert {*told, 31} <= set(found)
    assert set(found) <= set(range(32))


def test_held_signals_are_delivered_in_turn_and_their_handlers_given_back():
    came = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    mine = signal.getsignal(signal.SIGTERM)
    try:
        with signals_held():
            with signals_held():
                os.kill(os.getpid(), signal.SIGUSR1)
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGUSR1)
            assert came == []
        assert sorted(came) == sorted([signal.SIGUSR1, signal.SIGTERM])
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_thread_that_is_not_the_main_one_holds_nothing_and_records(tmp_path):
    path = tmp_path / "run.h5"
    thread = threading.Thread(target=lambda: Recorder(path).snapshot(0, weights(0)))
    thread.start()
    thread.join()
    assert steps_of(path) == [0]
