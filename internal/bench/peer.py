"""The network of a ddpmlab Config in PyTorch, as one side of a benchmark.

The protocol is JSON, one object a line, and that of worker.go: a job on standard input,
the answer once it is warm, then for each {"n": N} the milliseconds of N runs.
"""
import contextlib
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


class Residual(nn.Module):
    def __init__(self, c, i, o, mode):
        super().__init__()
        embed = 4 * c["channels"]
        self.mode = mode
        self.norm1, self.conv1 = nn.GroupNorm(c["groups"], i), nn.Conv2d(i, o, 3, padding=1)
        self.emb = nn.Linear(embed, 2 * o)
        self.norm2, self.conv2 = nn.GroupNorm(c["groups"], o), nn.Conv2d(o, o, 3, padding=1)
        self.drop = nn.Dropout(c["dropout"])
        self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def resample(self, x):
        if self.mode == "down":
            return F.avg_pool2d(x, 2)
        if self.mode == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return x

    def forward(self, x, emb):
        h = self.conv1(self.resample(F.silu(self.norm1(x))))
        scale, shift = self.emb(F.silu(emb))[:, :, None, None].chunk(2, 1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(self.resample(x)) + self.conv2(self.drop(F.silu(h)))


class Attention(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.heads = width // c["head_channels"]
        self.norm, self.qkv, self.proj = nn.GroupNorm(c["groups"], width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, emb):
        b, c, h, w = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)  # free of copies in channels_last
        q, k, v = (u.reshape(b, h * w, self.heads, -1).transpose(1, 2) for u in self.qkv(tokens).chunk(3, 2))
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
        return x + self.proj(a).reshape(b, h, w, c).permute(0, 3, 1, 2)


class UNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        base, embed = c["channels"], 4 * c["channels"]
        self.time = nn.Sequential(nn.Linear(base, embed), nn.SiLU(), nn.Linear(embed, embed))
        width = base * c["mult"][0]
        self.first = nn.Conv2d(c["in_channels"], width, 3, padding=1)
        skips, r = [width], c["size"]
        self.down, self.middle, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, m in enumerate(c["mult"]):
            for _ in range(c["res_blocks"]):
                layers = [Residual(c, width, m * base, "")]
                width = m * base
                if r in c["attention"]:
                    layers.append(Attention(c, width))
                self.down.append(nn.ModuleList(layers))
                skips.append(width)
            if level < len(c["mult"]) - 1:
                self.down.append(nn.ModuleList([Residual(c, width, width, "down")]))
                skips.append(width)
                r //= 2
        self.middle.extend([Residual(c, width, width, ""), Attention(c, width), Residual(c, width, width, "")])
        for level, m in reversed(list(enumerate(c["mult"]))):
            for i in range(c["res_blocks"] + 1):
                layers = [Residual(c, width + skips.pop(), m * base, "")]
                width = m * base
                if r in c["attention"]:
                    layers.append(Attention(c, width))
                if level and i == c["res_blocks"]:
                    layers.append(Residual(c, width, width, "up"))
                    r *= 2
                self.up.append(nn.ModuleList(layers))
        self.norm, self.out = nn.GroupNorm(c["groups"], width), nn.Conv2d(width, c["out_channels"], 3, padding=1)

    def forward(self, x, t):
        half = self.c["channels"] // 2
        angle = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
        emb = self.time(torch.cat([angle.cos(), angle.sin()], -1))
        h = self.first(x)
        skips = [h]
        for layers in self.down:
            for layer in layers:
                h = layer(h, emb)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, emb)
        for layers in self.up:
            h = torch.cat([h, skips.pop()], 1)
            for layer in layers:
                h = layer(h, emb)
        return self.out(F.silu(self.norm(h)))


def load(net, job):
    """Fills the network with the tensors of a state dict, which lie one after another in a file."""
    params = list(net.parameters())
    if len(params) != len(job["shapes"]):
        raise ValueError(f"{len(params)} tensors here, {len(job['shapes'])} in ddpmlab's state dict")
    flat = torch.from_file(job["weights"], size=sum(math.prod(s) for s in job["shapes"]))
    for p, shape in zip(params, job["shapes"]):
        if list(p.shape) != shape[: p.dim()]:  # attention's are one-dimensional convolutions there
            raise ValueError(f"a tensor of shape {list(p.shape)} here, {shape} in ddpmlab's state dict")
        p.data.copy_(flat[: p.numel()].reshape(p.shape))
        flat = flat[p.numel() :]
    return net


def network(job, layout):
    return load(UNet(job["model"]), job).to(job["device"], memory_format=getattr(torch, layout))


def check(job):
    """The output for the job's images, NHWC."""
    c, device = job["model"], job["device"]
    x = torch.tensor(job["x"], device=device).reshape(-1, c["size"], c["size"], c["in_channels"]).permute(0, 3, 1, 2)
    net = network(job, "contiguous_format").eval()
    with torch.no_grad(), precision(job):
        return net(x, torch.tensor(job["t"], device=device)).float().permute(0, 2, 3, 1).flatten().tolist()


