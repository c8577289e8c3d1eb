"""The network of a ddpmlab preset in PyTorch, and the time of a training step.

Reads a JSON object {"model": Config, "batch": N, "steps": N, "lr": x} on standard
input and a line for each measurement wanted after it; writes a JSON object a line.
It is the peer of `make bench-torch`: the same layers as ddpm/unet, eager float32.
"""
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


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
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

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
        self.norm, self.qkv, self.proj = nn.GroupNorm(c["groups"], width), nn.Conv1d(width, 3 * width, 1), nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x, emb):
        b, c, h, w = x.shape
        flat = x.reshape(b, c, h * w)
        q, k, v = (u.reshape(b, self.heads, c // self.heads, h * w).transpose(2, 3) for u in self.qkv(self.norm(flat)).chunk(3, 1))
        a = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h * w)
        return (flat + self.proj(a)).reshape(b, c, h, w)


class UNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        base, embed = c["channels"], 4 * c["channels"]
        self.time = nn.Sequential(nn.Linear(base, embed), nn.SiLU(), nn.Linear(embed, embed))
        width = base * c["mult"][0]
        self.first = nn.Conv2d(c["in_channels"], width, 3, padding=1)
        skips, r = [width], c["size"]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
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
        self.middle = nn.ModuleList([Residual(c, width, width, ""), Attention(c, width), Residual(c, width, width, "")])
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
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t):
        half = self.c["channels"] // 2
        angle = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
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


def main():
    job = json.loads(sys.stdin.readline())
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    c, batch = job["model"], job["batch"]
    net = UNet(c).to(memory_format=torch.channels_last)
    params = list(net.parameters())
    ema = [p.detach().clone() for p in params]
    optimizer = torch.optim.AdamW(params, job["lr"], weight_decay=0, fused=True)
    x0 = torch.randn(batch, c["in_channels"], c["size"], c["size"]).to(memory_format=torch.channels_last)
    alpha_bar = torch.linspace(1, 0, 1001)[:-1]

    def step(penalty):
        eps = torch.randn_like(x0)
        t = torch.randint(0, 1000, (batch,))
        a = alpha_bar[t][:, None, None, None]
        xt = (a.sqrt() * x0 + (1 - a).sqrt() * eps).requires_grad_(penalty)
        out = net(xt, t)
        loss = F.mse_loss(out, eps)
        if penalty:
            v = torch.randint(0, 2, out.shape).float() * 2 - 1
            (gx,) = torch.autograd.grad((v * out).sum(), xt, create_graph=True)
            loss = loss + 1e-6 * gx.square().sum() / batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(ema, params, 1e-3)

    def sample_step(_):
        with torch.no_grad():
            net(x0, torch.full((batch,), 500))

    kinds = {"train": (step, False), "penalty": (step, True), "forward": (sample_step, False)}
    for name, (f, flag) in kinds.items():
        f(flag)
    print(json.dumps({"params": sum(p.numel() for p in params), "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        f, flag = kinds[line.strip()]
        start = time.perf_counter()
        f(flag)
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - start)}), flush=True)


if __name__ == "__main__":
    main()
