"""Trains an epoch in PyTorch from the weights and in the order that our engine used, and compares where both end.

    epoch.py FOLDER < EPOCHS   reads the epochs of `peer epochs COUNT`, a line of JSON each, takes the images from the IDX
                               files of FOLDER, and answers each with a line:
                               {"seed": 1, "ours": {"loss": 1.2, "accuracy": 0.7}, "torch": {...}}
"""

import gzip
import json
import pathlib
import sys

import torch
from torch.nn import functional as F
from torch_workloads import small_cnn


def idx(file):
    """The array of a gzipped IDX file of bytes."""
    with gzip.open(file) as opened:
        content = opened.read()
    axes = content[3]
    sizes = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    return torch.frombuffer(bytearray(content[4 + 4 * axes :]), dtype=torch.uint8).reshape(sizes)


def images(folder, part):
    pixels = idx(folder / f"{part}-images-idx3-ubyte.gz").unsqueeze(1).float() / 127.5 - 1
    return pixels, idx(folder / f"{part}-labels-idx1-ubyte.gz").long()


def train(epoch, data):
    """The mean loss of an epoch's steps, and the accuracy after it."""
    (x, y), (test_x, test_y) = data
    model = small_cnn()
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), epoch["parameters"], strict=True):
            values = torch.tensor(start["values"]).reshape(start["dims"])
            parameter.copy_(values.T if values.dim() == 2 else values)
    settings = {"momentum": epoch["momentum"], "weight_decay": epoch["weight_decay"], "nesterov": True}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, **settings)
    total = 0.0
    for step, rate in enumerate(epoch["learning_rates"]):
        numbers = epoch["order"][step * epoch["batch"] : (step + 1) * epoch["batch"]]
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[numbers]), y[numbers])
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        right = (model(test_x).argmax(1) == test_y).float().mean().item()
    return {"loss": total / len(epoch["learning_rates"]), "accuracy": right}


def main(folder):
    torch.set_num_threads(1)
    data = [images(folder, part) for part in ("train", "t10k")]
    for line in sys.stdin:
        epoch = json.loads(line)
        ours = {"loss": epoch["loss"], "accuracy": epoch["accuracy"]}
        print(json.dumps({"seed": epoch["seed"], "ours": ours, "torch": train(epoch, data)}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: epoch.py FOLDER")
    main(pathlib.Path(sys.argv[1]))
