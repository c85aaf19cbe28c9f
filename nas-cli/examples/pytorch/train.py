"""Trains the networks that `nas search --evaluator "python3 train.py"` asks for, with PyTorch.

Reads one JSON object a line: {"trial": 3, "seed": 1234, "architecture": {...}}. Answers with one a line: an epoch as often
as it likes, and at last the metrics, or {"error": "..."}.
"""

import json
import sys

import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
EPOCHS = 5


def spirals(n, seed):
    """Points of two spirals: [n, 2], and which one they belong to: [n]."""
    g = torch.Generator().manual_seed(seed)
    turn = torch.rand(n, generator=g) * 3 * torch.pi
    label = torch.arange(n) % 2
    angle = turn + torch.pi * label
    points = torch.stack([angle.cos(), angle.sin()], 1) * turn[:, None] / 10
    return points + 0.03 * torch.randn(n, 2, generator=g), label


def train(seed, architecture, report):
    torch.manual_seed(seed % 2**63)
    width, activation = architecture["width"], ACTIVATIONS[architecture["activation"]]
    layers, inputs = [], 2
    for _ in range(architecture["layers"]):
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    model = nn.Sequential(*layers, nn.Linear(inputs, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=architecture["learning_rate"])
    (x, y), (validation_x, validation_y) = spirals(2048, 1), spirals(1024, 2)
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(validation_x).argmax(1) == validation_y).float().mean().item()
        if not report(epoch, {"accuracy": accuracy}):
            break
    parameters = sum(p.numel() for p in model.parameters())
    return {"accuracy": accuracy, "parameters": parameters}


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)

        def report(epoch, metrics):
            say({"epoch": epoch, "epochs": EPOCHS, "metrics": metrics})
            # With --early-stopping, nas says whether the trial is worth its other epochs.
            return json.loads(sys.stdin.readline())["go_on"] if request["judged"] else True

        try:
            metrics = train(request["seed"], request["architecture"], report)
            say({"metrics": metrics})
        except (ValueError, KeyError, RuntimeError) as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
