#!/usr/bin/env python3
"""XGBoost and logistic regression on the product's own columns and rows, by the handbook's protocol.

    quality_peers.py DATA COLUMNS.csv FOLD...      (quality.sh --peers calls it)

DATA is the handbook's stream, COLUMNS.csv what `fraudd backtest --features` wrote for all of it.
A fold F: rows of days 30 .. F + 6 are learnt, days F + 14 .. F + 20 are scored; cards with a fraud
from day F to D - 8 are left out on test day D.  XGBoost: 300 trees of depth 6 with usual settings,
not tuned.
"""
import os
import sys

import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

TREES = dict(n_estimators=300, max_depth=6, learning_rate=.05, min_child_weight=5, subsample=.8,
             colsample_bytree=.5, reg_lambda=5, tree_method='hist', n_jobs=os.cpu_count())


def card_precision(day, card, y, s, k=100):
    found, out = set(), []
    for d in np.unique(day):
        rows = np.flatnonzero((day == d) & ~np.isin(card, list(found)))
        cards = pd.DataFrame({'card': card[rows], 's': s[rows], 'y': y[rows]})
        top = cards.groupby('card', sort=False).max().sort_values('s', ascending=False, kind='stable')[:k]
        hits = top.index[top.y > 0]
        out.append(len(hits) / k)
        found |= set(hits)
    return np.mean(out)


def main():
    data = pd.read_csv(sys.argv[1], dtype={'tx_id': str})
    columns = pd.read_csv(sys.argv[2], dtype={'tx_id': str}).set_index('tx_id')
    columns = columns.reindex(data.tx_id).to_numpy(np.float32)
    day = ((data.ts - 1522540800) // 86400).to_numpy()
    card, y = data.card_id.to_numpy(), data.fraud.to_numpy()
    total = {}
    for fold in map(int, sys.argv[3:]):
        fit = np.flatnonzero((day >= 30) & (day < fold + 7))
        test = np.flatnonzero((day >= fold + 14) & (day < fold + 21))
        keep = np.ones(len(test), bool)
        for d in range(7):
            known = np.unique(card[(day >= fold) & (day <= fold + 6 + d) & (y == 1)])
            keep &= ~((day[test] == fold + 14 + d) & np.isin(card[test], known))
        test = test[keep]
        trees = xgboost.XGBClassifier(**TREES).fit(columns[fit], y[fit])
        mean, sd = columns[fit].mean(0), columns[fit].std(0) + 1e-6
        scale = lambda rows: np.clip((columns[rows] - mean) / sd, -8, 8)
        line = LogisticRegression(max_iter=300).fit(scale(fit), y[fit])
        for name, score in (('XGBoost', trees.predict_proba(columns[test])[:, 1]),
                            ('logistic regression', line.decision_function(scale(test)))):
            m = (roc_auc_score(y[test], score), average_precision_score(y[test], score),
                 card_precision(day[test], card[test], y[test], score))
            total.setdefault(name, []).append(m)
            print('fold %d %-20s AUC %.4f AP %.4f CP@100 %.4f' % (fold, name, *m), flush=True)
    for name, rows in total.items():
        print('mean     %-20s AUC %.4f AP %.4f CP@100 %.4f' % (name, *np.mean(rows, 0)))


if __name__ == '__main__':
    main()
