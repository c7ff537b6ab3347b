#!/usr/bin/env python3
"""XGBoost and logistic regression on the product's own columns and rows, by the handbook's protocol.

    quality_peers.py DATA COLUMNS.csv [--threads N] [--results FILE] FOLD...
    quality_peers.py DATA COLUMNS.csv [--threads N] [--results FILE] --tune [FOLD...]

DATA is the handbook's stream, COLUMNS.csv what `fraudd backtest --features` wrote for all of it; both
are read once and kept as COLUMNS.csv.npz.  A fold F: rows of days 30 .. F + 6 are learnt, days F + 14
.. F + 20 are scored; cards with a fraud from day F to D - 8 are left out on test day D.  With --results
what FILE holds already is printed and not computed again, so that a stopped run goes on.

XGBoost has 300 trees.  Its other settings were chosen once by --tune (20 minutes of one core) on folds
80, 94 and 108: from START, one parameter after another in the order of TRIED takes the value of highest
mean AP.  TREES, the end of that search, is what folds are judged with.  Mean AP of the search:
    START .7642;  eta .03 .7646, .1 .7637;  with .03: max_depth 5 .7617, 8 .7666;  with 8:
    min_child_weight 1 .7670, 20 .7643;  with 1: colsample_bytree .3 .7659, .8 .7677;  with .8:
    subsample .6 .7668, 1 .7662;  reg_lambda 1 .7669, 20 .7647
"""
import argparse
import json
import os

import numpy as np

ROUNDS = 300
START = dict(max_depth=6, eta=.05, min_child_weight=5, colsample_bytree=.5, subsample=.8, reg_lambda=5)
TRIED = (('eta', (.03, .1)), ('max_depth', (5, 8)), ('min_child_weight', (1, 20)),
         ('colsample_bytree', (.3, .8)), ('subsample', (.6, 1)), ('reg_lambda', (1, 20)))
TREES = dict(max_depth=8, eta=.03, min_child_weight=1, colsample_bytree=.8, subsample=.8, reg_lambda=5)
TUNE_FOLDS = (80, 94, 108)
FIRST_DAY = 1522540800 // 86400


