"""Two ranks of a data-parallel training jump alike, or not at all."""

from __future__ import annotations

import socket
import sys
import warnings

import pytest

import koopscope
from tests.frameworks import framework

torch = framework("torch")
distributed = pytest.importorskip("torch.distributed")
nn = torch.nn

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def rank_trains(rank, port, fails, answers):
    """Train on this rank's own data; ``fails`` makes rank 1's function fail now and then."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    try:
        torch.manual_seed(0)
        net = nn.parallel.DistributedDataParallel(
            nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        )
        generator = torch.Generator().manual_seed(rank)
        x = torch.randn(64, 8, generator=generator)
        y = x.sum(1, keepdim=True).sin() + 0.3 * rank
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        calls = 0

        def loss():
            return ((net(x) - y) ** 2).mean()

        def evaluate():
            nonlocal calls
            calls += 1
            if fails and rank == 1 and calls % 3 == 0:
                raise ValueError("this rank has no data")
            return loss()

        accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=evaluate, average=0.0)
        jumped, equal = [], []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(40):
                for _ in range(4):
                    optimizer.zero_grad()
                    value = loss()
                    value.backward()
                    optimizer.step()
                jumped.append(accelerator.after_epoch(value))
                flat = nn.utils.parameters_to_vector(net.parameters()).detach()
                both = [torch.empty_like(flat) for _ in range(2)]
                distributed.all_gather(both, flat)
                equal.append(bool(torch.equal(*both)))
        report = accelerator.report()
        answers.put((rank, jumped, all(equal), [j.outcome for j in report.jumps], report.stayed))
    finally:
        distributed.destroy_process_group()


def trained_on_two(fails):
    context = torch.multiprocessing.get_context("spawn")
    answers = context.Queue()
    port = free_port()
    ranks = [
        context.Process(target=rank_trains, args=(rank, port, fails, answers)) for rank in range(2)
    ]
    for process in ranks:
        process.start()
    try:
        found = sorted(answers.get(timeout=600) for _ in ranks)
    finally:
        for process in ranks:
            process.join(30)
            if process.is_alive():
                process.kill()
    return [answer[1:] for answer in found]


def test_two_ranks_with_their_own_data_decide_the_same():
    first, second = trained_on_two(fails=False)
    assert first == second
    jumped, equal, _, _ = first
    assert equal
    assert any(jumped)


def test_a_function_that_fails_on_one_rank_is_a_jump_not_made_on_both():
    first, second = trained_on_two(fails=True)
    assert first == second
    assert first[1]
