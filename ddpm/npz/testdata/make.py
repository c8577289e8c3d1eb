"""Writes the archives of npz_test.go, with NumPy 2.3.4:

    python3 -m venv venv && venv/bin/pip install numpy==2.3.4 && venv/bin/python make.py
"""
import io
import zipfile

import numpy as np

images = (np.arange(5 * 3 * 4 * 3) * 7 % 256).astype(np.uint8).reshape(5, 3, 4, 3)
mu, sigma = np.sin(np.arange(6.0)), np.cos(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
mu_s, sigma_s = np.sin(np.arange(4.0) + 9), np.cos(np.subtract.outer(np.arange(4.0), np.arange(4.0)))


def versions(path, version, method, **arrays):
    with zipfile.ZipFile(path, "w", method) as z:
        for name, x in arrays.items():
            b = io.BytesIO()
            np.lib.format.write_array(b, np.asarray(x), version=version)
            z.writestr(name + ".npy", b.getvalue())


# guided-diffusion's reference batches, EDM's statistics, pytorch-fid's.
np.savez("openai-stored.npz", arr_0=images, mu=mu.astype(np.float32), sigma=sigma, mu_s=mu_s.astype(np.float32), sigma_s=sigma_s)
np.savez_compressed("openai-deflated.npz", arr_0=images, mu=mu.astype(np.float32), sigma=sigma, mu_s=mu_s.astype(np.float32), sigma_s=sigma_s)
np.savez("edm.npz", mu=mu, sigma=sigma)
np.savez_compressed("pytorch-fid.npz", mu=mu, sigma=sigma)
versions("v2-deflated.npz", (2, 0), zipfile.ZIP_DEFLATED, arr_0=images, mu=mu, sigma=sigma)
versions("v2-stored.npz", (2, 0), zipfile.ZIP_STORED, arr_0=images, mu=mu, sigma=sigma)
versions("v3.npz", (3, 0), zipfile.ZIP_STORED, mu=mu, sigma=sigma)
np.savez("odd.npz", fortran=np.asfortranarray(np.arange(24).reshape(2, 3, 4)), big=np.arange(3, dtype=">f4"), scalar=np.float64(2.5),
         short=np.arange(-2, 2, dtype=np.int16), flags=np.array([True, False]), empty=np.zeros((0, 3)), text=np.array(["a", "bc"]),
         record=np.zeros(2, dtype=[("x", "f8")]), images_f=np.asfortranarray(images))
