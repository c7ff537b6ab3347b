#!/usr/bin/env python3
"""Makes what step_peers.sh compares with, and times ONNX Runtime.

    step_peers.py trees DIR     XGBoost's 100 trees of depth 6 on the rows in DIR (bench_train wrote them):
                                DIR/trees.ubj, compiled by TL2cgen as DIR/forest.so, and DIR/sample.f32,
                                4096 rows by chance
    step_peers.py onnx DIR      the one-token step of train_torch.py's network with the card's cache as
                                input, in ONNX Runtime with one thread: a line as step_peers.c prints

The ONNX graph gets standardised values, bin numbers and the angles of the rotation ready made; it
absorbs the keys' and values' projections into query and output, as the served step does.  Experts are
computed in both ways, chosen ones gathered or all of them, and the faster one counts.
"""
import logging
import os
import sys
import time
import warnings

import numpy as np

ROUNDS = 300

logging.disable(logging.WARNING)            # advice of the exporter and the quantiser
warnings.simplefilter('ignore')


def make_trees(directory):
    import tl2cgen
    import treelite
    import xgboost
    x = np.fromfile(os.path.join(directory, 'x.f32'), np.float32).reshape(-1, 128)
    y = np.fromfile(os.path.join(directory, 'label.u8'), np.uint8)
    trees = os.path.join(directory, 'trees.ubj')
    xgboost.train(dict(max_depth=6, eta=.1, objective='binary:logistic', tree_method='hist'),
                  xgboost.QuantileDMatrix(x, y), 100).save_model(trees)
    x[np.random.default_rng(1).choice(len(x), 4096, replace=False)].tofile(os.path.join(directory, 'sample.f32'))
    tl2cgen.export_lib(treelite.frontend.load_xgboost_model(trees), toolchain='gcc',
                       libpath=os.path.join(directory, 'forest.so'), params={'parallel_comp': 8},
                       options=['-O3', '-march=native'])


def step_of(net, gathered):
    import torch
    import torch.nn.functional as F
    from torch import nn

    from train_torch import rmsnorm, rotate, swiglu

    class Step(nn.Module):
        """Cache: latents [B, layers, window - 1, rank] and rotated keys [.., rope]; returns the new ones."""

        def __init__(self):
            super().__init__()
            self.net = net

        def attend(self, a, x, cos, sin, latents, keys):
            heads, head_dim, rank, rope, _ = a.sizes
            q, latent, kr = a.project(x, cos, sin)
            qc, qr = q.split([head_dim, rope], -1)
            c = torch.cat([latents, latent[:, None]], 1)
            k = torch.cat([keys, kr[:, None]], 1)
            absorbed = torch.einsum('bhd,hdr->bhr', qc, a.uk.view(heads, head_dim, rank))
            score = absorbed @ c.transpose(1, 2) + qr @ k.transpose(1, 2)
            prob = torch.softmax(score * (head_dim + rope) ** -.5, -1)
            v = torch.einsum('bhr,hdr->bhd', prob @ c, a.uv.view(heads, head_dim, rank))
            return F.linear(v.flatten(1), a.o), latent, kr

        def feed(self, m, x):
            out = F.linear(swiglu(F.linear(x, m.s1)), m.s2)
            chosen, g = m.choose(x)
            if gathered:
                h = swiglu(x[:, None, None] @ m.w1[chosen])
                return out + (g[:, :, None] * (h @ m.w2[chosen])[:, :, 0]).sum(1)
            weight = torch.zeros(len(x), len(m.balance)).scatter(1, chosen, g)
            h = swiglu(x @ m.w1) * weight.t()[:, :, None]
            return out + (h @ m.w2).sum(0)

        def forward(self, x, bins, cos, sin, latents, keys):
            n = self.net
            h = F.linear(x, n.w_in, n.b_in) + F.embedding(bins, n.table).sum(1)
            new = []
            for i, (n1, n2, a, m) in enumerate(zip(n.norm1, n.norm2, n.attention, n.experts)):
                out, latent, kr = self.attend(a, rmsnorm(h, n1), cos, sin, latents[:, i], keys[:, i])
                new += [latent, kr]
                h = h + out
                h = h + self.feed(m, rmsnorm(h, n2))
            return (F.linear(rmsnorm(h, n.norm_out), n.head) + n.b_head, *new)

    return Step().eval()


def inputs_of(batch, bins, layers=2, window=16):
    import torch
    torch.manual_seed(2)
    return (torch.randn(batch, 128), torch.randint(0, bins, (batch, 128)), torch.rand(batch, 8),
            torch.rand(batch, 8), torch.randn(batch, layers, window - 1, 16),
            torch.randn(batch, layers, window - 1, 16))


def time_graph(path, arguments):
    """ns a call with everything bound beforehand."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    binding = session.io_binding()
    for i, value in zip(session.get_inputs(), arguments):
        binding.bind_ortvalue_input(i.name, ort.OrtValue.ortvalue_from_numpy(value))
    for o in session.get_outputs():
        binding.bind_output(o.name)
    best = float('inf')
    for _ in range(5):
        start = time.thread_time()
        for _ in range(ROUNDS):
            session.run_with_iobinding(binding)
        best = min(best, (time.thread_time() - start) / ROUNDS * 1e9)
    return best


def export(module, arguments, path):
    import torch
    torch.onnx.export(module, arguments, path, dynamo=False, opset_version=17)
    return path


def make_onnx(directory):
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from train_torch import Net
    torch.manual_seed(1)
    bins = int(np.fromfile(os.path.join(directory, 'first_row.u32'), np.uint32)[-1])
    net = Net(128, bins)
    torch.nn.init.normal_(net.table, std=.1)
    rows = {}
    path = lambda name: os.path.join(directory, name)
    for batch in (1, 64):
        given = inputs_of(batch, bins)
        values = [t.numpy() for t in given]
        for gathered in (True, False):
            with torch.no_grad():
                step = export(step_of(net, gathered), given, path('step.onnx'))
            rows.setdefault('FP32', {}).setdefault(batch, []).append(time_graph(step, values) / batch)
            quantize_dynamic(step, path('step8.onnx'), weight_type=QuantType.QInt8)
            rows.setdefault('INT8', {}).setdefault(batch, []).append(time_graph(path('step8.onnx'), values) / batch)
    for kind, by_batch in rows.items():
        print('ONNX Runtime, the same step in %s\t%.0f\t%.0f' % (kind, min(by_batch[1]), min(by_batch[64])))
    empty = export(torch.nn.Identity(), (torch.zeros(1),), path('empty.onnx'))
    call = time_graph(empty, [np.zeros(1, np.float32)])
    print('  of which a call of an empty graph\t%.0f\t%.0f' % (call, call / 64))


if __name__ == '__main__':
    {'trees': make_trees, 'onnx': make_onnx}[sys.argv[1]](sys.argv[2])
