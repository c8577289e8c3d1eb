# Reads table.parquet, or the file named, with pyarrow and compares every value with what
# parquet_test.go wrote.
import datetime
import math
import os
import sys

import pyarrow.parquet as pq

path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "table.parquet")
got = pq.read_table(path).to_pydict()
utc = datetime.timezone.utc
want = {
    "id": ["a", None, "γ", "", "e", "f", "g", "h", "i", "j"],
    "n": [1, 2**63 - 1, -3, None, None, None, None, None, None, -(2**63)],
    "x": [0.1, None, math.inf, math.nan, -0.5, 1, 2, 3, 4, 5],
    "ok": [True, False, None, True, True, True, True, True, True, True],
    "at": [datetime.datetime(2023, 11, 14, 22, 13, 20, 123456, utc)] + [None] * 8 + [datetime.datetime(1970, 1, 1, tzinfo=utc)],
}
assert math.isnan(got["x"][3])
got["x"][3] = want["x"][3] = None
assert got == want, got
print("equal")
