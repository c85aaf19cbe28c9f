"""Rebuilds our random graphs in PyTorch and compares losses, gradients and evaluated outputs.

    check.py < GRAPHS     reads the graphs of `peer graphs SEED COUNT`, a line of JSON each, and answers each with a line:
                          {"number": 3, "target": "conv", "operations": [...], "share": 0.02, "worst": "conv2d.weight", ...}
                          or {"error": ...}.

The share is of what is allowed: above 1 the engines differ. Allowed is, for each tensor, 1e-4 of its largest number;
for gradients at least 1e-6 of the largest gradient of the graph, and 1e-7 for all: below these a tensor is what rounding left
of a zero. Graphs that magnify rounding are allowed twice what it costs PyTorch itself on the tensor: the distance of its
single precision from its double precision, which also says which engine is nearer to the truth.
"""

import json
import re
import sys

import torch
from torch.nn import functional as F

RELATIVE, OF_GRAPH, ABSOLUTE, ROUNDING = 1e-4, 1e-6, 1e-7, 2

ACTIVATIONS = {
    "identity": lambda x: x,
    "zero": lambda x: torch.zeros_like(x),
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hard_swish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


class Graph:
    """A graph in PyTorch: its values by number, each with whether every example has one."""

    def __init__(self, case, dtype):
        self.case, self.dtype = case, dtype
        self.parameters = {
            p["path"]: torch.tensor(p["values"], dtype=dtype).reshape(p["dims"]).requires_grad_() for p in case["parameters"]
        }
        self.fed = {}
        for i in case["inputs"]:
            values = torch.tensor(i["values"], dtype=torch.int64 if i["classes"] else dtype)
            self.fed[i["name"]] = values.reshape([case["batch"], *i["dims"]])
        self.statistics = {}
        self.training = True

    def run(self):
        """The loss."""
        self.values, self.batched = {}, {}
        for step in self.case["steps"]:
            self.step = step
            x = [self.values[i] for i in step["inputs"]]
            parameters = [self.parameters[path] for path in step["parameters"]]
            op = step["op"]
            if op in ACTIVATIONS and not step["with"]:
                results = ACTIVATIONS[op](*x)
            else:
                results = getattr(self, op)(*x, *parameters, **step["with"])
            results = results if isinstance(results, (tuple, list)) else (results,)
            for number, result in zip(step["outputs"], results, strict=True):
                self.values[number] = result
                self.batched[number] = self.is_batched(op, step["inputs"])
        return self.values[self.case["loss"]]

    def is_batched(self, op, inputs):
        if op in ("batch_sum", "batch_mean", "parameter", "embedding_table"):
            return False
        return op == "input" or any(self.batched[i] for i in inputs)

    # ---- Where values come from.

    def input(self, name):
        return self.fed[name]

    def parameter(self, path):
        return self.parameters[path]

    # ---- Element by element.

    def activation(self, x, name):
        name, number = re.fullmatch(r"(\w+)(?:\((.*)\))?", name).groups()
        return ACTIVATIONS[name](x) if number is None else ACTIVATIONS[name](x, float(number))

    def leaky_relu(self, x, slope):
        return F.leaky_relu(x, slope)

    def elu(self, x, alpha):
        return F.elu(x, alpha)

    def exp(self, x):
        return torch.exp(x)

    def ln(self, x):
        return torch.log(x)

    def scale(self, x, factor):
        return factor * x

    def zeros_like(self, x):
        return torch.zeros_like(x)

    def aligned(self, a, b):
        """Sizes are aligned at the last axis, but the batch is always the first."""
        first, second = (self.batched[i] for i in self.step["inputs"])
        rank = max(a.dim() - first, b.dim() - second)

        def widened(x, batched):
            missing = rank - (x.dim() - batched)
            return x.reshape([*x.shape[:batched], *[1] * missing, *x.shape[batched:]])

        return widened(a, first), widened(b, second)

    def add(self, a, b):
        a, b = self.aligned(a, b)
        return a + b

    def sub(self, a, b):
        a, b = self.aligned(a, b)
        return a - b

    def mul(self, a, b):
        a, b = self.aligned(a, b)
        return a * b

    def dropout(self, x, rate):
        if not self.training:
            return x
        kept = torch.tensor(self.case["masks"][str(self.step["outputs"][0])], dtype=self.dtype)
        return x * kept.reshape(x.shape) / (1 - rate)

    drop_path = dropout

    # ---- Products of matrices. Weights of linear maps are [in, out] in the description.

    def linear(self, x, weight, bias=None):
        return F.linear(x, weight.T, bias)

    linear_no_bias = linear_with = matmul = linear

    def linear_tied(self, x, weight):
        return F.linear(x, weight)

    def batched_matmul(self, a, b):
        return a @ b

    def batched_matmul_transposed(self, a, b):
        return a @ b.mT

    def factorization_machine(self, x):
        """Over all pairs, one by one."""
        products = x @ x.mT
        return products.triu(1).sum((-2, -1))

    def dot_interaction(self, x):
        rows, columns = torch.tril_indices(x.shape[-2], x.shape[-2], -1)
        return (x @ x.mT)[..., rows, columns]

    # ---- Shapes and reductions. Axes are counted without the batch.

    def softmax(self, x):
        return torch.softmax(x, -1)

    def log_softmax(self, x):
        return torch.log_softmax(x, -1)

    def masked(self, x, mask):
        return torch.where(mask == 1, x, x - 1e9)

    def gather(self, x, index):
        return x.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def sum_axis(self, x, axis):
        return x.sum(axis + 1)

    def mean_axis(self, x, axis):
        return x.mean(axis + 1)

    def batch_sum(self, x):
        return x.sum(0)

    def batch_mean(self, x):
        return x.mean(0)

    def sum(self, x):
        return x.sum()

    def mean(self, x):
        return x.mean()

    def permute(self, x, axes):
        return x.permute([0, *[axis + 1 for axis in axes]])

    def transpose(self, x):
        return x.transpose(-1, -2)

    def reshape(self, x, dims):
        return x.reshape([x.shape[0], *dims])

    def flatten(self, x):
        return x.flatten(1)

    def slice(self, x, axis, start, end):
        return x.narrow(axis + 1, start, end - start)

    def split(self, x, axis, sizes):
        return x.split(sizes, axis + 1)

    def concat(self, *x, axis):
        return torch.cat(x, axis + 1)

    # ---- Images and rows of channels.

    def conv(self, x, weight, bias=None, *, stride, dilation, padding, groups):
        top, left, bottom, right = padding
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups)

    def conv2d(self, x, weight):
        return F.conv2d(x, weight, padding="same")

    def conv1d(self, x, weight, bias=None, *, stride, dilation, padding, groups):
        return F.conv1d(F.pad(x, padding), weight, bias, stride, 0, dilation, groups)

    def max_pool2d(self, x, kernel):
        return F.max_pool2d(x, kernel)

    def max_pool2d_with(self, x, kernel, stride, padding):
        return F.max_pool2d(x, kernel, stride, padding)

    def avg_pool2d(self, x, kernel, stride, padding):
        return F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)

    def adaptive_avg_pool2d(self, x, size):
        return F.adaptive_avg_pool2d(x, size)

    def global_avg_pool(self, x):
        return x.mean((2, 3))

    def max_pool1d(self, x, kernel):
        return F.max_pool1d(x, kernel)

    def max_pool1d_with(self, x, kernel, stride, padding):
        return F.max_pool1d(x, kernel, stride, padding)

    def avg_pool1d(self, x, kernel, stride, padding):
        return F.avg_pool1d(x, kernel, stride, padding, count_include_pad=False)

    def batch_norm(self, x, weight, bias):
        fresh = torch.zeros(x.shape[1], dtype=self.dtype), torch.ones(x.shape[1], dtype=self.dtype)
        mean, variance = self.statistics.setdefault(self.step["outputs"][0], fresh)
        return F.batch_norm(x, mean, variance, weight, bias, self.training, 0.1, 1e-5)

    def layer_norm(self, x, weight, bias):
        return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)

    def rms_norm(self, x, weight):
        return F.rms_norm(x, x.shape[-1:], weight, 1e-6)

    def group_norm(self, x, weight, bias, groups):
        return F.group_norm(x, groups, weight, bias, 1e-5)

    # ---- Sequences.

    def embedding_table(self, _, table):
        return table

    def embedding(self, tokens, table):
        return F.embedding(tokens, table)

    embedding_in = embedding

    def recurrent(self, layer, cell, x, states, weights, lengths):
        """All outputs and the last states. A sequence that has ended keeps its state."""
        input_weight, hidden_weight, *biases = weights
        weights = (input_weight.T.contiguous(), hidden_weight.T.contiguous(), *biases)
        if lengths is None:
            stacked = tuple(state.unsqueeze(0) for state in states)
            first = stacked if len(stacked) > 1 else stacked[0]
            all_outputs, *last = layer(x, first, weights, True, 1, 0.0, self.training, False, True)
            return all_outputs, [state.squeeze(0) for state in last]
        outputs = []
        for t in range(x.shape[1]):
            now = cell(x[:, t], states if len(states) > 1 else states[0], *weights)
            now = now if isinstance(now, tuple) else (now,)
            counts = (t < lengths).unsqueeze(1)
            states = [torch.where(counts, new, old) for new, old in zip(now, states)]
            outputs.append(states[0])
        return torch.stack(outputs, 1), states

    def with_states(self, count, x, *rest, initial, lengths):
        """First states and lengths, if there are any, stand before the weights."""
        rest, weights = list(rest[:-4]), rest[-4:]
        ends = rest.pop() if lengths else None
        states = rest if initial else [x.new_zeros(x.shape[0], weights[1].shape[0]) for _ in range(count)]
        return x, states, weights, ends

    def lstm_with_state(self, *values, **settings):
        outputs, (h, c) = self.recurrent(torch.lstm, torch.lstm_cell, *self.with_states(2, *values, **settings))
        return outputs, h, c

    def lstm(self, *values, **settings):
        return self.lstm_with_state(*values, **settings)[0]

    def gru_with_state(self, *values, **settings):
        outputs, (h,) = self.recurrent(torch.gru, torch.gru_cell, *self.with_states(1, *values, **settings))
        return outputs, h

    def gru(self, *values, **settings):
        return self.gru_with_state(*values, **settings)[0]

    def lstm_cell(self, x, h, c, input_weight, hidden_weight, bias):
        return torch.lstm_cell(x, (h, c), input_weight.T, hidden_weight.T, bias, torch.zeros_like(bias))

    def attention(self, query, keys, values, lengths_of_keys=None, *, heads, causal, lengths):
        def parts(x):
            return x.unflatten(-1, (heads, -1)).transpose(1, 2)

        mask = torch.ones(query.shape[1], keys.shape[1], dtype=torch.bool)
        mask = mask.tril() if causal else mask
        if lengths:
            mask = mask & (torch.arange(keys.shape[1]) < lengths_of_keys.reshape(-1, 1, 1, 1))
        found = F.scaled_dot_product_attention(parts(query), parts(keys), parts(values), mask)
        return found.transpose(1, 2).flatten(2)

    def attention_packed(self, x, *lengths_of_keys, **settings):
        return self.attention(*x.chunk(3, -1), *lengths_of_keys, **settings)

    def self_attention(self, x, *rest, **settings):
        *lengths_of_keys, weight, bias, weight_2, bias_2 = rest
        packed = self.linear(x, weight, bias)
        return self.linear(self.attention_packed(packed, *lengths_of_keys, **settings), weight_2, bias_2)

    def reverse(self, x):
        return x.flip(1)

    def rotary(self, x, base):
        """Pairs (i, i + width/2) as complex numbers, turned by the position."""
        half = x.shape[-1] // 2
        turns = base ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), turns)
        angles = angles.reshape(x.shape[1], *[1] * (x.dim() - 3), half)
        cos, sin = torch.cos(angles).to(self.dtype), torch.sin(angles).to(self.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    # ---- Losses.

    def cross_entropy(self, x, labels, smoothing=0.0, weights=None):
        weights = None if weights is None else torch.tensor(weights, dtype=self.dtype)
        return F.cross_entropy(x.flatten(0, -2), labels.flatten(), weights, label_smoothing=smoothing)

    cross_entropy_smooth = cross_entropy_with = cross_entropy

    def cross_entropy_masked(self, x, labels, mask, smoothing, weights):
        labels = torch.where(mask == 1, labels, -100)
        return self.cross_entropy(x, labels, smoothing, weights) if mask.any() else 0 * x.sum()

    def binary_cross_entropy(self, x, targets):
        return F.binary_cross_entropy_with_logits(x, targets)

    def binary_cross_entropy_weighted(self, x, targets, positive):
        return F.binary_cross_entropy_with_logits(x, targets, pos_weight=torch.tensor(positive, dtype=self.dtype))

    def mse(self, x, targets):
        return F.mse_loss(x, targets)

    def huber(self, x, targets, delta):
        return F.huber_loss(x, targets, delta=delta)

    def l1(self, x, targets):
        return F.l1_loss(x, targets)


def found(case, dtype):
    """Loss, gradients by path, and the output in evaluation."""
    graph = Graph(case, dtype)
    loss = graph.run()
    loss.backward()
    gradients = {
        path: torch.zeros_like(p) if p.grad is None else p.grad for path, p in graph.parameters.items()
    }
    graph.training = False
    with torch.no_grad():
        graph.run()
    return loss.detach(), gradients, graph.values[case["output"]]


def compare(case):
    loss, gradients, output = found(case, torch.float32)
    exact_loss, exact_gradients, exact_output = found(case, torch.float64)
    largest = max((g.abs().max().item() for g in gradients.values()), default=0.0)
    tensors = [("the loss", case["found"]["loss"], loss, exact_loss, 0.0)]
    tensors.append(("the output in evaluation", case["found"]["output"], output, exact_output, 0.0))
    for p in case["parameters"]:
        path = p["path"]
        tensors.append((path, p["gradient"], gradients[path], exact_gradients[path], OF_GRAPH * largest))
    worst = (-1.0, None, 0.0, 0.0)
    for name, ours, theirs, exact, least in tensors:
        ours = torch.tensor(ours, dtype=torch.float64).reshape(exact.shape)
        rounding = (theirs.double() - exact).abs().max().item()
        allowed = max(RELATIVE * exact.abs().max().item(), least, ABSOLUTE) + ROUNDING * rounding
        distance = (ours - theirs.double()).abs().max().item()
        from_exact = (ours - exact).abs().max().item()
        share = distance / allowed if distance == distance else float("inf")
        if share > worst[0]:
            worst = (share, name, from_exact, rounding)
    # What is not finite is no number in JSON.
    share, ours, theirs = (min(x, 1e30) if x == x else 1e30 for x in (worst[0], *worst[2:]))
    return {
        "number": case["number"],
        "target": case["target"],
        "operations": [step["op"] for step in case["steps"]],
        "share": share,
        "worst": worst[1],
        "ours_from_double": ours,
        "torch_from_double": theirs,
    }


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = compare(case)
        except Exception as failure:  # the one who reads decides what to do about it
            operations = " ".join(step["op"] for step in case["steps"])
            answer = {"error": f"graph {case['number']} ({operations}): {type(failure).__name__}: {failure}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
