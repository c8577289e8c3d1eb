# Writes shapiro.json: W and p of scipy.stats.shapiro for samples of several sizes and shapes.
# Made with scipy 1.17.1, numpy 2.4.6:  python3 shapiro.py > shapiro.json
import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(7)
cases = []
for n in (3, 4, 5, 6, 8, 11, 12, 20, 32, 50, 100, 500):
    for name, x in (
        ("normal", rng.normal(3, 2, n)),
        ("uniform", rng.uniform(-1, 1, n)),
        ("exponential", rng.exponential(1, n)),
    ):
        if n > 100 and name != "uniform":
            continue
        x = np.round(x, 4)
        r = stats.shapiro(x)
        cases.append({"name": f"{name} {n}", "x": x.tolist(), "w": float(r.statistic), "p": float(r.pvalue)})
print(json.dumps(cases))
