"""A process that is told to end by a signal ends, whatever it is doing at that moment."""

import subprocess
import sys
import threading

from bento.stopping import StopEvent

INTERRUPTED = """
import random, signal
from bento.stopping import StopEvent

rng = random.Random(1)
for _ in range(2000):
    stopped = StopEvent()
    signal.signal(signal.SIGALRM, lambda *_, stopped=stopped: stopped.set())
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 2e-4))
    while not stopped.wait(1e-6):
        continue
    assert stopped.is_set()
"""


def test_a_signal_at_any_moment_of_waiting_ends_the_waiting() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], timeout=120, check=False)
    assert done.returncode == 0


def test_it_is_set_for_every_thread_and_for_good() -> None:
    stopped, seen = StopEvent(), []
    assert not stopped.wait(0.0)
    threads = [threading.Thread(target=lambda: seen.append(stopped.wait(30.0))) for _ in range(3)]
    for thread in threads:
        thread.start()
    stopped.set()
    for thread in threads:
        thread.join()
    assert seen == [True, True, True]
    assert stopped.is_set()
    assert stopped.wait(0.0)
