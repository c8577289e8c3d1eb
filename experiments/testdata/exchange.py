"""What other programs read of exported runs, as JSON on standard output:
    exchange.py mlflow URI EXPERIMENT    runs by MLflow's client
    exchange.py make URI                 a run made by MLflow's client
    exchange.py tensorboard FOLDER       scalars by TensorBoard's reader
    exchange.py parquet FILE             a table by pyarrow
"""

import json
import math
import os
import sys

real = os.dup(1)
os.dup2(2, 1)  # what the programs print goes to standard error


def number(x):
    """NaN, which JSON lacks, is -999, and infinities are cut: clients_test.go does the same."""
    return -999 if math.isnan(x) else max(-1e308, min(1e308, x))


def mlflow(uri, experiment):
    from mlflow import artifacts
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    out = []
    for r in runs:
        id = r.info.run_id
        files = client.list_artifacts(id)
        for f in files:  # they can be fetched, too
            local = client.download_artifacts(id, f.path)
            assert os.path.getsize(local) == f.file_size, (f, local)
        out.append(dict(
            id=id, name=r.info.run_name, status=r.info.status, params=r.data.params, tags=r.data.tags,
            last={k: number(v) for k, v in r.data.metrics.items()},
            history={k: sorted([m.step, number(m.value)] for m in client.get_metric_history(id, k)) for k in r.data.metrics},
            files=[f.path for f in files]))
    return out


def make(uri):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("theirs"))
    client.log_param(run.info.run_id, "depth", 12)
    for step in range(4):
        client.log_metric(run.info.run_id, "loss", 1 / (step + 1), step=step)
    client.set_terminated(run.info.run_id)
    return []


def tensorboard(folder):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    m = EventMultiplexer(size_guidance={"scalars": 0, "tensors": 0}).AddRunsFromDirectory(folder)
    m.Reload()
    return {run: {tag: [[e.step, number(float(e.value))] for e in m.Scalars(run, tag)] for tag in tags["scalars"]}
            for run, tags in m.Runs().items()}


def parquet(path):
    import pyarrow.parquet as pq

    t = pq.read_table(path)
    return dict(columns={f.name: str(f.type) for f in t.schema}, rows=t.num_rows, steps=sum(t["step"].to_pylist()),
                values=sum(v for v in t["value"].to_pylist() if math.isfinite(v)))


result = globals()[sys.argv[1]](*sys.argv[2:])
with os.fdopen(real, "w") as out:
    json.dump(result, out)
