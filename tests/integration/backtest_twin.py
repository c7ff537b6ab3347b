#!/usr/bin/env python3
"""Works out a backtest's figures again, slowly and apart, and compares.

    backtest_twin.py HISTORY.csv SCORES.csv FIGURES.json FIRST_DAY TOP_CARDS

FIGURES.json is what `fraudd backtest --json --leave-out-known-cards` printed, SCORES.csv what --scores
wrote, FIRST_DAY its --from.  On test day D the cards with a fraud from FIRST_DAY - 14 to D - 8 are known.
"""
import csv
import datetime
import json
import sys

DAY = datetime.timedelta(days=1)


def read(history, scores):
    """Judged payments in order of time: (day, card, fraud, score)."""
    with open(scores, newline='') as f:
        score = {row['tx_id']: float(row['score']) for row in csv.DictReader(f)}
    with open(history, newline='') as f:
        rows = list(csv.DictReader(f))
    rows.sort(key=lambda r: r['ts'])
    day = lambda r: datetime.date.fromisoformat(r['ts'][:10])
    frauds = [(day(r), r['card_id']) for r in rows if r['fraud'] == '1']
    judged = [(day(r), r['card_id'], r['fraud'] == '1', score[r['tx_id']]) for r in rows
              if r['tx_id'] in score and r.get('type') not in ('refund', 'reversal')]
    return judged, frauds


def auc(rows):
    frauds = [r[3] for r in rows if r[2]]
    others = [r[3] for r in rows if not r[2]]
    above = sum((f > o) + (f == o) / 2 for f in frauds for o in others)
    return above / (len(frauds) * len(others))


def average_precision(rows):
    total = 0
    frauds = [r for r in rows if r[2]]
    for f in frauds:
        flagged = [r for r in rows if r[3] >= f[3]]
        total += sum(r[2] for r in flagged) / len(flagged)
    return total / len(frauds)


def card_precision(rows, k):
    found, shares = set(), []
    for day in sorted({r[0] for r in rows}):
        best, hit = {}, set()
        for _, card, fraud, score in (r for r in rows if r[0] == day and r[1] not in found):
            best[card] = max(score, best.get(card, -1))
            if fraud:
                hit.add(card)
        top = sorted(best, key=lambda c: -best[c])[:k]
        shares.append(sum(c in hit for c in top) / k)
        found |= hit.intersection(top)
    return sum(shares) / len(shares)


def calibration_error(rows, groups=10):
    rows = sorted(rows, key=lambda r: -r[3])
    error = [0.0] * groups
    for i, r in enumerate(rows):  # row i covers [i, i + 1) of n; group g [g, g + 1) * n / groups
        for g in range(groups):
            low, high = g * len(rows) / groups, (g + 1) * len(rows) / groups
            error[g] += max(0, min(high, i + 1) - max(low, i)) * (r[3] - r[2])
    return sum(map(abs, error)) / len(rows)


def main():
    judged, frauds = read(sys.argv[1], sys.argv[2])
    with open(sys.argv[3]) as f:
        told = {p['name']: p for p in json.load(f)['populations']}
    first, top = datetime.date.fromisoformat(sys.argv[4]), int(sys.argv[5])
    known = lambda r: any(c == r[1] and first - 14 * DAY <= d <= r[0] - 8 * DAY for d, c in frauds)
    populations = {'all': judged, 'not_known': [r for r in judged if not known(r)]}
    assert 10 < len(populations['not_known']) < len(judged), 'the rule had nothing to do'
    for name, rows in populations.items():
        want = {'auc': auc(rows), 'ap': average_precision(rows),
                'card_precision': card_precision(rows, top),
                'expected_over_observed': sum(r[3] for r in rows) / sum(r[2] for r in rows),
                'calibration_error': calibration_error(rows)}
        assert told[name]['payments'] == len(rows), (name, told[name]['payments'], len(rows))
        assert told[name]['frauds'] == sum(r[2] for r in rows), name
        for figure, value in want.items():
            got = told[name]['model'][figure]
            # nine digits are printed
            assert abs(got['value'] - value) < 1e-6, (name, figure, got['value'], value)
            assert got['low'] <= got['high'], (name, figure)


if __name__ == '__main__':
    main()
