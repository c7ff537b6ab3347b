"""Average precision by fraud pattern: the pattern's frauds against all legitimate payments.

    drift_ap.py STREAM.csv SCORES.csv PATTERN

STREAM: of `fraudd simulate`; SCORES: of `fraudd backtest --scores`.  Prints the average precision of
PATTERN, its frauds, that of all other patterns together, and theirs.  Refunds and reversals are not
judged, as nowhere else.  A group of equal scores counts as one step.
"""
import csv
import sys


def average_precision(pairs):
    """pairs: (score, 1 or 0); sorted here, highest first."""
    pairs.sort(key=lambda pair: -pair[0])
    positives = sum(label for _, label in pairs)
    hits = total = 0
    before = 0.0
    ap = 0.0
    for i, (score, label) in enumerate(pairs):
        hits += label
        total += 1
        if i + 1 == len(pairs) or pairs[i + 1][0] != score:
            recall = hits / positives
            ap += (recall - before) * hits / total
            before = recall
    return ap, positives


def main():
    stream, scores, new = sys.argv[1:]
    with open(scores, newline="") as f:
        score_of = {row["tx_id"]: float(row["score"]) for row in csv.DictReader(f)}
    pairs = {True: [], False: []}  # is it the new pattern?
    with open(stream, newline="") as f:
        for row in csv.DictReader(f):
            score = score_of.get(row["tx_id"])
            if score is None or row["type"] in ("refund", "reversal"):
                continue
            if row["fraud"] == "1":
                pairs[row["pattern"] == new].append((score, 1))
            else:
                pairs[True].append((score, 0))
                pairs[False].append((score, 0))
    ap_new, frauds_new = average_precision(pairs[True])
    ap_old, frauds_old = average_precision(pairs[False])
    print(f"{ap_new:.4f} {frauds_new} {ap_old:.4f} {frauds_old}")


main()
