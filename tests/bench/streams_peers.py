#!/usr/bin/env python3
"""XGBoost and logistic regression on a simulated stream, on the product's own columns and rows.

    streams_peers.py HISTORY COLUMNS.csv UNTIL FROM TO [--threads N] [--results FILE]

HISTORY is what `fraudd simulate` wrote, COLUMNS.csv what `fraudd backtest --features` wrote for it.  Learnt
are the rows that `fraudd train --until UNTIL` learns from (payments and account checks after its first
stretch, a fifth of the history and 30 days at most), scored are those of FROM up to TO.  With --results
what FILE holds already is printed and not computed again.
"""
import argparse
import os

import numpy as np
import pandas as pd

import quality_peers as peers


class Stream(peers.Bench):
    def __init__(self, a):
        super().__init__(a.history, a.columns, a.threads, a.results)
        self.until, self.first, self.end = (pd.Timestamp(t, tz='UTC') for t in (a.until, a.first, a.end))

    def read(self):
        history, columns = self.source
        data = pd.read_csv(history, dtype=str, usecols=['tx_id', 'ts', 'card_id', 'type', 'fraud'])
        data['ts'] = pd.to_datetime(data.ts, format='ISO8601')
        data = data[data.ts < self.end]
        with open(columns) as f:
            head = f.readline().rstrip('\n').split(',')
        x = pd.read_csv(columns, dtype={c: str if c == 'tx_id' else np.float32 for c in head})
        x = x.set_index('tx_id').reindex(data.tx_id).to_numpy(np.float32)
        if np.isnan(x).any():
            raise SystemExit('%s: columns of some payments are missing' % columns)
        self.ts, self.judged = data.ts, data.type.isin(['purchase', 'cash', 'check'])
        return (x, (data.ts - data.ts.min().normalize()).dt.days.to_numpy(), pd.factorize(data.card_id)[0],
                data.fraud.astype(int).to_numpy())

    def split(self, _):
        start = self.ts.min()
        start += min(pd.Timedelta(days=30), (self.until - start) / 5)
        return (np.flatnonzero(self.judged & (self.ts >= start) & (self.ts < self.until)),
                np.flatnonzero(self.judged & (self.ts >= self.first)))

    def show(self, _, name, figures):
        print('stream %-22s AUC %.4f AP %.4f CP@100 %.4f' % (name, *figures), flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('history', 'columns', 'until', 'first', 'end'):
        ap.add_argument(name)
    ap.add_argument('--threads', type=int, default=os.cpu_count())
    ap.add_argument('--results')
    bench = Stream(ap.parse_args())
    bench.judge('XGBoost tuned', 0, bench.trees, peers.TREES)
    bench.judge('XGBoost not tuned', 0, bench.trees, peers.START)
    bench.judge('logistic regression', 0, bench.line, {})


if __name__ == '__main__':
    main()