def read(data_path, columns_path):
    """(x [n, 128] float32, day, card, label); the text is parsed once."""
    kept = columns_path + '.npz'
    names = ('day', 'card', 'y')
    if not os.path.exists(kept) or os.path.getmtime(kept) < os.path.getmtime(columns_path):
        import pandas as pd
        data = pd.read_csv(data_path, dtype={'tx_id': str})
        with open(columns_path) as f:
            head = f.readline().rstrip('\n').split(',')
        x = pd.read_csv(columns_path, dtype={c: str if c == 'tx_id' else np.float32 for c in head})
        at = pd.Series(np.arange(len(x)), index=x.pop('tx_id')).reindex(data.tx_id).to_numpy()
        np.save(columns_path + '.npy', x.to_numpy(np.float32)[at.astype(np.int64)])
        with open(kept, 'wb') as f:
            np.savez(f, day=(data.ts // 86400 - FIRST_DAY).to_numpy(), card=data.card_id.to_numpy(),
                     y=data.fraud.to_numpy())
    rows = np.load(kept)
    return (np.load(columns_path + '.npy', mmap_mode='r'), *(rows[name] for name in names))


def split(day, card, y, fold):
    """Rows learnt and rows scored, by the book's rule."""
    fit = np.flatnonzero((day >= 30) & (day < fold + 7))
    test = np.flatnonzero((day >= fold + 14) & (day < fold + 21))
    keep = np.ones(len(test), bool)
    for d in range(7):
        known = np.unique(card[(day >= fold) & (day <= fold + 6 + d) & (y == 1)])
        keep &= ~((day[test] == fold + 14 + d) & np.isin(card[test], known))
    return fit, test[keep]


def card_precision(day, card, y, s, k=100):
    found, out = set(), []
    for d in np.unique(day):
        best, fraud = {}, {}
        for i in np.flatnonzero((day == d) & ~np.isin(card, list(found))):
            best[card[i]] = max(best.get(card[i], -np.inf), s[i])
            fraud[card[i]] = max(fraud.get(card[i], 0), y[i])
        hits = [c for c in sorted(best, key=lambda c: -best[c])[:k] if fraud[c]]
        out.append(len(hits) / k)
        found |= set(hits)
    return np.mean(out)


class Bench:
    def __init__(self, data, columns, threads, results):
        self.source, self.threads, self.results = (data, columns), threads, results
        self.rows, self.fold, self.done = None, None, {}
        if results and os.path.exists(results):
            with open(results) as f:
                self.done = {line.split('\t')[0]: json.loads(line.split('\t')[1]) for line in f}

    def read(self):
        return read(*self.source)

    def split(self, fold):
        return split(*self.rows[1:], fold)

    def show(self, fold, name, figures):
        print('fold %d %-20s AUC %.4f AP %.4f CP@100 %.4f' % (fold, name, *figures), flush=True)

    def prepare(self, fold):
        """Columns and quantised columns of a fold stay until another fold is asked for."""
        import xgboost
        if self.rows is None:
            self.rows = self.read()
        if self.fold != fold:
            x, _, _, y = self.rows
            self.fold, (self.fit, self.test) = fold, self.split(fold)
            self.x_fit, self.x_test = x[self.fit], x[self.test]
            self.quantised = xgboost.QuantileDMatrix(self.x_fit, y[self.fit], nthread=self.threads)

    def trees(self, settings):
        import xgboost
        learnt = xgboost.train(dict(settings, objective='binary:logistic', tree_method='hist',
                                    nthread=self.threads, seed=1), self.quantised, ROUNDS)
        return learnt.inplace_predict(self.x_test)

    def line(self, _):
        from sklearn.linear_model import LogisticRegression
        mean, sd = self.x_fit.mean(0), self.x_fit.std(0) + 1e-6
        scale = lambda x: np.clip((x - mean) / sd, -8, 8)
        learnt = LogisticRegression(max_iter=300).fit(scale(self.x_fit), self.rows[3][self.fit])
        return learnt.decision_function(scale(self.x_test))

    def judge(self, name, fold, model, settings):
        """(AUC, AP, CP@100), from the results file where it has them; a line is printed."""
        from sklearn.metrics import average_precision_score, roc_auc_score
        key = '%d %s %s' % (fold, name, json.dumps(settings))
        if key not in self.done:
            self.prepare(fold)
            score = model(settings)
            _, day, card, y = (v if i == 0 else v[self.test] for i, v in enumerate(self.rows))
            self.done[key] = [float(roc_auc_score(y, score)), float(average_precision_score(y, score)),
                              float(card_precision(day, card, y, score))]
            if self.results:
                with open(self.results, 'a') as f:
                    f.write('%s\t%s\n' % (key, json.dumps(self.done[key])))
        self.show(fold, name, self.done[key])
        return self.done[key]


def tune(bench, folds):
    # A choice needs all folds; so that a fold's columns are quantised once for all values of a parameter,
    # these are tried together.
    best, seen = dict(START), {}

    def measure(several):
        for fold in folds:
            for s in several:
                seen.setdefault(str(s), []).append(bench.judge('XGBoost', fold, bench.trees, s)[1])
        for s in several:
            print('AP %.4f  %s' % (np.mean(seen[str(s)]), ' '.join('%s=%g' % i for i in s.items())), flush=True)

    measure([best])
    for name, values in TRIED:
        tried = [dict(best, **{name: v}) for v in values]
        measure(tried)
        best = max([best] + tried, key=lambda s: np.mean(seen[str(s)]))
    print('TREES = dict(%s)' % ', '.join('%s=%g' % i for i in best.items()))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('data')
    ap.add_argument('columns')
    ap.add_argument('fold', type=int, nargs='*')
    ap.add_argument('--threads', type=int, default=os.cpu_count())
    ap.add_argument('--results')
    ap.add_argument('--tune', action='store_true')
    a = ap.parse_intermixed_args()
    bench = Bench(a.data, a.columns, a.threads, a.results)
    if a.tune:
        tune(bench, a.fold or TUNE_FOLDS)
        return
    total = {}
    for fold in a.fold:
        for name, model, settings in (('XGBoost', bench.trees, TREES), ('logistic regression', bench.line, {})):
            total.setdefault(name, []).append(bench.judge(name, fold, model, settings))
    for name, rows in total.items():
        print('mean     %-20s AUC %.4f AP %.4f CP@100 %.4f' % (name, *np.mean(rows, 0)))


if __name__ == '__main__':
    main()
