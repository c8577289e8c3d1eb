"""The Inception network of the FID in PyTorch, as one side of `ddpmlab bench evaluate`.

The protocol is that of peer.py. Batch norms are folded into the convolutions, as ddpmlab does, in all modes: that is
PyTorch's faster form. Average pools do not count padding, and the last block takes the maximum.
"""
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Conv(nn.Module):
    def __init__(self, i, o, kh, kw, stride=1, padded=True):
        super().__init__()
        self.conv = nn.Conv2d(i, o, (kh, kw), stride, ((kh - 1) // 2, (kw - 1) // 2) if padded else 0)

    def forward(self, x):
        return F.relu(self.conv(x), inplace=True)


def mean(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, i, pooled):
        super().__init__()
        self.one = Conv(i, 64, 1, 1)
        self.five = nn.Sequential(Conv(i, 48, 1, 1), Conv(48, 64, 5, 5))
        self.twice = nn.Sequential(Conv(i, 64, 1, 1), Conv(64, 96, 3, 3), Conv(96, 96, 3, 3))
        self.pool = Conv(i, pooled, 1, 1)

    def forward(self, x):
        return torch.cat([self.one(x), self.five(x), self.twice(x), self.pool(mean(x))], 1)


class B(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.three = Conv(i, 384, 3, 3, 2, False)
        self.twice = nn.Sequential(Conv(i, 64, 1, 1), Conv(64, 96, 3, 3), Conv(96, 96, 3, 3, 2, False))

    def forward(self, x):
        return torch.cat([self.three(x), self.twice(x), F.max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, i, c):
        super().__init__()
        self.one = Conv(i, 192, 1, 1)
        self.seven = nn.Sequential(Conv(i, c, 1, 1), Conv(c, c, 1, 7), Conv(c, 192, 7, 1))
        self.twice = nn.Sequential(Conv(i, c, 1, 1), Conv(c, c, 7, 1), Conv(c, c, 1, 7), Conv(c, c, 7, 1), Conv(c, 192, 1, 7))
        self.pool = Conv(i, 192, 1, 1)

    def forward(self, x):
        return torch.cat([self.one(x), self.seven(x), self.twice(x), self.pool(mean(x))], 1)


class D(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.three = nn.Sequential(Conv(i, 192, 1, 1), Conv(192, 320, 3, 3, 2, False))
        self.seven = nn.Sequential(Conv(i, 192, 1, 1), Conv(192, 192, 1, 7), Conv(192, 192, 7, 1), Conv(192, 192, 3, 3, 2, False))

    def forward(self, x):
        return torch.cat([self.three(x), self.seven(x), F.max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, i, largest):
        super().__init__()
        self.largest = largest
        self.one = Conv(i, 320, 1, 1)
        self.three, self.three_a, self.three_b = Conv(i, 384, 1, 1), Conv(384, 384, 1, 3), Conv(384, 384, 3, 1)
        self.twice = nn.Sequential(Conv(i, 448, 1, 1), Conv(448, 384, 3, 3))
        self.twice_a, self.twice_b = Conv(384, 384, 1, 3), Conv(384, 384, 3, 1)
        self.pool = Conv(i, 192, 1, 1)

    def forward(self, x):
        three, double = self.three(x), self.twice(x)
        pool = F.max_pool2d(x, 3, 1, 1) if self.largest else mean(x)
        branches = [self.one(x), self.three_a(three), self.three_b(three), self.twice_a(double), self.twice_b(double)]
        return torch.cat(branches + [self.pool(pool)], 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            Conv(3, 32, 3, 3, 2, False), Conv(32, 32, 3, 3, 1, False), Conv(32, 64, 3, 3), nn.MaxPool2d(3, 2),
            Conv(64, 80, 1, 1), Conv(80, 192, 3, 3, 1, False), nn.MaxPool2d(3, 2),
            A(192, 32), A(256, 64), A(288, 64), B(288), C(768, 128), C(768, 160),
        )
        self.d = C(768, 160)
        self.rest = nn.Sequential(C(768, 192), D(768), E(1280, False), E(2048, True))
        self.fc = nn.Linear(2048, 1008, bias=False)

    def forward(self, x):
        x = self.d(self.stem(x))
        spatial = x[:, :7].permute(0, 2, 3, 1).flatten(1)
        pool = self.rest(x).mean((2, 3))
        return pool, spatial, self.fc(pool)


def load(net, job):
    """Fills the network with ddpmlab's weights: kernels HWIO, biases, and the last layer [1, 2048, 1008]."""
    params = list(net.parameters())
    if len(params) != len(job["shapes"]):
        raise ValueError(f"{len(params)} tensors here, {len(job['shapes'])} in ddpmlab")
    flat = torch.from_file(job["weights"], size=sum(math.prod(s) for s in job["shapes"]))
    for p, shape in zip(params, job["shapes"]):
        w = flat[: math.prod(shape)].reshape(shape)
        w = {4: lambda: w.permute(3, 2, 0, 1), 3: lambda: w[0].T, 1: lambda: w}[len(shape)]()
        if p.shape != w.shape:
            raise ValueError(f"a tensor of shape {list(p.shape)} here, {list(w.shape)} in ddpmlab")
        p.data.copy_(w)
        flat = flat[p.numel() :]
    return net.eval().requires_grad_(False)


def seconds(f, n=1):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return times


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(job["threads"])
    net = load(Inception(), job)
    x = torch.tensor(job["x"]).reshape(-1, 299, 299, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        out = torch.cat([t.flatten() for t in net(x)]).tolist()
        layout = torch.channels_last if job["mode"] != "eager, contiguous" else torch.contiguous_format
        net = net.to(memory_format=layout)
        x = x.repeat(job["batch"] // len(x) + 1, 1, 1, 1)[: job["batch"]].contiguous(memory_format=layout)
        if job["mode"] == "compile":
            from torch._inductor import config

            config.freezing = True  # weights are constants, packed once
            net = torch.compile(net)
        if job["mode"] == "mkldnn":  # oneDNN's graph, its layouts and packed weights
            net = torch.jit.optimize_for_inference(torch.jit.trace(net, x))
        for _ in range(3):
            net(x)
        answer(version=torch.__version__, params=sum(p.numel() for p in Inception().parameters()), out=out)
        for line in sys.stdin:
            answer(ms=[1e3 * s for s in seconds(lambda: net(x), json.loads(line)["n"])])


if __name__ == "__main__":
    main()
