# Makes small.pt, an official-layout checkpoint in small, with PyTorch, and what a reverse step
# computed with PyTorch alone makes of it: made with torch 2.15.0, by
#
#   pip install torch==2.15.0 && python make_weights.py
#
# The network is guided-diffusion's UNetModel with 8 base channels, channel_mult 1,2, one
# residual block, attention at 4, head channels 8, learned variance, on 8x8x3. Its group
# norms have 32 groups in the authors' code; 8 channels allow 8.
import json, math
import torch
import torch.nn.functional as F
from collections import OrderedDict

mc, mult, nres, head, groups, size = 8, (1, 2), 1, 8, 8, 8
E = 4 * mc
P = OrderedDict()

def put(name, *shape):
    k = len(P)
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    v = torch.sin(0.7 * i + 1.3 * k)
    if len(shape) == 1:
        v = 1 + 0.1 * v if name.endswith("weight") else 0.1 * v
    else:
        v = v / math.sqrt(math.prod(shape[1:]))
    P[name] = torch.nn.Parameter(v.reshape(shape).float())

def layer(name, *shape):
    put(name + ".weight", *shape)
    put(name + ".bias", shape[0])

def res(p, i, o):
    layer(p + ".in_layers.0", i); layer(p + ".in_layers.2", o, i, 3, 3); layer(p + ".emb_layers.1", 2 * o, E)
    layer(p + ".out_layers.0", o); layer(p + ".out_layers.3", o, o, 3, 3)
    if i != o:
        layer(p + ".skip_connection", o, i, 1, 1)

def att(p, c):
    layer(p + ".norm", c); layer(p + ".qkv", 3 * c, c, 1); layer(p + ".proj_out", c, c, 1)

layer("time_embed.0", E, mc); layer("time_embed.2", E, E)
layer("input_blocks.0.0", 8, 3, 3, 3)
res("input_blocks.1.0", 8, 8)
res("input_blocks.2.0", 8, 8)  # down
res("input_blocks.3.0", 8, 16); att("input_blocks.3.1", 16)
res("middle_block.0", 16, 16); att("middle_block.1", 16); res("middle_block.2", 16, 16)
res("output_blocks.0.0", 32, 16); att("output_blocks.0.1", 16)
res("output_blocks.1.0", 24, 16); att("output_blocks.1.1", 16); res("output_blocks.1.2", 16, 16)  # up
res("output_blocks.2.0", 24, 8); res("output_blocks.3.0", 16, 8)
layer("out.0", 8); layer("out.2", 6, 8, 3, 3)
torch.save(P, "small.pt")

D = {k: v.detach().double() for k, v in P.items()}
def gn(p, h): return F.group_norm(h, groups, D[p + ".weight"], D[p + ".bias"], 1e-5)
def lin(f, p, h, **k): return f(h, D[p + ".weight"], D[p + ".bias"], **k)
def forward(x, t):
    half = mc // 2
    a = t.double()[:, None] * torch.exp(-math.log(10000) * torch.arange(half).double() / half)
    emb = lin(F.linear, "time_embed.2", F.silu(lin(F.linear, "time_embed.0", torch.cat([a.cos(), a.sin()], 1))))
    def r(p, h, ud=None):
        z = F.silu(gn(p + ".in_layers.0", h))
        if ud == "down": z, h = F.avg_pool2d(z, 2), F.avg_pool2d(h, 2)
        if ud == "up": z, h = (F.interpolate(u, scale_factor=2, mode="nearest") for u in (z, h))
        z = lin(F.conv2d, p + ".in_layers.2", z, padding=1)
        s, b = lin(F.linear, p + ".emb_layers.1", F.silu(emb))[:, :, None, None].chunk(2, 1)
        z = lin(F.conv2d, p + ".out_layers.3", F.silu(gn(p + ".out_layers.0", z) * (1 + s) + b), padding=1)
        return z + (lin(F.conv2d, p + ".skip_connection", h) if p + ".skip_connection.weight" in D else h)
    def at(p, h):
        B, C, H, W = h.shape
        q, k, v = (u.reshape(B * C // head, head, -1) for u in lin(F.conv1d, p + ".qkv", gn(p + ".norm", h.reshape(B, C, -1))).chunk(3, 1))
        w = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(head), -1)
        return h + lin(F.conv1d, p + ".proj_out", torch.einsum("bts,bcs->bct", w, v).reshape(B, C, -1)).reshape(h.shape)
    hs = [lin(F.conv2d, "input_blocks.0.0", x, padding=1)]
    hs.append(r("input_blocks.1.0", hs[-1]))
    hs.append(r("input_blocks.2.0", hs[-1], "down"))
    hs.append(at("input_blocks.3.1", r("input_blocks.3.0", hs[-1])))
    h = r("middle_block.2", at("middle_block.1", r("middle_block.0", hs[-1])))
    def cat(h): return torch.cat([h, hs.pop()], 1)
    h = at("output_blocks.0.1", r("output_blocks.0.0", cat(h)))
    h = r("output_blocks.1.2", at("output_blocks.1.1", r("output_blocks.1.0", cat(h))), "up")
    h = r("output_blocks.2.0", cat(h))
    h = r("output_blocks.3.0", cat(h))
    return lin(F.conv2d, "out.2", F.silu(gn("out.0", h)), padding=1)

x = torch.sin(0.05 * torch.arange(2 * 3 * size * size).double()).reshape(2, size, size, 3)  # N,H,W,C
y = forward(x.permute(0, 3, 1, 2), torch.tensor([10, 500])).permute(0, 2, 3, 1)
json.dump({"x": "sin(0.05 i), NHWC", "t": [10, 500], "eps": y[..., :3].flatten().tolist(), "v": y[..., 3:].flatten().tolist()},
          open("small_weights.json", "w"))
print(sum(v.numel() for v in P.values()), len(P))
