# Makes the data sets of this folder with the ecosystem's own writers, and what Pillow and
# the authors' code make of them (golden/): made with Python 3.11, numpy 2.4.6, Pillow 11.3.0
# (libjpeg-turbo, libwebp) and lmdb 3.0.0, from an empty folder by
#
#   pip install numpy==2.4.6 pillow==11.3.0 lmdb==3.0.0 && python make.py
#
# golden/NAME.bin are the N x H x W x C bytes that a set has to give, golden.json their shapes
# and classes.
import gzip, io, json, os, pickle, shutil, struct, zipfile
import lmdb
import numpy as np
from PIL import Image

golden = {}

def keep(name, images, labels=None, **more):
    """Images that set `name` has to give: a list of H x W x C arrays."""
    a = np.stack([np.asarray(i, np.uint8) for i in images])
    if a.ndim == 3:
        a = a[..., None]
    a.tofile(f"golden/{name}.bin")
    golden[name] = {"shape": list(a.shape), "labels": labels, **more}

def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path

fresh("golden")
rng = np.random.default_rng(6)

# Pictures with edges, gradients and noise, so that resampling and chroma show.
def picture(h, w, c=3):
    y, x = np.mgrid[0:h, 0:w]
    p = np.stack([128 + 100 * np.sin((x * (k + 1) + y * (3 - k)) / 7) for k in range(c)], -1)
    p[h // 4 : h // 2, w // 3 : 2 * w // 3] = [250, 20, 60, 128][:c]
    p += rng.normal(0, 6, p.shape)
    return np.clip(p, 0, 255).astype(np.uint8)

# guided-diffusion, image_datasets.py, center_crop_arr
def adm(im, size):
    while min(im.size) >= 2 * size:
        im = im.resize(tuple(x // 2 for x in im.size), resample=Image.BOX)
    scale = size / min(im.size)
    im = im.resize(tuple(round(x * scale) for x in im.size), resample=Image.BICUBIC)
    a = np.array(im)
    y, x = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    return a[y : y + size, x : x + size]

# guided-diffusion, datasets/lsun_bedroom.py, read_images
def lsun(im, size):
    w, h = im.size
    scale = size / min(w, h)
    im = im.resize((int(round(scale * w)), int(round(scale * h))), resample=Image.BOX)
    a = np.array(im)
    y, x = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    return a[y : y + size, x : x + size]

# --- CIFAR-10: 5 training images of 2 files, and one of the test
images = [picture(32, 32) for _ in range(6)]
labels = [3, 9, 0, 3, 7, 1]
planar = np.stack([i.transpose(2, 0, 1).reshape(-1) for i in images])  # R, G and B planes
names = "airplane automobile bird cat deer dog frog horse ship truck".split()
parts = {"data_batch_1": slice(0, 3), "data_batch_2": slice(3, 5), "test_batch": slice(5, 6)}
keep("cifar", images[:5], labels[:5])
fresh("cifar-bin")
for name, s in parts.items():
    np.concatenate([np.array(labels[s], np.uint8)[:, None], planar[s]], 1).tofile(f"cifar-bin/{name}.bin")
open("cifar-bin/batches.meta.txt", "w").write("\n".join(names) + "\n")
open("cifar-bin/readme.html", "w").write("<meta HTTP-EQUIV='REFRESH' content='0; url=http://www.cs.toronto.edu/~kriz/cifar.html'>")

class Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, in which CIFAR-10 is published."""
    dispatch = dict(pickle._Pickler.dispatch)
    def save_bytes(self, b):
        self.write(b"U" + bytes([len(b)]) + b if len(b) < 256 else b"T" + struct.pack("<i", len(b)) + b)
        self.memoize(b)
    dispatch[bytes] = save_bytes

def batch(s, key):
    return {key("batch_label"): key("training batch"), key("labels"): labels[s], key("data"): planar[s], key("filenames"): [key("x.png")] * len(labels[s])}

for folder, protocol in (("py2", None), ("py-2", 2), ("py-4", 4), ("py-5", 5)):
    fresh(f"cifar-{folder}")
    for name, s in parts.items():
        with open(f"cifar-{folder}/{name}", "wb") as f:
            if protocol is None:
                Python2(f, 2).dump(batch(s, str.encode))
            else:
                pickle.dump(batch(s, str), f, protocol)
    if protocol is None:
        pickle.dump({"label_names": names, "num_vis": 3072}, open(f"cifar-{folder}/batches.meta", "wb"), 2)

# the README's dump to PNG: class names of torchvision, one running number
fresh("cifar-png")
short = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
dumped = sorted((f"{short[l]}_{k + 1:05d}.png", i, l) for k, (i, l) in enumerate(zip(images[:5], labels)))
for name, i, _ in dumped:
    Image.fromarray(i).save(f"cifar-png/{name}")
found = sorted({short[l] for _, _, l in dumped})
keep("cifar-png", [i for _, i, _ in dumped], [found.index(short[l]) for _, _, l in dumped], classes=found)

# --- npz: ImageNet32's batches, its pack of one array, a compressed one, plain .npy
fresh("imagenet32")
np.savez("imagenet32/train_data_batch_1.npz", data=planar[:3], labels=np.array([1, 1000, 7]), mean=planar.mean(0))
np.savez("imagenet32/train_data_batch_2.npz", data=planar[3:5], labels=np.array([2, 2]), mean=planar.mean(0))
keep("imagenet32", images[:5], [0, 999, 6, 1, 1])
fresh("npz")
np.savez("npz/samples_5x32x32x3.npz", np.stack(images[:5]))
np.savez_compressed("npz/compressed.npz", np.stack(images[:5]), np.array(labels[:5]))
np.save("npz/grey.npy", np.stack(images[:5])[..., 0])
np.savez("npz/planar.npz", np.stack(images[:5]).transpose(0, 3, 1, 2).copy())
np.savez("npz/float.npz", images[0][None] / 255.0)
keep("grey", [i[..., 0] for i in images[:5]])

# --- IDX, as torchvision keeps Fashion-MNIST
fresh("idx/FashionMNIST/raw")
for name, s in (("train", slice(0, 5)), ("t10k", slice(5, 6))):
    pix = np.stack([i[:28, :28, 1] for i in images[s]])
    for kind, data in ((f"{name}-images-idx3-ubyte", struct.pack(">4i", 0x803, *pix.shape) + pix.tobytes()),
                       (f"{name}-labels-idx1-ubyte", struct.pack(">2i", 0x801, len(pix)) + bytes(labels[s]))):
        open(f"idx/FashionMNIST/raw/{kind}", "wb").write(data)
        with gzip.GzipFile(f"idx/FashionMNIST/raw/{kind}.gz", "wb", mtime=0) as f:
            f.write(data)
keep("idx", [i[:28, :28, 1] for i in images[:5]], labels[:5])

# --- folders of images of every mode, cropped as guided-diffusion does
def save(path, array, mode=None, **how):
    im = Image.fromarray(array)
    if mode:
        im = im.convert(mode)
    im.save(path, **how)

fresh("folder/a")
fresh("folder/b")
save("folder/a/rgb.png", picture(48, 70))
save("folder/a/rgba.PNG", picture(40, 33, 4))
save("folder/a/grey.png", picture(37, 37)[..., 0])
save("folder/a/la.png", np.stack([picture(33, 40)[..., 0], picture(33, 40)[..., 1]], -1))
save("folder/b/palette.png", picture(64, 50), "P")
save("folder/b/bits.png", picture(50, 40)[..., 0], "1")
save("folder/b/palette.gif", picture(35, 61), "P")
save("folder/b/small.png", picture(11, 16))
Image.fromarray(picture(45, 45)[..., 0].astype(np.uint16) * 257).save("folder/b/deep.png")
open("folder/notes.txt", "w").write("not an image\n")
paths = ["a/grey.png", "a/la.png", "a/rgb.png", "a/rgba.PNG", "b/bits.png", "b/deep.png", "b/palette.gif", "b/palette.png", "b/small.png"]
def rgb(path):
    im = Image.open(path)
    if im.mode.startswith("I"):  # convert("RGB") would clip 16 bits to white; the high byte is meant
        im = Image.fromarray((np.array(im) // 256).astype(np.uint8))
    return im.convert("RGB")
keep("folder", [adm(rgb("folder/" + p), 16) for p in paths], [0] * 4 + [1] * 5, classes=["a", "b"])

# JPEG by libjpeg, subsampled and not
fresh("jpeg")
save("jpeg/420.jpg", picture(46, 65), quality=90, subsampling=2)
save("jpeg/422.jpg", picture(46, 65), quality=90, subsampling=1)
save("jpeg/444.jpeg", picture(46, 65), quality=90, subsampling=0)
save("jpeg/grey.jpg", picture(46, 65)[..., 0], quality=90)
save("jpeg/progressive.jpg", picture(46, 65), quality=90, progressive=True)
for n in (64, 20):
    keep(f"jpeg-{n}", [adm(Image.open("jpeg/" + p).convert("RGB"), n) for p in sorted(os.listdir("jpeg"))])

# --- only grey images: one channel
fresh("greys")
for k in range(3):
    save(f"greys/x_{k}.png", picture(20 + k, 24)[..., 0])
keep("greys", [adm(Image.open(f"greys/x_{k}.png"), 20) for k in range(3)], [0] * 3, classes=["x"])

# --- EDM's archive, as its dataset_tool writes it
with zipfile.ZipFile("edm.zip", "w", zipfile.ZIP_STORED) as z:
    entries = []
    for k, i in enumerate(images[:5]):
        b = io.BytesIO()
        Image.fromarray(i).save(b, format="png", compress_level=0, optimize=False)
        name = f"{k // 1000:05d}/img{k:08d}.png"
        z.writestr(name, b.getvalue())
        entries.append([name, labels[k]])
    z.writestr("dataset.json", json.dumps({"labels": entries}))

# --- LSUN's LMDB: a tree of several levels, values inside pages and outside
def webp(array, **how):
    b = io.BytesIO()
    Image.fromarray(array).save(b, format="WEBP", **how)
    return b.getvalue()

fresh("lmdb")
records = {}
for k in range(130):
    records[f"{(k * 7919) % 1000:040d}".encode()] = webp(np.full((9, 8 + k % 5, 3), k, np.uint8), quality=75)
for k, (h, w) in enumerate([(64, 91), (75, 64), (65, 65), (41, 58), (256, 300)]):
    records[f"z{k}".encode()] = webp(picture(h, w), quality=90)
env = lmdb.open("lmdb/tower_train_lmdb", map_size=1 << 20, lock=False)
with env.begin(write=True) as txn:
    for k, v in records.items():
        txn.put(k, v)
with env.begin(write=True) as txn:  # a second transaction: the other meta page, freed pages
    txn.delete(b"z4")
    txn.put(b"z4", records[b"z4"])
env.close()
def opened(b):
    return Image.open(io.BytesIO(b))
order = sorted(records)
last = [opened(records[k]) for k in order[-5:]]
assert all(i.mode == "RGB" for i in last)
keep("lsun-first", [lsun(opened(records[k]), 8) for k in order[:130]])
keep("lsun-last", [lsun(i, 32) for i in last])
fresh("lmdb/webp")  # decoding alone
for k in (0, 3):
    open(f"lmdb/webp/{k}.webp", "wb").write(records[f"z{k}".encode()])
    Image.open(f"lmdb/webp/{k}.webp").convert("RGB").save(f"lmdb/webp/{k}.png")
open("lmdb/webp/lossless.webp", "wb").write(webp(picture(21, 30, 4), lossless=True))
Image.open("lmdb/webp/lossless.webp").convert("RGB").save("lmdb/webp/lossless.png")
open("lmdb/webp/alpha.webp", "wb").write(webp(picture(22, 31, 4), quality=80))
Image.open("lmdb/webp/alpha.webp").convert("RGB").save("lmdb/webp/alpha.png")

# --- resampling alone: pixel (y, x, c) of the input is (y*y*31 + x*x*17 + y*x*7 + c*101) % 256
def formula(h, w, c):
    y, x, k = np.mgrid[0:h, 0:w, 0:c]
    a = ((y * y * 31 + x * x * 17 + y * x * 7 + k * 101) % 256).astype(np.uint8)
    return Image.fromarray(a[..., 0] if c == 1 else a)
cases, out = [], []
for name, f in (("box", Image.BOX), ("bicubic", Image.BICUBIC)):
    for (h, w, c), (nh, nw) in [((31, 47, 3), (15, 23)), ((31, 47, 1), (16, 24)), ((20, 20, 3), (20, 33)), ((20, 21, 3), (7, 21)), ((9, 7, 3), (28, 22)), ((64, 3, 3), (5, 1))]:
        a = np.array(formula(h, w, c).resize((nw, nh), resample=f))
        out.append(a.tobytes())
        cases.append({"filter": name, "in": [h, w, c], "out": [nh, nw]})
open("golden/resize.bin", "wb").write(b"".join(out))
golden["resize"] = {"cases": cases}

# --- broken ones
fresh("broken")
good = open("folder/a/rgb.png", "rb").read()
open("broken/a_1.png", "wb").write(good)
open("broken/b_cut.png", "wb").write(good[:-200])
open("broken/c_text.png", "wb").write(b"not an image")
jpeg = open("jpeg/420.jpg", "rb").read()
open("broken/d_cut.jpg", "wb").write(jpeg[: len(jpeg) // 2])
flipped = bytearray(good)
flipped[len(good) // 2] ^= 0x10
open("broken/e_flipped.png", "wb").write(flipped)
open("broken/f_empty.png", "wb").close()
open("broken/g_2.png", "wb").write(open("folder/a/grey.png", "rb").read())
keep("broken", [adm(Image.open(f"broken/{n}").convert("RGB"), 16) for n in ("a_1.png", "g_2.png")])

json.dump(golden, open("golden/golden.json", "w"), indent=1)
