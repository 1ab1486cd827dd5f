"""Makes the networks in this folder, and what MXNet itself answers to some rows, in the release that runs it.

    python make.py OUT

writes ``OUT/NAME/NAME-symbol.json``, ``OUT/NAME/NAME-0000.params`` and ``OUT/NAME/answers.npz``. The files here come
from mxnet 1.9.1 with numpy 1.23.5, in an environment of its own.
"""

# ruff: noqa: NPY002, B905, E402, N803, ARG002, PLW0108, T201 - MXNet's own names, and an environment of its own

import struct
import sys
from pathlib import Path

import numpy as np

for gone in ("bool", "int", "float", "object"):  # mxnet 1.9 uses what numpy 1.24 has not
    if gone not in np.__dict__:
        setattr(np, gone, getattr(__builtins__, gone))

import mxnet as mx
from mxnet import gluon
from mxnet.gluon import nn, rnn
from mxnet.gluon.model_zoo import vision

mx.random.seed(0)
np.random.seed(0)
S = mx.sym


def rows(*shape):
    return np.random.normal(size=shape).astype(np.float32)


def answered(folder, name, inputs):
    """What MXNet answers to the files, opened again as anybody would."""
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(folder / name), 0)
    given = {key: mx.nd.array(value, dtype=value.dtype) for key, value in inputs.items()}
    shapes, _, _ = symbol.infer_shape(**{key: value.shape for key, value in inputs.items()})
    for key, shape in zip(symbol.list_arguments(), shapes):
        if key not in given and key not in arguments:  # labels, which an answer does not depend on
            given[key] = mx.nd.zeros(shape)
    made = symbol.bind(mx.cpu(), {**arguments, **given}, aux_states=auxiliary)
    outputs = made.forward(is_train=False)
    entries = {f"input/{key}": value for key, value in inputs.items()}
    found = {f"output/{key}": value.asnumpy() for key, value in zip(symbol.list_outputs(), outputs)}
    np.savez(folder / "answers.npz", **entries, **found)


def from_symbol(out, name, symbol, inputs, **fixed):
    """Keep a symbol as ``Module.save_checkpoint`` does, with parameters drawn at random."""
    shapes, _, more = symbol.infer_shape_partial(**{key: value.shape for key, value in inputs.items()})
    arguments = {
        key: fixed.get(key, mx.nd.array(rows(*shape) * 0.4))
        for key, shape in zip(symbol.list_arguments(), shapes)
        if key not in inputs and not key.endswith("label")
    }
    auxiliary = {key: mx.nd.array(abs(rows(*shape)) + 0.5) for key, shape in zip(symbol.list_auxiliary_states(), more)}
    (out / name).mkdir(parents=True, exist_ok=True)
    mx.model.save_checkpoint(str(out / name / name), 0, symbol, arguments, auxiliary)
    answered(out / name, name, inputs)


def from_gluon(out, name, block, inputs, steps=2):
    """Train a block a little, so that no layer is as it began, and export it."""
    block.initialize(mx.init.Xavier())
    block.hybridize()
    trainer = gluon.Trainer(block.collect_params(), "adam", {"learning_rate": 0.05})
    for _ in range(steps):
        with mx.autograd.record():
            made = block(*(mx.nd.array(value) for value in inputs.values()))
            made = made if isinstance(made, (list, tuple)) else [made]
            loss = sum((one**2).mean() + one.mean() for one in made)
        loss.backward()
        trainer.step(1)
    block(*(mx.nd.array(value) for value in inputs.values()))
    (out / name).mkdir(parents=True, exist_ok=True)
    block.export(str(out / name / name), 0)
    answered(out / name, name, inputs)


def sequential(*layers, prefix="net_"):
    block = nn.HybridSequential(prefix=prefix)
    with block.name_scope():
        for layer in layers:
            block.add(layer())
    return block


def mlp(out):
    x = S.var("data")
    x = S.Activation(S.FullyConnected(x, num_hidden=6, name="fc1"), act_type="relu", name="act")
    x = S.FullyConnected(S.Dropout(x, p=0.3), num_hidden=3, name="fc2")
    from_symbol(out, "mlp", S.SoftmaxOutput(x, name="softmax"), {"data": rows(7, 5)})


