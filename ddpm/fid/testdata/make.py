"""Writes distances.json, the values of distances_test.go, by NumPy, SciPy and scikit-learn:

    python3 -m venv venv && venv/bin/pip install numpy==2.3.4 scipy==1.16.3 scikit-learn==1.7.2
    venv/bin/python make.py

The features are made by the same rule in both languages.
"""
import json
import os

import numpy as np
import scipy.linalg
import scipy.special
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors


def features(n, dim, seed, shift=0.0, scale=1.0):
    """Sums of four uniform numbers of SplitMix64, each mixed with its left neighbour, as float32."""
    with np.errstate(over="ignore"):
        z = np.arange(4 * n * dim, dtype=np.uint64) + np.uint64(seed << 40)
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    x = u.reshape(n, dim, 4).sum(-1) - 2
    y = x.copy()
    y[:, 1:] += 0.5 * x[:, :-1]
    return (y * scale + shift).astype(np.float32)


def frechet(a, b):
    """By the symmetric form, eigenvalues clamped; without full rank the product's root is not defined."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    w, v = scipy.linalg.eigh(s1)
    root = (v * np.sqrt(np.clip(w, 0, None))) @ v.T
    w = scipy.linalg.eigvalsh(root @ s2 @ root)
    d = a.mean(0) - b.mean(0)
    return d @ d + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(np.clip(w, 0, None)).sum()


def frechet_sqrtm(a, b):
    """As the authors' evaluator.py: the root of the product."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    d = a.mean(0) - b.mean(0)
    return d @ d + np.trace(s1) + np.trace(s2) - 2 * np.trace(scipy.linalg.sqrtm(s1 @ s2).real)


def inception_score(logits, split):
    """evaluator.py, compute_inception_score."""
    p = scipy.special.softmax(logits.astype(np.float64), axis=1)
    scores = []
    for i in range(0, len(p), split):
        part = p[i : i + split]
        kl = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(kl.sum(1).mean()))
    return [float(np.mean(scores)), float(np.std(scores))]


def precision_recall(real, fake, k):
    """Kynkäänniemi et al. 2019, with scikit-learn's exact neighbours."""

    def covered(of, by):
        r = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(by).kneighbors(by)[0][:, -1]
        d = np.linalg.norm(of[:, None, :] - by[None, :, :], axis=-1)
        return float((d <= r[None, :]).any(1).mean())

    real, fake = real.astype(np.float64), fake.astype(np.float64)
    return [covered(fake, real), covered(real, fake)]


def kid(a, b):
    """The unbiased estimate of MMD² with the kernel (x·y/d + 1)³ (Bińkowski et al. 2018), as torch-fidelity's."""
    a, b, m = a.astype(np.float64), b.astype(np.float64), len(a)
    xx, yy, xy = (polynomial_kernel(p, q, degree=3, gamma=None, coef0=1) for p, q in [(a, a), (b, b), (a, b)])
    return float((xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.sum() / (m * m))


def line(n, fd):
    """The intercept over 1/N (Chong and Forsyth 2020)."""
    return float(np.polyfit(1 / np.array(n), np.array(fd), 1)[1])


a, b = features(500, 64, 1), features(400, 64, 2, 0.1, 1.1)
few, other = features(30, 64, 3), features(40, 64, 4, 0.2)
assert abs(frechet(a, b) - frechet_sqrtm(a, b)) < 1e-9
out = {
    "first": [float(v) for v in a[:2, :3].ravel()],
    "fd": frechet_sqrtm(a, b),
    "fd_deficient": frechet(few, other),
    "fd_one_deficient": frechet(a, few),
    "is": inception_score(3 * features(230, 10, 5), 100),
    "pr": precision_recall(features(300, 16, 6), features(250, 16, 7, 0.3, 0.8), 3),
    "kid": kid(features(200, 16, 8), features(200, 16, 9, 0.2, 1.1)),
    "line": line([500, 1000, 2000, 4000], [9.1, 5.2, 3.3, 2.2]),
    "fd_2048": frechet(features(2500, 2048, 10), features(2500, 2048, 11, 0.05, 1.1)),
    "fd_2048_deficient": frechet(features(1000, 2048, 12), features(1200, 2048, 13, 0.05)),
}
with open(os.path.join(os.path.dirname(__file__), "distances.json"), "w") as f:
    json.dump(out, f, indent=1)
    f.write("\n")
