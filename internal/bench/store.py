"""One tracker beside ddpmlab's run store: what a call of its log function costs in a loop of
training steps, how many points a second reach the disk, how long it takes to read them
back, and how large they are. Arguments: the tracker, a folder, how many points.
Prints one JSON object."""

import contextlib
import json
import os
import sys
import time

name, folder, points = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(folder)
real = os.dup(1)
os.dup2(2, 1)  # what the trackers print goes to standard error


def size():
    total = 0
    for root, _, files in os.walk(folder):
        total += sum(os.path.getsize(os.path.join(root, f)) for f in files)
    return total


def paced(log, n, every):
    """Times n calls, begun at least `every` seconds apart, as training steps come."""
    took = []
    following = time.perf_counter()
    for i in range(n):
        while time.perf_counter() < following:
            pass
        start = time.perf_counter()
        log(i)
        took.append(time.perf_counter() - start)
        following = start + every
    took.sort()
    return 1e6 * took[n // 2], 1e6 * took[n * 99 // 100]


def mlflow():
    import mlflow
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    mlflow.set_tracking_uri("sqlite:///" + os.path.join(folder, "mlflow.db"))
    client = MlflowClient()
    exp = client.create_experiment("bench")
    run = client.create_run(exp).info.run_id
    before = size()
    start = time.perf_counter()
    for at in range(0, points, 1000):  # its fastest way: 1,000 at once
        client.log_batch(run, [Metric("loss", float(i), 1_700_000_000_000 + i, i) for i in range(at, min(points, at + 1000))])
    disk = time.perf_counter() - start
    written = size() - before
    start = time.perf_counter()
    got = client.get_metric_history(run, "loss")
    read = time.perf_counter() - start
    other = client.create_run(exp).info.run_id
    p50, p99 = paced(lambda i: client.log_metric(other, "loss", float(i), step=i), 500, 0)
    return dict(version=mlflow.__version__, disk=disk, size=written, read=read, got=len(got), p50=p50, p99=p99,
                note="recorded 1,000 at once; its calls are timed one at a time, 500 of them")


def wandb():
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=folder)
    import wandb

    def run():
        return wandb.init(project="bench", mode="offline", dir=folder, settings=wandb.Settings(x_disable_stats=True))

    r = run()
    p50, p99 = paced(lambda i: r.log({"loss": float(i)}), 5000, 200e-6)
    r.finish()
    before = size()
    start = time.perf_counter()
    r = run()
    for i in range(points):
        r.log({"loss": float(i)})
    r.finish()
    disk = time.perf_counter() - start
    return dict(version=wandb.__version__, disk=disk, size=size() - before, read=None, got=None, p50=p50, p99=p99,
                note="an offline run cannot be read back before it is synchronised with a server")


def trackio():
    os.environ["TRACKIO_DIR"] = os.path.join(folder, "trackio")
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    trackio.init(project="calls", name="a", embed=False)
    p50, p99 = paced(lambda i: trackio.log({"loss": float(i)}), 5000, 200e-6)
    trackio.finish()
    before = size()
    start = time.perf_counter()
    trackio.init(project="bench", name="b", embed=False)
    for i in range(points):
        trackio.log({"loss": float(i)})
    trackio.finish()
    disk = time.perf_counter() - start
    written = size() - before
    start = time.perf_counter()
    got = SQLiteStorage.get_logs("bench", "b")
    read = time.perf_counter() - start
    return dict(version=trackio.__version__, disk=disk, size=written, read=read, got=len(got), p50=p50, p99=p99, note="")


with contextlib.redirect_stdout(sys.stderr):
    result = dict(mlflow=mlflow, wandb=wandb, trackio=trackio)[name]()
result["points"] = points
with os.fdopen(real, "w") as out:
    json.dump(result, out)
os._exit(0)