def cnn(out):
    block = sequential(
        lambda: nn.Conv2D(4, 3, padding=1, activation="relu"),
        lambda: nn.BatchNorm(scale=False),
        lambda: nn.MaxPool2D(3, 2, ceil_mode=True),
        lambda: nn.Conv2D(4, 3, groups=2, strides=2, dilation=1, padding=2, use_bias=False),
        lambda: nn.BatchNorm(),
        lambda: nn.LeakyReLU(0.1),
        lambda: nn.AvgPool2D(2, 2, padding=1, count_include_pad=False),
        lambda: nn.Dropout(0.2),
        lambda: nn.Flatten(),
        lambda: nn.Dense(5, activation="tanh"),
        lambda: nn.Dense(2),
    )
    from_gluon(out, "cnn", block, {"data": rows(3, 3, 16, 16)})


def zoo(out):
    picture = {"data": rows(2, 3, 32, 32)}
    v1, v2 = vision.resnet.BasicBlockV1, vision.resnet.BottleneckV2
    from_gluon(out, "resnet", vision.resnet.ResNetV1(v1, [1, 1], [4, 4, 8], classes=3), picture)
    from_gluon(out, "resnet_v2", vision.resnet.ResNetV2(v2, [1, 1], [4, 8, 16], classes=3), picture)
    from_gluon(out, "mobilenet", vision.mobilenet.MobileNet(0.05, classes=3), picture)
    from_gluon(out, "densenet", vision.densenet.DenseNet(4, 2, [2, 2], classes=3), {"data": rows(1, 3, 64, 64)})


class Recurrent(gluon.HybridBlock):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.layer, self.out = layer(), nn.Dense(2, flatten=False)

    def hybrid_forward(self, F, data):
        return self.out(self.layer(data))


def recurrent(out):
    from_gluon(
        out, "lstm", Recurrent(lambda: rnn.LSTM(4, 2, layout="NTC", bidirectional=True)), {"data": rows(3, 6, 5)}
    )
    from_gluon(out, "gru", Recurrent(lambda: rnn.GRU(4, 2)), {"data": rows(6, 3, 5)})
    from_gluon(out, "rnn", Recurrent(lambda: rnn.RNN(4, 1, activation="relu")), {"data": rows(6, 3, 5)})
    x, fused = S.var("data"), S.var("rnn_parameters")
    states = [S.var("begin_h"), S.var("begin_c")]
    made = S.RNN(x, fused, *states, state_size=4, num_layers=1, mode="lstm", state_outputs=True, name="rnn")
    inputs = {"data": rows(6, 3, 5), "begin_h": rows(1, 3, 4), "begin_c": rows(1, 3, 4)}
    from_symbol(out, "fused", S.Group(list(made)), inputs)


class Sentence(gluon.HybridBlock):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.words, self.layer = nn.Embedding(11, 5), rnn.LSTM(4, layout="NTC")
            self.norm, self.out = nn.LayerNorm(), nn.Dense(3)

    def hybrid_forward(self, F, data):
        made = self.norm(self.layer(self.words(data)))
        return F.log_softmax(self.out(F.mean(made, axis=1)))


class Attention(gluon.HybridBlock):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.q, self.k, self.v, self.o = (nn.Dense(8, flatten=False) for _ in range(4))
            self.norm, self.gelu = nn.LayerNorm(epsilon=1e-3), nn.GELU()

    def hybrid_forward(self, F, data):
        def heads(value):
            split = F.reshape(value, shape=(0, 0, -4, 2, -1))
            return F.reshape(F.transpose(split, axes=(0, 2, 1, 3)), shape=(-3, -2))

        q, k, v = heads(self.q(data)), heads(self.k(data)), heads(self.v(data))
        weights = F.softmax(F.batch_dot(q, k, transpose_b=True) / 2.0, axis=-1)
        made = F.reshape(F.batch_dot(weights, v), shape=(-4, -1, 2, 0, 0))
        made = F.reshape(F.transpose(made, axes=(0, 2, 1, 3)), shape=(0, 0, -3))
        return self.norm(self.gelu(self.o(made)) + data)


