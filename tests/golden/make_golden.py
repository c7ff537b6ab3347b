#!/usr/bin/env python3
"""Writes net.bin: a small network's forward pass, loss, gradient and optimiser steps by PyTorch.

    pip install torch numpy      (any torch >= 2.0; computes in double precision on the CPU)
    python3 make_golden.py       writes net.bin beside this file

tests/unit/test_golden.c holds the C code against it.  The network is written here from the formulas
in model/net.h with PyTorch's own attention, SiLU, cross entropy and AdamW; gradients are autograd's.
A record of the file is a line "name type count" (f: float32, u: uint32, q: int64) and the values,
little-endian.
"""
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

COLUMNS, WIDTH, LAYERS, HEADS, HEAD_DIM, RANK, ROPE = 6, 8, 2, 2, 4, 4, 4
EXPERTS, TOP, EXPERT_HIDDEN, SHARED_HIDDEN, WINDOW = 4, 2, 4, 4, 3
PIECES = [(0, 0, 12), (12, 3, 7)]       # first row, rows of context, rows
LABEL_SCALE, NEXT_SCALE = 0.11, 0.013
STEPS, RATE, DECAY, TABLE_DECAY, BETAS, EMA, CLIP = 3, 2e-3, 0.05, 5.0, (0.9, 0.98), 0.9, 0.05

KEYS = HEADS * HEAD_DIM
torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(20260401)


def layout(bins):
    """(name, shape, copies) in the order of enum net_tensor_kind."""
    return [
        ('input_w', (WIDTH, COLUMNS), 1), ('input_b', (WIDTH,), 1), ('table', (bins, WIDTH), 1),
        ('norm1', (WIDTH,), LAYERS), ('q', (HEADS * (HEAD_DIM + ROPE), WIDTH), LAYERS),
        ('down', (RANK + ROPE, WIDTH), LAYERS), ('latent_norm', (RANK,), LAYERS),
        ('uk', (KEYS, RANK), LAYERS), ('uv', (KEYS, RANK), LAYERS), ('o', (WIDTH, KEYS), LAYERS),
        ('norm2', (WIDTH,), LAYERS), ('gate', (EXPERTS, WIDTH), LAYERS),
        ('s1', (2 * SHARED_HIDDEN, WIDTH), LAYERS), ('s2', (WIDTH, SHARED_HIDDEN), LAYERS),
        ('w1', (EXPERTS, 2 * EXPERT_HIDDEN, WIDTH), LAYERS),
        ('w2', (EXPERTS, WIDTH, EXPERT_HIDDEN), LAYERS), ('norm_out', (WIDTH,), 1),
        ('head_w', (WIDTH,), 1), ('head_b', (1,), 1), ('next', (COLUMNS, WIDTH), 1)]


VECTORS = ('input_b', 'norm1', 'latent_norm', 'norm2', 'norm_out', 'head_b')


def f32(a):
    """Rounded to what the file can hold, in double."""
    return np.asarray(a, np.float32).astype(np.float64)