def precision(job):
    return torch.autocast(job["device"], torch.bfloat16, enabled=job["precision"] == "bf16")


def adamw(job, params):
    """The faster implementation of AdamW for these parameters."""
    variants = [{"fused": True}, {"foreach": True}]
    if job["kind"] == "memory":
        return variants[0]
    times = []
    for kind in variants:
        optimizer = torch.optim.AdamW(params, 0.0, weight_decay=0, **kind)  # at this rate it changes nothing
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
        times.append(min(seconds(optimizer.step, 3)))
        optimizer.zero_grad()
    return variants[times.index(min(times))]


def training(job, layout):
    """One training step: fresh noise, loss, gradients, AdamW, moving average."""
    c, batch, device = job["model"], job["batch"], job["device"]
    net = network(job, layout).train()
    model = torch.compile(net) if job["compile"] else net
    params = list(net.parameters())
    ema = [p.detach().clone() for p in params]
    optimizer = torch.optim.AdamW(params, 1e-4, weight_decay=0, **adamw(job, params))
    x0 = torch.rand(batch, c["in_channels"], c["size"], c["size"], device=device).mul(2).sub(1).to(memory_format=getattr(torch, layout))
    alpha_bar = torch.linspace(1, 0, 1001, device=device)[:-1]
    penalty = job["kind"] == "gp"

    def step():
        eps = torch.randn_like(x0)
        t = torch.randint(0, 1000, (batch,), device=device)
        a = alpha_bar[t][:, None, None, None]
        xt = (a.sqrt() * x0 + (1 - a).sqrt() * eps).requires_grad_(penalty)
        with precision(job):
            out = model(xt, t)
        loss = F.mse_loss(out.float(), eps)
        if penalty:  # Eq. 9: double backpropagation
            v = torch.randint(0, 2, out.shape, device=device).float() * 2 - 1
            (gx,) = torch.autograd.grad((v * out.float()).sum(), xt, create_graph=True)
            loss = loss + 1e-6 * gx.square().sum() / batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(ema, params, 1e-3)

    return step


def sampling(job, layout):
    """One step of the reverse chain, which is one forward pass."""
    c, batch, device = job["model"], job["batch"], job["device"]
    net = network(job, layout).eval()
    model = torch.compile(net) if job["compile"] else net
    x = torch.randn(batch, c["in_channels"], c["size"], c["size"], device=device).to(memory_format=getattr(torch, layout))

    def step():
        with torch.no_grad(), precision(job):
            model(x, torch.full((batch,), 500, device=device))

    return step


def curve(job):
    """The losses of a short training on inputs that are given, NHWC."""
    c, batch, device = job["model"], job["batch"], job["device"]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    n = batch * c["size"] ** 2 * c["in_channels"]
    steps = torch.from_file(job["inputs"], size=job["steps"] * (2 * n + batch)).reshape(job["steps"], -1)
    net = network(job, "channels_last").train()
    optimizer = torch.optim.AdamW(net.parameters(), job["lr"], weight_decay=0)
    losses = []
    for step in steps.to(device):
        x, eps = (v.reshape(batch, c["size"], c["size"], -1).permute(0, 3, 1, 2) for v in step[: 2 * n].split(n))
        with precision(job):
            out = net(x, step[2 * n :])
        loss = F.mse_loss(out.float(), eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def seconds(f, n=1):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        f()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def prepare(job):
    """The step in the faster of the layouts that the job allows, run twice or more."""
    make = sampling if job["kind"] == "forward" else training
    best = None
    for layout in job["layouts"]:
        step = make(job, layout)
        step()
        s = min(seconds(step, 2)) if len(job["layouts"]) > 1 else 0
        if best is None or s < best[0]:
            best = s, layout, step
    return best[1:]


def memory():
    """Resident bytes now, and their peak since the last call of reset_peak."""
    fields = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
    return [1024 * int(fields[k].split()[0]) for k in ("VmRSS", "VmHWM")]


def reset_peak():
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")


def footprint(job):
    """How far three steps raise the resident memory."""
    step = training(job, job["layouts"][0])
    reset_peak()
    before, _ = memory()
    seconds(step, 3)
    return memory()[1] - before


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    job = json.loads(sys.stdin.readline())
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    hello = {"version": torch.__version__, "params": sum(math.prod(s) for s in job["shapes"])}
    if job.get("x"):
        hello["out"] = check(job)
    if job["kind"] == "curve":
        return answer(**hello, losses=curve(job))
    if job["kind"] == "memory":
        return answer(**hello, bytes=footprint(job))
    # The fused kernel of attention has no second derivative.
    attention = sdpa_kernel(SDPBackend.MATH) if job["kind"] == "gp" else contextlib.nullcontext()
    with attention:
        hello["layout"], step = prepare(job)
        answer(**hello)
        for line in sys.stdin:
            answer(ms=[1e3 * s for s in seconds(step, json.loads(line)["n"])])


if __name__ == "__main__":
    main()