def texts(out):
    from_gluon(out, "sentence", Sentence(), {"data": np.random.randint(0, 11, (3, 6)).astype(np.float32)})
    from_gluon(out, "attention", Attention(), {"data": rows(3, 6, 8)})


def elementwise(out):
    x, y = S.var("data"), S.var("other")
    a = S.FullyConnected(x, num_hidden=4, name="fc")
    b = S.FullyConnected(y, num_hidden=4, no_bias=True, name="gc")
    positive = S.abs(a) + 0.5
    made = [
        S.broadcast_maximum(a, b) - S.broadcast_minimum(a, b) * 2.0,
        1.0 - a / (2.0 + S.square(b)),
        2.0 / positive + positive**1.5,
        S.sqrt(positive) + S.rsqrt(positive) + S.log(positive) - S.exp(-positive),
        S.add_n(a, b, S.sigmoid(a), S.tanh(b), S.relu(a)),
        S.clip(a, -0.5, 0.25) + S.erf(b) + S.hard_sigmoid(a),
        S.LeakyReLU(a, act_type="elu", slope=0.7) + S.LeakyReLU(b, act_type="selu"),
        S.LeakyReLU(a, S.var("prelu_gamma"), act_type="prelu", name="prelu"),
        S.Activation(a, act_type="softrelu") + S.Activation(b, act_type="softsign"),
        S.softmax(a, axis=1, temperature=2.0) + S.log_softmax(b) + S.SoftmaxActivation(a),
        S.elemwise_mul(a, b) - S.elemwise_div(a, positive) + S.elemwise_sub(a, b),
        S.broadcast_power(positive, b) + S.sign(a) + S.floor(a) + S.ceil(b) + S.reciprocal(positive),
        S.sin(a) + S.cos(b) + S.broadcast_mul(a, S.mean(b, axis=1, keepdims=True)),
        S.maximum(a, 0.1) + S.minimum(b, 0.2) + S.where(S.broadcast_greater(a, b), a, b),
        S.LogisticRegressionOutput(a, S.var("logistic_label"), name="logistic"),
        S.BlockGrad(S.identity(a)) + S.Cast(S.Cast(b, dtype="float16"), dtype="float32"),
    ]
    from_symbol(out, "elementwise", S.Group(made), {"data": rows(3, 5), "other": rows(3, 2)})


def shapes(out):
    x = S.FullyConnected(S.var("data"), num_hidden=24, name="fc")
    cube = S.reshape(x, shape=(0, 2, 3, 4))
    halves = S.split(cube, num_outputs=2, axis=3)
    single = S.SliceChannel(cube, num_outputs=3, axis=2, squeeze_axis=True)
    made = [
        S.reshape(cube, shape=(0, -3, 0)),
        S.reshape(cube, shape=(-2, 1)),
        S.reshape(cube, shape=(0, -4, -1, 1, -2)),
        S.Flatten(S.SwapAxis(cube, dim1=1, dim2=3)),
        S.concat(halves[1], halves[0], dim=3),
        S.Concat(single[2], single[0], dim=1),
        S.stack(single[0], single[1], axis=1),
        S.slice(cube, begin=(None, 0, 1), end=(None, 1, 3)),
        S.slice_axis(cube, axis=-1, begin=1, end=None),
        S.squeeze(S.expand_dims(x, axis=1), axis=1),
        S.tile(x, reps=(1, 2)),
        S.pad(cube, mode="constant", pad_width=(0, 0, 0, 0, 1, 2, 0, 1), constant_value=3.0),
        S.pad(cube, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1)),
        S.UpSampling(cube, scale=2, sample_type="nearest"),
        S.transpose(cube),
        S.sum(cube, axis=(1, 3)),
        S.max(cube, axis=2, keepdims=True),
        S.min(cube),
        S.mean(cube, axis=(0, 1), exclude=True),
        S.norm(cube, axis=1),
        S.prod(cube, axis=3),
        S.argmax(x, axis=1),
        S.reverse(x, axis=1),
        S.dot(x, S.var("dot_weight", shape=(24, 2))),
        S.linalg_gemm2(cube, cube, transpose_b=True, alpha=0.5),
        S.broadcast_axis(S.expand_dims(x, axis=1), axis=1, size=3),
        S.one_hot(S.argmax(x, axis=1), depth=24),
        S.take(S.var("table_weight", shape=(24, 3)), S.argmax(x, axis=1)),
    ]
    from_symbol(out, "shapes", S.Group(made), {"data": rows(3, 5)})


