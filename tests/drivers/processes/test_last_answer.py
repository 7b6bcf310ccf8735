"""When a monitor is asked again, and what is known between two questions."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.drivers.processes.last_answer import LONGEST_SECONDS, SHORTEST_SECONDS, LastAnswer, answered, is_due, sampled
from pinfold.drivers.processes.monitor import Answer
from pinfold.linux.procfs import Thread


def thread(tid: int, name: str = "qemu-system-x86", *, start: int = 100, kernel: bool = False, worker: bool = False) -> Thread:
    return Thread(tid=tid, comm=name, allowed=CpuSet.of(0), start_ticks=start, in_kernel=kernel, io_worker=worker)


MAIN, CPU_0, CPU_1 = thread(1), thread(2), thread(3)
THREADS = (MAIN, CPU_0)
RUNS = Answer(vcpus={2: 0}, iothreads={})
PAUSED = replace(RUNS, paused=True)


def told(answer: Answer | None, *, before: LastAnswer | None = None, at: float = 1000.0) -> LastAnswer:
    return answered(before, answer, asked=at, there=THREADS, now_there=THREADS)


def ran(last: LastAnswer, *times: int | None) -> LastAnswer:
    for number, ran_ns in enumerate(times, start=1):
        last = sampled(last, ran_ns, now=last.asked + 5 * number)
    return last


def pause_of(last: LastAnswer, threads: tuple[Thread, ...] = THREADS) -> int | None:
    """After how many seconds it is asked again; None if that is never."""
    return next((seconds for seconds in range(4000) if is_due(last, threads, now=last.asked + seconds)), None)


def test_a_guest_that_runs_with_the_threads_that_were_told_is_never_asked_again() -> None:
    assert pause_of(told(RUNS)) is None
    assert pause_of(ran(told(RUNS), 7, 9)) is None
    assert pause_of(ran(told(RUNS), None, None)) is None, "the kernel counts nothing"


def test_threads_of_qemu_s_own_and_of_the_kernel_ask_nothing() -> None:
    own = thread(4, "worker"), thread(5, "call_rcu"), thread(6, "vhost-1", kernel=True), thread(7, "iou-wrk-1", worker=True)
    assert pause_of(told(RUNS), (*THREADS, *own)) is None


def test_a_monitor_that_never_answered_is_asked_after_pauses_that_grow() -> None:
    last, pauses = told(None), []
    for _ in range(9):
        pauses.append(pause_of(last))
        last = told(None, before=last)
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert pause_of(told(RUNS, before=last)) is None


def test_a_paused_guest_is_asked_soon_once_its_vcpus_run_and_else_after_pauses_that_grow() -> None:
    first = told(PAUSED)
    again = told(PAUSED, before=told(PAUSED, before=first))
    assert (pause_of(first), pause_of(again)) == (10, 40)
    assert pause_of(ran(again, 7, 7)) == 40
    assert pause_of(ran(again, 7, 8)) == 10
    assert pause_of(ran(told(RUNS, before=again), 7, 8)) is None


def test_a_guest_whose_vcpus_stand_still_may_be_paused() -> None:
    still = ran(told(RUNS), 7, 7)
    assert pause_of(still) == 10
    assert pause_of(ran(told(RUNS, before=still), 7, 7)) == 20, "it only sleeps"
    assert told(PAUSED, before=told(RUNS, before=still)).pause == SHORTEST_SECONDS
    assert pause_of(sampled(told(RUNS, before=still, at=2000.0), 7, now=2001.0)) is None, "samples from before a question tell nothing"


def test_a_new_vcpu_by_name_is_asked_about_soon_and_a_thread_without_a_name_after_a_pause() -> None:
    last = told(RUNS, before=told(RUNS, before=told(RUNS)))
    assert pause_of(last, (*THREADS, thread(3, "CPU 1/KVM"))) == 10
    assert pause_of(last, (*THREADS, thread(3))) == 40
    assert pause_of(answered(last, RUNS, asked=2000.0, there=(*THREADS, thread(3)), now_there=THREADS), (*THREADS, thread(3))) is None


def test_a_thread_with_an_id_that_is_used_again_is_a_new_one() -> None:
    last, other = told(RUNS), thread(2, start=200)
    assert last.tells(CPU_0) and not last.tells(other)
    assert pause_of(last, (MAIN, other)) == 10


def test_an_earlier_answer_stays_while_the_monitor_is_silent() -> None:
    silent = told(None, before=told(RUNS))
    assert (silent.answer, silent.silent, silent.tells(CPU_0), silent.tells(CPU_1)) == (RUNS, True, True, False)
    assert pause_of(silent) is None
    assert pause_of(told(None, before=silent), (*THREADS, thread(3, "CPU 1/KVM"))) == 40, "each question to it costs a second"


def test_what_begins_during_the_question_is_told_by_it_only_if_it_is_named_there() -> None:
    answer = Answer(vcpus={2: 0, 3: 1}, iothreads={})
    last = answered(None, answer, asked=0.0, there=THREADS, now_there=(*THREADS, CPU_1, thread(4)))
    assert [last.tells(one) for one in (MAIN, CPU_0, CPU_1, thread(4))] == [True, True, True, False]


def test_no_pause_is_longer_than_ten_minutes() -> None:
    last = told(PAUSED)
    for _ in range(50):
        last = told(PAUSED, before=last)
    assert (last.pause, pause_of(last)) == (LONGEST_SECONDS, 600)
