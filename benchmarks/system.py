"""Part 2, the whole system: from POST to `COMPLETED` through the five real processes and PostgreSQL.

Each round restarts everything. With the orchestrator stopped, 1, 8 and 32 clients post as fast as they get responses;
then it starts and drains the backlog. With the orchestrator running, there are five orders a second, and again 1, 8 and
32 clients. Memory is read in a separate run of 32 clients, because reading it takes time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_least, at_most
from benchmarks.ledger import drained_per_second
from benchmarks.processes import cpu_seconds, memory_mb
from benchmarks.result import Bars, Part, Ratio, ratio
from benchmarks.shop import Shop, open_shop

CLIENTS = (1, 8, 32)
FULL = max(CLIENTS)
LIGHT_PER_S = 5
PRODUCTS = 50
BARE_CALL, LOAD_GENERATOR = "a bare `requests` call", "the load generator, not counted"
DATABASE, TOGETHER = "PostgreSQL", "all processes together"
MEMORY_EVERY_S = 0.5

COLUMNS = {
    "accepted_alone": "orders/s",
    "accepted": "orders/s",
    "completed": "orders/s",
    "post_p50": "ms",
    "post_p99": "ms",
    "completed_p50": "ms",
    "completed_p99": "ms",
    "cpu": "ms/order",
    "cpu_of_each": "ms/order",
    "memory": "MB",
    "cpu_of_a_call": "ms",
}
NOTES = (
    "Default settings, INFO lines written to files; PostgreSQL's defaults: every commit is on the disk.",
    "accepted_alone: 202 responses a second with the orchestrator stopped; accepted: with it running.",
    "completed: orders by the time from the first POST until the last of them is COMPLETED.",
    "post_p50, _p99: POST to its response; completed_p50, _p99: to the history's COMPLETED. Clients that post as fast "
    "as they can build up a queue, and this is mostly the time in it.",
    "cpu: of all processes and PostgreSQL, from the first POST until the last COMPLETED, by the number of orders.",
    f"cpu_of_each, memory: with {FULL} clients, of a process with its workers. Memory is the proportional set size (a "
    "page that n processes share counts 1/n) at the peak of the sum.",
    f"{BARE_CALL}: of the caller, by one thread and one `requests.Session`, the connection kept alive; in each round.",
)


def run(bench: Bench) -> Part:
    figures = Figures()
    for number in range(bench.rounds):
        bench.say(f"whole system: round {number + 1} of {bench.rounds}")
        with open_shop(bench, PRODUCTS) as shop:
            _round(_Round(figures, shop, bench))
    return Part(
        key="system",
        title="Whole system: POST to COMPLETED through the five real processes",
        columns=COLUMNS,
        rows=figures.rows(),
        ratios=_ratios(figures),
        notes=NOTES,
        charts={
            "Orders completed a second": Bars("completed"),
            f"CPU of an order, by process, {FULL} clients": Bars("cpu_of_each"),
            f"Memory by process, {FULL} clients": Bars("memory"),
        },
    )


@dataclass(frozen=True)
class _Round:
    figures: Figures
    shop: Shop
    bench: Bench

    @property
    def seconds(self) -> float:
        return 0.3 if self.bench.short else 4

    @property
    def pids(self) -> dict[str, int]:
        return self.shop.system.pids | {DATABASE: self.bench.server.pid}

    def cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def memory(self) -> dict[str, float]:
        return {name: memory_mb(pid) for name, pid in self.pids.items()}


def _round(each: _Round) -> None:
    each.figures.add(BARE_CALL, cpu_of_a_call=machine.call_ms(each.bench))
    for clients in CLIENTS:
        each.figures.add(_name(clients), accepted_alone=each.shop.send(each.seconds, clients=clients).per_second)
    each.shop.start_orchestrator()
    each.shop.wait()
    each.figures.add("the backlog, drained", completed=drained_per_second(each.shop.database_url))
    light = each.shop.order(1 if each.bench.short else 10, clients=4, rate=LIGHT_PER_S)
    each.figures.add_latency(f"{LIGHT_PER_S} orders a second", post=light.load.ms, completed=light.ms)
    for clients in CLIENTS:
        _run_at_full_speed(each, clients)
    _read_memory(each)


def _run_at_full_speed(each: _Round, clients: int) -> None:
    before = each.cpu()
    done = each.shop.order(each.seconds, clients=clients)
    orders = len(done.completed)
    cpu_ms = {name: (now - before[name]) / orders * 1000 for name, now in each.cpu().items()}
    together = sum(cpu_ms.values())
    each.figures.add(_name(clients), accepted=done.load.per_second, completed=done.per_second, cpu=together)
    each.figures.add_latency(_name(clients), post=done.load.ms, completed=done.ms)
    if clients == FULL:
        for name, ms in (cpu_ms | {TOGETHER: together}).items():
            each.figures.add(name, cpu_of_each=ms)
        each.figures.add(LOAD_GENERATOR, cpu=done.load.cpu_s / orders * 1000)


def _read_memory(each: _Round) -> None:
    looks = []
    with ThreadPoolExecutor(1) as aside:
        going = aside.submit(each.shop.order, each.seconds, clients=FULL)
        while not going.done():
            looks.append(each.memory())
            wait([going], MEMORY_EVERY_S)
        going.result()
    peak = max(looks, key=lambda look: sum(look.values()))
    for name, megabytes in (peak | {TOGETHER: sum(peak.values())}).items():
        each.figures.add(name, memory=megabytes)


def _name(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _ratios(figures: Figures) -> list[Ratio]:
    cpu, call = figures.of(TOGETHER, "cpu_of_each"), figures.of(BARE_CALL, "cpu_of_a_call")
    return [
        at_most(f"CPU of a completed order, {FULL} clients", cpu, 10, "ms"),
        ratio("CPU of a completed order / CPU of a bare `requests` call", cpu, call),
        at_least(f"orders completed a second, {FULL} clients", figures.of(_name(FULL), "completed"), 150, "orders/s"),
        at_most(f"memory of all processes, {FULL} clients", figures.of(TOGETHER, "memory"), 500, "MB"),
    ]
