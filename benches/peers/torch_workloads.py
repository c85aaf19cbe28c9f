"""The workloads in PyTorch: network, data, optimizer and one training step of each.

`benches/src/workloads.rs` implements the same definitions on our engine. Networks run eagerly; those of images keep their
channels last, which is PyTorch's faster layout for them; optimizers are fused.
"""

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY = 65
USERS, ITEMS = 1000, 1700


Chain = nn.Sequential


def conv(channels, filters, kernel, stride=1, groups=1):
    return nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)


class Classify(nn.Module):
    """The mean of every channel, then a linear map."""

    def __init__(self, channels):
        super().__init__()
        self.linear = nn.Linear(channels, 10)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


def mlp():
    return Chain(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def small_cnn():
    def brick(channels, filters):
        return Chain(conv(channels, filters, 3), nn.BatchNorm2d(filters), nn.ReLU())

    return Chain(brick(1, 16), brick(16, 32), nn.MaxPool2d(2), brick(32, 64), Classify(64))


# ---- NAS-Bench-201. The edges of a cell in the order 0→1, 0→2, 1→2, 0→3, 1→3, 2→3.

ALL_3X3 = ["conv", "conv", "conv", "conv", "conv", "conv"]
BEST = ["conv", "conv", "conv", "skip", "conv", "conv"]


def relu_conv_bn(channels, filters, stride=1):
    return Chain(nn.ReLU(), conv(channels, filters, 3, stride), nn.BatchNorm2d(filters))


class Cell(nn.Module):
    def __init__(self, channels, edges):
        super().__init__()
        make = {"conv": lambda: relu_conv_bn(channels, channels), "skip": nn.Identity}
        self.edges = nn.ModuleList(make[edge]() for edge in edges)

    def forward(self, x):
        nodes, edges = [x], iter(self.edges)
        for _ in range(3):
            total = None
            for node in list(nodes):
                term = next(edges)(node)
                total = term if total is None else total + term
            nodes.append(total)
        return nodes[-1]


class Reduction(nn.Module):
    def __init__(self, channels, filters):
        super().__init__()
        self.body = Chain(relu_conv_bn(channels, filters, 2), relu_conv_bn(filters, filters))
        self.shortcut = Chain(nn.AvgPool2d(2), conv(channels, filters, 1))

    def forward(self, x):
        return self.shortcut(x) + self.body(x)


def nas_bench_201(edges):
    layers = [conv(3, 16, 3), nn.BatchNorm2d(16), Cell(16, edges)]
    for channels in (16, 32):
        layers += [Reduction(channels, 2 * channels), Cell(2 * channels, edges)]
    return Chain(*layers, nn.BatchNorm2d(64), nn.ReLU(), Classify(64))


# ---- Inverted residual blocks.


class InvertedResidual(nn.Module):
    def __init__(self, channels, filters, kernel, stride):
        super().__init__()
        wide = 3 * channels
        self.body = Chain(
            conv(channels, wide, 1),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            conv(wide, wide, kernel, stride, groups=wide),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            conv(wide, filters, 1),
            nn.BatchNorm2d(filters),
        )
        self.adds = stride == 1 and channels == filters

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def mobile_net():
    blocks = [InvertedResidual(16, 16, 3, 1), InvertedResidual(16, 24, 5, 2)]
    blocks += [InvertedResidual(24, 24, 3, 1), InvertedResidual(24, 40, 5, 2)]
    return Chain(conv(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU6(), *blocks, Classify(40))


# ---- Language models. Recurrent ones take [time, batch].


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 128)
        self.lstm = nn.LSTM(128, 256)
        self.output = nn.Linear(256, VOCABULARY)

    def forward(self, tokens):
        return self.output(self.lstm(self.embedding(tokens))[0]).flatten(0, 1)


class RecurrentCell(nn.Module):
    """A cell of eight gated nodes: the node before each of nodes 1 to 7, and its activation."""

    NODES = [(0, torch.relu), (1, torch.tanh), (1, torch.sigmoid), (2, None), (3, torch.relu), (0, torch.tanh), (5, torch.tanh)]
    WIDTH = 256

    def __init__(self):
        super().__init__()
        width = self.WIDTH
        self.embedding = nn.Embedding(VOCABULARY, 128)
        self.input = nn.Linear(128, 2 * width)
        self.hidden = nn.Linear(width, 2 * width, bias=False)
        self.nodes = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in self.NODES)
        self.output = nn.Linear(width, VOCABULARY)
        feeds = {before for before, _ in self.NODES}
        self.loose = [node for node in range(len(self.NODES) + 1) if node not in feeds]

    def step(self, from_input, h):
        gate, value = (from_input + self.hidden(h)).chunk(2, 1)
        nodes = [torch.lerp(h, torch.tanh(value), torch.sigmoid(gate))]
        for (before, activation), linear in zip(self.NODES, self.nodes):
            gate, value = linear(nodes[before]).chunk(2, 1)
            value = value if activation is None else activation(value)
            nodes.append(torch.lerp(nodes[before], value, torch.sigmoid(gate)))
        return sum(nodes[node] for node in self.loose) / len(self.loose)

    def forward(self, tokens):
        from_input = self.input(self.embedding(tokens))  # one product for all steps
        h = from_input.new_zeros(tokens.shape[1], self.WIDTH)
        states = []
        for at in from_input:
            h = self.step(at, h)
            states.append(h)
        return self.output(torch.stack(states)).flatten(0, 1)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = Chain(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, steps, width = x.shape
        parts = self.mix(self.norm(x)).view(batch, steps, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(found.transpose(1, 2).reshape(batch, steps, width))
        return x + self.feed_forward(self.norm_2(x))


class Transformer(nn.Module):
    def __init__(self, width=128, steps=64):
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, width), nn.Embedding(steps, width)
        self.blocks = Chain(Block(width, 4), Block(width, 4))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def forward(self, tokens):
        x = self.token(tokens) + self.position.weight
        return self.output(self.norm(self.blocks(x))).flatten(0, 1)


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(USERS, 32), nn.Embedding(ITEMS, 32)
        self.body = Chain(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, ids):
        return self.body(torch.cat((self.user(ids[:, 0]), self.item(ids[:, 1])), 1)).squeeze(1)


# ---- Data: examples [batch, ...], and recurrent tokens [time, batch].


def labelled(*dims):
    return lambda batch, draws: (torch.randn(batch, *dims, generator=draws), integers(10, (batch,), draws))


def integers(below, shape, draws):
    return torch.randint(0, below, shape, generator=draws)


def time_first(steps):
    def make(batch, draws):
        text = integers(VOCABULARY, (steps + 1, batch), draws)
        return text[:-1].contiguous(), text[1:].flatten().contiguous()

    return make


def batch_first(batch, draws):
    text = integers(VOCABULARY, (batch, 64 + 1), draws)
    return text[:, :-1].contiguous(), text[:, 1:].flatten().contiguous()


def ratings(batch, draws):
    ids = torch.stack((integers(USERS, (batch,), draws), integers(ITEMS, (batch,), draws)), 1)
    return ids, 1 + 4 * torch.rand(batch, generator=draws)


# ---- The table: batch, network, data, optimizer, limit of the gradients' norm.

WORKLOADS = {
    "W1": (64, mlp, labelled(64), "adam", None),
    "W2": (64, small_cnn, labelled(1, 8, 8), "sgd", None),
    "W3": (64, lambda: nas_bench_201(ALL_3X3), labelled(3, 32, 32), "sgd", None),
    "W3b": (64, lambda: nas_bench_201(BEST), labelled(3, 32, 32), "sgd", None),
    "W4": (64, mobile_net, labelled(3, 32, 32), "sgd", None),
    "W5": (32, Lstm, time_first(64), "adam", 1.0),
    "W5b": (32, RecurrentCell, time_first(35), "adam", 1.0),
    "W6": (32, Transformer, batch_first, "adam", None),
    "W7": (1024, Recommender, ratings, "adam", None),
}


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


def batches(name, count, seed, layout="channels_last"):
    """`count` batches of random data, the same for the same seed."""
    batch, _, data, _, _ = WORKLOADS[name]
    draws = torch.Generator().manual_seed(seed)
    made = [data(batch, draws) for _ in range(count)]
    if layout == "channels_last":
        made = [(channels_last(x), y) if x.dim() == 4 else (x, y) for x, y in made]
    return made


class Training:
    """A new network with its optimizer."""

    def __init__(self, name, seed, layout="channels_last"):
        _, build, _, optimizer, self.clip = WORKLOADS[name]
        torch.manual_seed(seed)
        self.model = build()
        if layout == "channels_last" and optimizer == "sgd":  # the networks of images
            self.model = channels_last(self.model)
        self.parameters = list(self.model.parameters())
        if optimizer == "sgd":
            self.optimizer = torch.optim.SGD(
                self.parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
            )
        else:
            self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, fused=True)
        self.loss = F.mse_loss if name == "W7" else F.cross_entropy

    def step(self, batch):
        """One training step: the loss before it, as a tensor."""
        x, y = batch
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(x), y)
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return loss.detach()


if __name__ == "__main__":
    for workload in WORKLOADS:
        print(workload, sum(p.numel() for p in Training(workload, 0).parameters))
