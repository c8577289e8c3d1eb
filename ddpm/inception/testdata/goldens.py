"""Writes goldens.json: what pytorch-fid's Inception network makes of two images, layer by layer.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 torchvision==0.29.2 pytorch-fid==0.3.0
    venv/bin/python ddpm/inception/testdata/goldens.py

The weights are the numbers of `noise`, which inception_test.go makes too, so that neither has to be kept.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torchvision
from pytorch_fid import inception

MASK = np.uint32(0xFFFFFFFF)


def noise(n, seed):
    """n numbers in [-1, 1): a hash of the index (Wellons' lowbias32), 24 bits of it."""
    with np.errstate(over="ignore"):
        x = np.arange(n, dtype=np.uint32) + np.uint32(seed) * np.uint32(0x9E3779B9)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
        x = x ^ (x >> np.uint32(16))
    return (x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def fill(net):
    """Weights that keep the size of what passes, and batch norms that do something."""
    state = {}
    for seed, (name, t) in enumerate(sorted((k, v) for k, v in net.state_dict().items() if "num_batches" not in k)):
        v = noise(t.numel(), seed)
        if name.endswith(("conv.weight", "fc.weight")):
            v = v * np.float32(math.sqrt(6 / (t.numel() // t.shape[0])))
        elif name.endswith("bn.weight"):
            v = np.float32(1) + v / np.float32(2)
        elif name.endswith("running_var"):
            v = np.float32(1) + v / np.float32(2)
        else:
            v = v / np.float32(4)
        state[name] = torch.from_numpy(v.reshape(t.shape))
    net.load_state_dict(state, strict=False)
    return len(state)


def resize(x, size):
    """TensorFlow 1's bilinear resize of N,H,W,C: without half-pixel centres, in float32."""

    def between(n):
        at = np.arange(size, dtype=np.float32) * (np.float32(n) / np.float32(size))
        lo = np.floor(at).astype(np.int64)
        return lo, np.minimum(lo + 1, n - 1), at - lo.astype(np.float32)

    y0, y1, fy = between(x.shape[1])
    x0, x1, fx = between(x.shape[2])
    fx, fy = fx[None, None, :, None], fy[None, :, None, None]
    rows = [x[:, i] for i in (y0, y1)]
    top, bottom = (r[:, :, x0] + (r[:, :, x1] - r[:, :, x0]) * fx for r in rows)
    return top + (bottom - top) * fy


def summary(t):
    """Shape, root mean square, mean and some entries of a tensor, N,H,W,C."""
    if t.dim() == 4:
        t = t.permute(0, 2, 3, 1)
    v = t.contiguous().flatten().double().numpy()
    at = [i * (len(v) - 1) // 23 for i in range(24)]
    return {
        "shape": list(t.shape),
        "rms": float(f"{np.sqrt(np.mean(v * v)):.7g}"),
        "mean": float(f"{v.mean():.7g}"),
        "entries": [float(f"{v[i]:.7g}") for i in at],
    }


def main():
    torchvision.models.Inception3.load_state_dict = lambda *_: None
    inception.load_state_dict_from_url = lambda *_, **__: None
    net = inception.fid_inception_v3().eval()
    del torchvision.models.Inception3.load_state_dict
    count = fill(net)
    net.fc.bias.data.zero_()  # the Inception score does without

    layers = []
    kinds = (torchvision.models.inception.BasicConv2d,)
    for name, m in net.named_modules():
        if isinstance(m, kinds) or name.startswith("Mixed") and "." not in name:
            m.register_forward_hook(lambda _m, _i, out, name=name: layers.append((name, out)))
    bytes_ = ((noise(2 * 24 * 32 * 3, 1000) + 1) * 128).astype(np.uint8).reshape(2, 24, 32, 3)
    resized = resize(bytes_.astype(np.float32), 299)
    x = torch.from_numpy((resized - 128) / 128).permute(0, 3, 1, 2)
    with torch.no_grad():
        transform, net.transform_input = net.transform_input, False
        pool = []
        net.dropout.register_forward_hook(lambda _m, i, _o: pool.append(i[0]))
        logits = net(x)
    found = dict(layers)
    spatial = found["Mixed_6d.branch1x1"][:, :7].permute(0, 2, 3, 1).reshape(2, -1)
    out = {
        "made_by": f"torch {torch.__version__}, torchvision {torchvision.__version__}, pytorch-fid 0.3.0",
        "tensors": count,
        "layers": {"resize": summary(x), **{n: summary(t) for n, t in layers}},
        "pool": summary(pool[0].flatten(1)),
        "spatial": summary(spatial),
        "logits": summary(logits),
    }
    text = json.dumps(out).replace('}, "', '},\n"')
    pathlib.Path(__file__).with_name("goldens.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