def layers(out):
    x = S.Convolution(S.var("data"), num_filter=4, kernel=(3, 3), name="conv")
    x = S.Deconvolution(x, num_filter=3, kernel=(3, 3), stride=(2, 2), pad=(1, 1), adj=(1, 1), num_group=1, name="up")
    x = S.InstanceNorm(x, name="instance")
    x = S.Convolution(x, num_filter=4, kernel=(1, 1), name="one")
    made = [
        S.GroupNorm(x, num_groups=2, name="group"),
        S.L2Normalization(x, mode="channel"),
        S.L2Normalization(x, mode="instance"),
        S.LRN(x, nsize=3, alpha=1e-2, beta=0.75, knorm=2.0),
        S.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="avg", pooling_convention="full"),
        S.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg"),
        S.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", pooling_convention="full"),
        S.Pooling(x, kernel=(2, 2), pool_type="sum"),
        S.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="max"),
        S.BatchNorm(x, fix_gamma=False, use_global_stats=True, eps=1e-4, name="norm"),
        S.BatchNorm(x, axis=3, name="last"),
    ]
    fixed = {"last_gamma": mx.nd.array(rows(16))}  # that fix_gamma has MXNet ignore
    from_symbol(out, "layers", S.Group(made), {"data": rows(2, 3, 10, 10)}, **fixed)
    x = S.Convolution(S.var("data", shape=(0, 3, 12)), num_filter=4, kernel=(3,), stride=(2,), name="conv")
    x = S.Pooling(x, kernel=(2,), stride=(2,), pool_type="max")
    from_symbol(out, "line", S.FullyConnected(x, num_hidden=2, name="fc"), {"data": rows(2, 3, 12)})


def text(value):
    return struct.pack("<Q", len(value)) + value


def lists(out):
    """Lists of arrays in every layout that MXNet 1.9 still opens, and what it finds in them."""
    (out / "lists").mkdir(parents=True, exist_ok=True)
    head, where = struct.pack("<QQQ", 0x112, 0, 1), struct.pack("<ii", 1, 0)
    numbers = np.arange(6, dtype="<f4").reshape(2, 3)
    name = struct.pack("<Q", 1) + text(b"arg:w")
    content = where + struct.pack("<i", 0) + numbers.tobytes() + name
    files = {
        "v0": head + struct.pack("<III", 2, 2, 3) + content,
        "v1": head + struct.pack("<IIqq", 0xF993FAC8, 2, 2, 3) + content,
        "v2": head + struct.pack("<IiIqq", 0xF993FAC9, 0, 2, 2, 3) + content,
    }
    for key, data in files.items():
        (out / "lists" / f"{key}.params").write_bytes(data)
        assert (mx.nd.load(str(out / "lists" / f"{key}.params"))["arg:w"].asnumpy() == numbers).all(), key
    kinds = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
    arrays = {kind: mx.nd.array(np.arange(6).reshape(1, 2, 3), dtype=kind) for kind in kinds}
    mx.nd.save(str(out / "lists" / "kinds.params"), arrays)
    mx.nd.save(str(out / "lists" / "unnamed.params"), [mx.nd.ones((2,))])
    with mx.util.np_shape(True):
        mx.nd.save(
            str(out / "lists" / "v3.params"), {"scalar": mx.nd.array(2.5).reshape(()), "none": mx.nd.ones((0, 3))}
        )
    mx.nd.save(str(out / "lists" / "sparse.params"), {"s": mx.nd.ones((2, 3)).tostype("row_sparse")})


if __name__ == "__main__":
    for make in (lists, mlp, cnn, zoo, recurrent, texts, elementwise, shapes, layers):
        print(make.__name__, flush=True)
        make(Path(sys.argv[1]))
