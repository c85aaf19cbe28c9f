"""PyTorch's side of the comparison; `benches/src/bin/peer.rs` is ours and says the same.

    torch_peer.py                 reads a request a line from standard input and writes an answer a line, both JSON:
                                  {"do": "about"}
                                  {"do": "measure", "workload": "W3", "threads": 1, "seconds": 4}
                                  {"do": "population", "workload": "W2", "children": 8, "steps": 60, "workers": 2}
                                  What cannot be done is answered by {"error": ...}.
    torch_peer.py startup W2      does the first step, says so in a line, and goes on to the figures of a fresh process.
"""

import json
import sys
import threading
import time

BATCHES = 8  # that steps take in turn
FEWEST = 3  # steps before the clock starts, and steps that are measured however long they take
STEPS = 8  # after which a fresh process tells its memory


def peak_mb():
    """The most memory this process had in use, in units of 10^6 bytes; nothing where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            kibibytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
            return int(kibibytes) * 1024 / 1e6
    except (OSError, StopIteration):
        return None


def first_step(name, batch, seed):
    """Milliseconds to build a network over data that is there, and to do its first step."""
    from torch_workloads import Training

    start = time.perf_counter()
    float(Training(name, seed).step(batch))
    return (time.perf_counter() - start) * 1e3


def measure(name, threads, seconds):
    """Steady steps for about `seconds`, after a warm-up of a quarter of that."""
    import torch
    from torch_workloads import WORKLOADS, Training, batches

    torch.set_num_threads(threads)
    data = batches(name, BATCHES, 1)
    start = time.perf_counter()
    training = Training(name, 1)
    float(training.step(data[0]))
    first = (time.perf_counter() - start) * 1e3

    turn = 1
    warm = time.perf_counter()
    while turn <= FEWEST or time.perf_counter() - warm < seconds / 4:
        training.step(data[turn % BATCHES])
        turn += 1
    times = []
    start, cpu = time.perf_counter(), time.process_time()
    while len(times) < FEWEST or time.perf_counter() - start < seconds:
        batch = data[turn % BATCHES]
        step = time.perf_counter()
        loss = training.step(batch)
        times.append((time.perf_counter() - step) * 1e3)
        turn += 1
    cpu = (time.process_time() - cpu) * 1e3 / len(times)
    if not float(loss) < float("inf"):
        raise ValueError(f"{name} diverged: its time says nothing")
    times.sort()
    median = times[len(times) // 2]
    return {
        "threads": torch.get_num_threads(),
        "steps": len(times),
        "min_ms": times[0],
        "median_ms": median,
        "p90_ms": times[min(len(times) * 9 // 10, len(times) - 1)],
        "cpu_ms": cpu,
        "samples_per_s": WORKLOADS[name][0] * 1e3 / median,
        "peak_mb": peak_mb(),
        "first_step_ms": first,
    }


def population(name, children, steps, workers, layout="channels_last"):
    """Builds and trains networks one after the other on each of `workers` Python threads; whoever is free takes the next."""
    import torch
    from torch_workloads import Training, batches

    torch.set_num_threads(1)
    data = batches(name, BATCHES, 1, layout)
    waiting, failures = iter(range(children)), []
    lock = threading.Lock()

    def work():
        torch.set_num_threads(1)
        try:
            while True:
                with lock:
                    child = next(waiting, None)
                if child is None:
                    return
                training = Training(name, child, layout)
                for step in range(steps):
                    training.step(data[step % BATCHES])
        except Exception as failure:  # said in the answer
            failures.append(failure)

    start = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {"seconds": time.perf_counter() - start}


def about():
    import torch
    from torch_workloads import WORKLOADS

    return {"engine": f"PyTorch {torch.__version__}", "workloads": list(WORKLOADS)}


def answer(request):
    requests = {"about": about, "measure": measure, "population": population}
    name = request.pop("workload", None)
    names = () if name is None else (name,)
    return requests[request.pop("do")](*names, **request)


def serve():
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as failure:  # the one who asked decides what to do about it
            reply = {"error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(reply), flush=True)


def startup(name):
    """The first step of a fresh process, then its peak memory in training, then what a further network costs."""
    import torch
    from torch_workloads import Training, batches

    torch.set_num_threads(1)
    data = batches(name, 1, 1)
    training = Training(name, 1)
    float(training.step(data[0]))
    print(json.dumps({"first_step": True}), flush=True)
    for _ in range(STEPS - 1):
        training.step(data[0])
    peak = peak_mb()
    further = min(first_step(name, data[0], seed) for seed in range(2, 5))
    print(json.dumps({"peak_mb": peak, "further_ms": further}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["startup"] and len(sys.argv) == 3:
        startup(sys.argv[2])
    elif len(sys.argv) == 1:
        serve()
    else:
        sys.exit("usage: torch_peer.py [startup WORKLOAD]")
