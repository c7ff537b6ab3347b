#!/usr/bin/env python3
"""The network of model/net.h in PyTorch: how fast it trains on the CPU, and its one-token step.

    train_torch.py DIR [--epochs 1] [--threads 2]      (train_speed.sh calls it; needs torch >= 2.3)

DIR holds the rows, constants and bins that `bench_train` wrote.  Same pieces, batches, losses and
optimiser as there.  What makes it as fast as PyTorch gets here: pieces lie one after another, without
padding; attention reads blocks of a window of queries against two blocks of keys; each expert computes
its own events only; columns that are dropped or have one bin are not looked up; the fused optimiser;
standardised values and bin numbers are computed beforehand, outside of the time that is measured.
torch.compile made it slower (one thread, torch 2.15: 27 us an event with attention compiled, 31 with all
of it, against 22): the experts' sizes change with every batch.
"""
import argparse
import math
import os
import resource
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DAY_US = 86400e6
PIECE, CONTEXT, BATCH = 96, 32, 40
CLIP, NORM_MIN, NEXT_WEIGHT = .1, 1e-3, .1
INPUT_DROP, DROP, EMA = .15, .3, .99


def rmsnorm(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * w


def swiglu(uv):
    u, v = uv.chunk(2, -1)
    return F.silu(u) * v


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def rotation(event_us, rope):
    """cos and sin [n, rope / 2] of the events' angles, reduced in double."""
    period = torch.logspace(math.log10(.04), math.log10(60), rope // 2, dtype=torch.float64)
    angle = 2 * math.pi * torch.frac(event_us.double()[:, None] / DAY_US / period)
    return angle.cos().float(), angle.sin().float()


def uniform(*shape, inputs=None):
    bound = (inputs or shape[-1]) ** -.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Attention(nn.Module):
    def __init__(self, d, heads, head_dim, rank, rope, window):
        super().__init__()
        self.sizes = heads, head_dim, rank, rope, window
        self.q, self.down = uniform(heads * (head_dim + rope), d), uniform(rank + rope, d)
        self.norm = nn.Parameter(torch.ones(rank))
        self.uk, self.uv = uniform(heads * head_dim, rank), uniform(heads * head_dim, rank)
        self.o = uniform(d, heads * head_dim)

    def project(self, x, cos, sin):
        """Rotated queries [T, heads, head_dim + rope], normed latents [T, rank], rotated keys [T, rope]."""
        heads, head_dim, rank, rope, _ = self.sizes
        qc, qr = F.linear(x, self.q).view(-1, heads, head_dim + rope).split([head_dim, rope], -1)
        latent, kr = F.linear(x, self.down).split([rank, rope], -1)
        q = torch.cat([qc, rotate(qr, cos[:, None], sin[:, None])], -1)
        return q, rmsnorm(latent, self.norm), rotate(kr, cos, sin)

    def forward(self, x, cos, sin, mask):
        heads, head_dim, _, rope, window = self.sizes
        q, latent, kr = self.project(x, cos, sin)
        k = torch.cat([F.linear(latent, self.uk).view(-1, heads, head_dim),
                       kr[:, None].expand(-1, heads, -1)], -1)
        v = F.linear(latent, self.uv).view(-1, heads, head_dim)
        blocks = lambda t: t.view(-1, window, heads, t.shape[-1]).transpose(1, 2)
        twice = lambda t: torch.cat([F.pad(t[:-1], (0, 0, 0, 0, 0, 0, 1, 0)), t], 2)
        score = blocks(q) @ twice(blocks(k)).transpose(-1, -2)
        prob = torch.softmax(score * (head_dim + rope) ** -.5 + mask, -1)
        out = (prob @ twice(blocks(v))).transpose(1, 2).reshape(-1, heads * head_dim)
        return F.linear(out, self.o)


class Experts(nn.Module):
    def __init__(self, d, experts, top, hidden, shared):
        super().__init__()
        self.top = top
        self.gate, self.s1, self.s2 = uniform(experts, d), uniform(2 * shared, d), uniform(d, shared)
        self.w1 = nn.Parameter(torch.randn(experts, d, 2 * hidden) * d ** -.5)
        self.w2 = nn.Parameter(torch.randn(experts, hidden, d) * hidden ** -.5 / 2)
        self.register_buffer('balance', torch.zeros(experts))

    def choose(self, x):
        gate = torch.sigmoid(F.linear(x, self.gate))
        chosen = (gate + self.balance).topk(self.top, -1).indices
        g = gate.gather(-1, chosen)
        return chosen, g / g.sum(-1, keepdim=True)

    def forward(self, x):
        out = F.linear(swiglu(F.linear(x, self.s1)), self.s2)
        chosen, g = self.choose(x)
        order = chosen.flatten().argsort()
        count = torch.bincount(chosen.flatten(), minlength=len(self.balance))
        if self.training:
            with torch.no_grad():
                self.balance += .01 * torch.sign(count.float().mean() - count)
        token = order // self.top
        parts = x[token].split(count.tolist())
        y = torch.cat([swiglu(part @ w1) @ w2 for part, w1, w2 in zip(parts, self.w1.unbind(), self.w2.unbind())])
        return out.index_add(0, token, y * g.flatten()[order, None])


class Net(nn.Module):
    def __init__(self, columns, bins, d=64, layers=2, heads=4, head_dim=16, rank=16, rope=16, experts=16,
                 top=2, hidden=16, shared=32, window=16):
        super().__init__()
        self.window, self.rope = window, rope
        self.w_in, self.b_in = uniform(d, columns), nn.Parameter(torch.zeros(d))
        self.table = nn.Parameter(torch.zeros(bins, d))
        one = lambda: nn.Parameter(torch.ones(d))
        self.norm1 = nn.ParameterList(one() for _ in range(layers))
        self.norm2 = nn.ParameterList(one() for _ in range(layers))
        self.attention = nn.ModuleList(Attention(d, heads, head_dim, rank, rope, window) for _ in range(layers))
        self.experts = nn.ModuleList(Experts(d, experts, top, hidden, shared) for _ in range(layers))
        self.norm_out, self.head = one(), uniform(1, d)
        self.b_head, self.next = nn.Parameter(torch.full((1,), -4.8)), uniform(columns, d)

    def drop(self, x):
        """F.dropout draws twice as slowly."""
        return x * (torch.rand(x.shape) >= DROP).float().mul_(1 / (1 - DROP)) if self.training else x

    def forward(self, x, bins, offsets, scale, cos, sin, mask):
        """x [T, columns]; bins: rows of the table, token i's from offsets[i] on."""
        h = F.linear(x, self.w_in, self.b_in) + scale * F.embedding_bag(bins, self.table, offsets, mode='sum')
        for n1, n2, attention, experts in zip(self.norm1, self.norm2, self.attention, self.experts):
            h = h + self.drop(attention(rmsnorm(h, n1), cos, sin, mask))
            h = h + self.drop(experts(rmsnorm(h, n2)))
        h = rmsnorm(h, self.norm_out)
        return (F.linear(h, self.head) + self.b_head)[:, 0], F.linear(h, self.next)


class Rows:
    """What bench_train wrote, with everything computed beforehand that need not be computed twice."""

    def __init__(self, directory, rope=16):
        read = lambda name, kind: np.fromfile(os.path.join(directory, name), kind)
        mean, inv_sd = read('mean.f32', np.float32), read('inv_sd.f32', np.float32)
        first, edges = read('first_row.u32', np.uint32).astype(int), read('edges.f32', np.float32)
        x = read('x.f32', np.float32).reshape(-1, len(mean))
        self.used = np.flatnonzero(np.diff(first) > 1)
        bins = np.empty((len(x), len(self.used)), np.int16)
        for i, c in enumerate(self.used):
            own = edges[first[c] - c:first[c + 1] - c - 1]
            bins[:, i] = first[c] + np.searchsorted(own, x[:, c], side='left')
        np.subtract(x, mean, out=x)
        np.multiply(x, inv_sd, out=x)
        self.x, self.bins = torch.from_numpy(np.clip(x, -8, 8, out=x)), torch.from_numpy(bins)
        self.cos, self.sin = rotation(torch.from_numpy(read('event_us.i64', np.int64)), rope)
        self.y = torch.from_numpy(read('label.u8', np.uint8)).float()
        self.weight = torch.from_numpy(read('weight.f32', np.float32))
        self.used, self.bin_count = torch.from_numpy(self.used), first[-1]
        self.pieces = cut(read('card.u32', np.uint32))


def cut(card):
    """Pieces (first row, rows, of which context)."""
    ends = np.r_[np.flatnonzero(np.diff(card)) + 1, len(card)]
    out, begin = [], 0
    for end in ends:
        for at in range(begin, end, PIECE):
            context = min(at - begin, CONTEXT)
            out.append((at - context, min(end, at + PIECE) - at + context, context))
        begin = end
    return np.array(out)


def batch_of(rows, pieces, window):
    """Tokens of the pieces one after another, and the mask of blocks against two blocks of keys."""
    length = pieces[:, 1]
    total = int(length.sum())
    start = np.repeat(np.cumsum(length) - length, length)
    row = np.repeat(pieces[:, 0], length) + np.arange(total) - start
    context = np.arange(total) - start < np.repeat(pieces[:, 2], length)
    pad = -total % window                   # the last block is filled with events that nothing reads
    row, start = np.r_[row, np.repeat(row[-1:], pad)], np.r_[start, np.arange(total, total + pad)]
    query = np.arange(total + pad).reshape(-1, window, 1)
    key = (query[:, :1] - window) + np.arange(2 * window)
    seen = (key <= query) & (key > query - window) & (key >= start.reshape(-1, window, 1))
    mask = torch.from_numpy(np.where(seen, np.float32(0), np.float32(-1e30)))[:, None]
    counted = torch.from_numpy(np.r_[~context, np.zeros(pad, bool)])
    row = torch.from_numpy(row)
    follows = torch.from_numpy(np.r_[start[1:] == start[:-1], False])
    follows[total - 1:] = False
    x, bins = rows.x[row], rows.bins[row].long()
    keep = torch.rand(x.shape) >= INPUT_DROP
    kept = keep[:, rows.used]
    offsets = F.pad(kept.sum(1).cumsum(0)[:-1], (1, 0))
    return (x, (x * keep).mul_(1 / (1 - INPUT_DROP)), bins[kept], offsets, rows.cos[row], rows.sin[row], mask,
            rows.y[row], rows.weight[row] * counted, follows)


def clip_(params):
    """Adaptive gradient clipping, unit by unit (Brock et al. 2021)."""
    for p in params:
        axis = 1 if p.ndim == 3 else -1
        most = CLIP * p.detach().norm(dim=axis, keepdim=True).clamp_(min=NORM_MIN)
        p.grad.mul_((most / p.grad.norm(dim=axis, keepdim=True).clamp_(min=1e-30)).clamp_(max=1))


def train(rows, net, epochs):
    params = list(net.parameters())
    plain = {id(p) for p in [net.head, net.b_head]}
    decayed = [p for p in params if p.ndim > 1]
    others = [p for p in params if p.ndim == 1]
    opt = torch.optim.AdamW([{'params': decayed, 'weight_decay': .05}, {'params': others, 'weight_decay': 0}],
                            lr=2e-3, betas=(.9, .98), fused=True)
    clipped = [p for p in params if id(p) not in plain]
    average = [p.detach().clone() for p in params]
    rng = np.random.default_rng(1)
    steps = epochs * -(-len(rows.pieces) // BATCH)
    step, events, begun = 0, 0, None
    net.train()
    for _ in range(epochs):
        mixed = rows.pieces[rng.permutation(len(rows.pieces))]
        losses = []
        for at in range(0, len(mixed), BATCH):
            batch = mixed[at:at + BATCH]
            target, x, bins, offsets, cos, sin, mask, y, weight, follows = batch_of(rows, batch, net.window)
            logit, ahead = net(x, bins, offsets, 1 / (1 - INPUT_DROP), cos, sin, mask)
            loss = (F.binary_cross_entropy_with_logits(logit, y, reduction='none') * weight).sum()
            loss = loss / weight.sum().clamp(min=1)
            miss = (ahead[:-1] - target[1:]).square().mean(-1)
            loss = loss + NEXT_WEIGHT * (miss * follows[:-1]).sum() / follows.sum()
            opt.zero_grad()
            loss.backward()
            clip_(clipped)
            for group in opt.param_groups:
                group['lr'] = 2e-3 * min(1, step / 100) * (.5 + .5 * math.cos(math.pi * step / steps)) + 1e-6
            opt.step()
            k = min(EMA, (2 + step) / (11 + step))
            torch._foreach_lerp_(average, [p.detach() for p in params], 1 - k)
            losses.append(loss.item())
            step += 1
            if begun is None:               # the first step warms allocators and caches up
                begun = time.monotonic(), time.process_time()
            else:
                events += int(batch[:, 1].sum())
    return events, time.monotonic() - begun[0], time.process_time() - begun[1], np.mean(losses)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('dir')
    ap.add_argument('--epochs', type=int, default=1)
    ap.add_argument('--threads', type=int, default=os.cpu_count())
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    rows = Rows(a.dir)
    net = Net(rows.x.shape[1], rows.bin_count)
    events, wall, cpu, loss = train(rows, net, a.epochs)
    print('PyTorch  %d threads: %d events in %.1f s, %.0f events/s (%.1f s of CPU, %.2f us an event); loss %.4f; '
          'peak memory %.2f GiB  (torch %s)' % (
              a.threads, events, wall, events / wall, cpu, cpu / events * 1e6, loss,
              resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20, torch.__version__))


if __name__ == '__main__':
    main()
