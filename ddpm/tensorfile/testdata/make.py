# Makes the .pt files of this folder with PyTorch, as the authors' code leaves them: made
# with torch 2.15. numbers() is what the tests expect.
import torch

def numbers(*shape):
    n = 1
    for d in shape:
        n *= d
    return torch.sin(0.7 * torch.arange(n, dtype=torch.float64)).reshape(shape)

flat = numbers(40).float()
shared = {  # views into one storage, with offset and strides, as after training with fp16
    "a.weight": flat[4:16].reshape(3, 4),
    "a.transposed": flat[4:16].reshape(3, 4).t(),
    "b.bias": flat[30:],
}
types = {d: numbers(2, 3).to(getattr(torch, d)) for d in ("float16", "bfloat16", "float32", "float64")}
types["int64"] = torch.arange(-2, 4).reshape(2, 3)
types["scalar"] = torch.tensor(2.5)
parameters = {"w": torch.nn.Parameter(numbers(2, 2).float())}
m = torch.nn.Linear(3, 2)
opt = torch.optim.AdamW(m.parameters())
m(torch.ones(1, 3)).sum().backward()
opt.step()
torch.save(shared, "shared.pt")
torch.save(shared, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(types, "types.pt")
torch.save(parameters, "parameters.pt")
torch.save(opt.state_dict(), "optimizer.pt")
class Evil:
    def __reduce__(self):
        import os
        return os.system, ("echo executed",)
torch.save({"w": flat, "x": Evil()}, "evil.pt")