def rmsnorm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def rotate(x, days):
    """x [T, ..., ROPE] by the time of each row."""
    half = ROPE // 2
    period = 0.04 * (60 / 0.04) ** (torch.arange(half) / max(half - 1, 1))
    angle = 2 * math.pi * torch.frac(days[:, None] / period)
    angle = angle.view(len(days), *[1] * (x.dim() - 2), half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def attention(p, layer, x, days):
    n = len(x)
    q = (x @ p['q'][layer].T).view(n, HEADS, HEAD_DIM + ROPE)
    down = x @ p['down'][layer].T
    latent = rmsnorm(down[:, :RANK], p['latent_norm'][layer])
    key = (latent @ p['uk'][layer].T).view(n, HEADS, HEAD_DIM)
    value = (latent @ p['uv'][layer].T).view(n, HEADS, HEAD_DIM)
    q = torch.cat([q[..., :HEAD_DIM], rotate(q[..., HEAD_DIM:], days)], -1)
    turned = rotate(down[:, RANK:], days)[:, None, :].expand(-1, HEADS, -1)
    key = torch.cat([key, turned], -1)
    i = torch.arange(n)
    mask = (i[None] <= i[:, None]) & (i[None] > i[:, None] - WINDOW)
    out = F.scaled_dot_product_attention(q.transpose(0, 1), key.transpose(0, 1),
                                         value.transpose(0, 1), attn_mask=mask)
    return out.transpose(0, 1).reshape(n, KEYS) @ p['o'][layer].T


def swiglu(x, w1, w2):
    u, v = (x @ w1.T).chunk(2, -1)
    return (F.silu(u) * v) @ w2.T


def experts(p, layer, x, balance):
    gate = torch.sigmoid(x @ p['gate'][layer].T)
    chosen = (gate + balance[layer]).topk(TOP, -1).indices
    weight = gate.gather(-1, chosen)
    weight = weight / weight.sum(-1, keepdim=True)
    out = swiglu(x, p['s1'][layer], p['s2'][layer])
    every = torch.stack([swiglu(x, p['w1'][layer][e], p['w2'][layer][e]) for e in range(EXPERTS)], 1)
    return out + (every.gather(1, chosen[..., None].expand(-1, -1, WIDTH)) * weight[..., None]).sum(1)


def forward(p, x, table_rows, days, balance):
    """One piece: logits [T] and predictions of the next row [T, columns]."""
    h = x @ p['input_w'].T + p['input_b'] + p['table'][table_rows].sum(1)
    for layer in range(LAYERS):
        h = h + attention(p, layer, rmsnorm(h, p['norm1'][layer]), days)
        h = h + experts(p, layer, rmsnorm(h, p['norm2'][layer]), balance)
    out = rmsnorm(h, p['norm_out'])
    return out @ p['head_w'] + p['head_b'], out @ p['next'].T


def named(flat, sizes):
    p, at = {}, 0
    for name, shape, copies in sizes:
        n = math.prod(shape)
        parts = [flat[at + i * n:at + (i + 1) * n].view(shape) for i in range(copies)]
        p[name] = parts if copies > 1 else parts[0]
        at += n * copies
    return p


def clipped(g, w, name):
    """Adaptive gradient clipping by unit (Brock et al. 2021); the head is exempt."""
    if name in ('head_w', 'head_b'):
        return g
    rows = (1, -1) if name in VECTORS else (-1, w.shape[-1])
    gg, ww = g.reshape(rows), w.reshape(rows)
    bound = CLIP * ww.norm(dim=1, keepdim=True).clamp(min=1e-3)
    size = gg.norm(dim=1, keepdim=True)
    return torch.where(size > bound, gg * bound / size, gg).reshape(g.shape)


def optimise(start, grad, sizes, clip):
    """STEPS of AdamW; step k's gradient is grad * (1 - k / 2).  Returns parameters and average."""
    tensors, gradients, names = [], [], []
    given = named(torch.tensor(grad), sizes)
    for name, value in named(torch.tensor(start), sizes).items():
        for w, g in zip(value if isinstance(value, list) else [value],
                        given[name] if isinstance(value, list) else [given[name]]):
            tensors.append(w.clone())
            gradients.append(g)
            names.append(name)
    opt = torch.optim.AdamW(
        [{'params': [t for t, n in zip(tensors, names) if n not in VECTORS and n != 'table'], 'weight_decay': DECAY},
         {'params': [t for t, n in zip(tensors, names) if n == 'table'], 'weight_decay': TABLE_DECAY},
         {'params': [t for t, n in zip(tensors, names) if n in VECTORS], 'weight_decay': 0.}],
        lr=RATE, betas=BETAS, eps=1e-8)
    ema = [t.clone() for t in tensors]
    for k in range(STEPS):
        for t, g, n in zip(tensors, gradients, names):
            t.grad = g * (1 - k / 2)
            if clip:
                t.grad = clipped(t.grad, t, n)
        opt.step()
        ema = [EMA * a + (1 - EMA) * t for a, t in zip(ema, tensors)]
    return [np.concatenate([v.reshape(-1).numpy() for v in s]) for s in (tensors, ema)]


def main():
    rows = sum(n for _, _, n in PIECES)
    x = f32(rng.normal(size=(rows, COLUMNS)) * np.arange(1, COLUMNS + 1) + 2)
    event = np.empty(rows, np.int64)
    for first, _, n in PIECES:
        event[first:first + n] = 1_775_000_000_000_000 + np.cumsum(rng.integers(1, 3 * 86400, n)) * 1_000_000
    label = rng.random(rows) < 0.3
    weight = f32(np.where(rng.random(rows) < 0.2, 0, rng.uniform(0.5, 2, rows)))
    edges = [np.sort(f32(rng.normal(size=c % 4 + 1) * (c + 1) + 2)) for c in range(COLUMNS)]
    first_row = np.cumsum([0] + [len(e) + 1 for e in edges])
    mean, inv_sd = f32(x.mean(0)), f32(1 / x.std(0))
    inv_sd[2] = f32(3.0)                                    # so that the clip at 8 is reached
    standard = torch.tensor(np.clip((x - mean) * inv_sd, -8, 8))
    table_rows = torch.tensor(np.stack([first_row[c] + np.searchsorted(edges[c], x[:, c], side='left')
                                        for c in range(COLUMNS)], 1))
    days = torch.tensor(event / 86400e6)
    sizes = layout(int(first_row[-1]))
    total = sum(math.prod(s) * c for _, s, c in sizes)
    params = f32(rng.normal(size=total) * 0.4)
    balance = f32(rng.normal(size=(LAYERS, EXPERTS)) * 0.2)

    flat = torch.tensor(params, requires_grad=True)
    p = named(flat, sizes)
    logits, loss = [], torch.zeros(())
    for first, context, n in PIECES:
        part = slice(first, first + n)
        z, predicted = forward(p, standard[part], table_rows[part], days[part], torch.tensor(balance))
        logits.append(z.detach().numpy())
        counted = slice(first + context, first + n)
        loss = loss + LABEL_SCALE * F.binary_cross_entropy_with_logits(
            z[context:], torch.tensor(label[counted] * 1.), weight=torch.tensor(weight[counted]), reduction='sum')
        loss = loss + NEXT_SCALE * F.mse_loss(predicted[:-1], standard[part][1:], reduction='sum')
    loss.backward()
    grad = f32(flat.grad.numpy())
    plain, plain_ema = optimise(params, grad, sizes, False)
    cut, cut_ema = optimise(params, grad, sizes, True)
    assert np.abs(plain - cut).max() > 1e-4                 # else the clip would prove nothing

    shape = [COLUMNS, first_row[-1], WIDTH, LAYERS, HEADS, HEAD_DIM, RANK, ROPE, EXPERTS, TOP,
             EXPERT_HIDDEN, SHARED_HIDDEN, WINDOW]
    records = [('shape', 'u', shape), ('pieces', 'u', np.array(PIECES)), ('x', 'f', x), ('event_us', 'q', event),
               ('label', 'u', label), ('weight', 'f', weight), ('mean', 'f', mean), ('inv_sd', 'f', inv_sd),
               ('first_row', 'u', first_row), ('edges', 'f', np.concatenate(edges)), ('params', 'f', params),
               ('balance', 'f', balance), ('scales', 'f', [LABEL_SCALE, NEXT_SCALE]),
               ('logit', 'f', np.concatenate(logits)), ('loss', 'f', [loss.item()]), ('grad', 'f', grad),
               ('step', 'f', [STEPS, RATE, DECAY, BETAS[0], BETAS[1], EMA, CLIP, TABLE_DECAY]),
               ('plain', 'f', plain), ('plain_ema', 'f', plain_ema), ('clipped', 'f', cut), ('clipped_ema', 'f', cut_ema)]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'net.bin'), 'wb') as out:
        for name, kind, values in records:
            a = np.asarray(values).reshape(-1).astype({'f': '<f4', 'u': '<u4', 'q': '<i8'}[kind])
            out.write(f'{name} {kind} {len(a)}\n'.encode() + a.tobytes())


if __name__ == '__main__':
    main()
