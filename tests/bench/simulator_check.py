#!/usr/bin/env python3
"""Checks that the simulator's stream is neither trivial nor hopeless.

  simulator_check.py [--fraudd build/release/fraudd] [--cards 2500] [--days 180] [--seed 1] [--program-columns]

Bounds (exit code 1 if one is broken):
  - fraud is .1 to 1 % of the rows;
  - XGBoost with straightforward features (or with the program's own 128 columns: --program-columns)
    has an average precision of .4 to .85 on the last third;
  - logistic regression on the same features is at least .1 below it;
  - no single column has an AUC above .85;
  - at least two patterns are told from legitimate life by the order of a card's events: what
    describes the card's days around the event without their order finds at most two thirds of the
    average precision that is reached with it.
Needs pandas, scikit-learn, xgboost.
"""
import argparse
import collections
import io
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

DAY = 86400.0
PER_EUR = {"EUR": 1, "PLN": 4.3, "GBP": .86, "CHF": .96, "CZK": 25, "SEK": 11.4, "USD": 1.08, "TRY": 35,
           "THB": 38, "JPY": 160, "AED": 4, "BRL": 5.9}
PAYMENT = {"purchase", "cash"}


class Window:
    """Times and values of the last `span` seconds."""

    def __init__(self, span):
        self.span, self.items, self.total = span, collections.deque(), 0.0

    def trim(self, now):
        while self.items and self.items[0][0] <= now - self.span:
            self.total -= self.items.popleft()[1]

    def add(self, now, value):
        self.items.append((now, value))
        self.total += value

    def mean(self):
        return self.total / len(self.items) if self.items else 0.0


def km(a, b):
    la, lb = math.radians(a[0]), math.radians(b[0])
    d = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin(math.radians(b[1] - a[1]) / 2) ** 2
    return 12742 * math.asin(min(1.0, math.sqrt(d)))


class Card:
    def __init__(self):
        self.spans = [Window(3600), Window(DAY), Window(7 * DAY), Window(30 * DAY)]
        self.checks, self.small = Window(DAY), Window(DAY)
        self.seen = {k: set() for k in ("device", "ip", "country", "mcc", "merchant")}
        self.past = collections.deque(maxlen=3)  # (time, amount)
        self.cash = collections.deque(maxlen=3)
        self.at = None
        self.frauds = Window(60 * DAY)


class Place:
    def __init__(self):
        self.day, self.week, self.month = Window(DAY), Window(7 * DAY), Window(30 * DAY)
        self.frauds = Window(60 * DAY)
        self.amounts = collections.Counter()


def card_features(c, r, t, a, f):
    for name, w in zip(("1h", "1d", "7d", "30d"), c.spans):
        w.trim(t)
        f["card_count_" + name] = len(w.items)
        f["card_ratio_" + name] = math.log((a + 1) / (w.mean() + 1)) if w.items else 0.0
    c.checks.trim(t), c.small.trim(t), c.frauds.trim(t)
    f["card_max_ratio"] = math.log((a + 1) / (max((v for _, v in c.spans[3].items), default=a) + 1))
    f["card_checks"], f["card_small"], f["card_frauds"] = len(c.checks.items), len(c.small.items), len(c.frauds.items)
    for i in range(3):
        then, v = c.past[-1 - i] if len(c.past) > i else (t - 60 * DAY, a)
        f[f"gap_{i}"], f[f"past_ratio_{i}"] = math.log1p(t - then), math.log((a + 1) / (v + 1))
        then, v = c.cash[-1 - i] if len(c.cash) > i else (t - 60 * DAY, a)
        f[f"cash_gap_{i}"], f[f"cash_ratio_{i}"] = math.log1p(t - then), math.log((a + 1) / (v + 1))
    for k in ("device", "ip", "country", "mcc", "merchant"):
        v = getattr(r, k)
        f["new_" + k] = -1 if v == "" else int(v not in c.seen[k])
    f["distance"] = f["speed"] = -1.0
    if r.lat == r.lat and c.at:
        d = km(c.at[1], (r.lat, r.lon))
        f["distance"], f["speed"] = math.log1p(d), math.log1p(d / max((t - c.at[0]) / 3600, 1 / 60))


def card_update(c, r, t, a):
    for k in c.seen:
        c.seen[k].add(getattr(r, k))
    if r.type in PAYMENT:
        typical = c.spans[3].mean()
        for w in c.spans:
            w.add(t, a)
        if a < .25 * typical:
            c.small.add(t, a)
        c.past.append((t, a))
        if r.type == "cash":
            c.cash.append((t, a))
    if r.type == "check":
        c.checks.add(t, 1)
    if r.lat == r.lat:
        c.at = (t, (r.lat, r.lon))


def place_features(p, r, t, a, f, name):
    for w in (p.day, p.week, p.month, p.frauds):
        w.trim(t)
    f[name + "_count_1d"], f[name + "_count_7d"] = len(p.day.items), len(p.week.items)
    f[name + "_ratio"] = math.log((a + 1) / (p.month.mean() + 1)) if p.month.items else 0.0
    f[name + "_frauds"] = len(p.frauds.items)
    f[name + "_share"] = len(p.frauds.items) / (len(p.month.items) + 5)
    f[name + "_same_amount"] = p.amounts[r.amount]


def place_update(p, r, t, a):
    for w in (p.day, p.week, p.month):
        w.add(t, a)
    p.amounts[r.amount] += 1


def features(df):
    cards, merchants, terminals = (collections.defaultdict(k) for k in (Card, Place, Place))
    device_cards, waiting, rows = collections.defaultdict(set), [], []
    import heapq
    for i, r in enumerate(df.itertuples(index=False)):
        t, a = r.t, r.eur
        while waiting and waiting[0][0] <= t:
            _, _, old = heapq.heappop(waiting)
            for p in (cards[old.card], merchants[old.merchant], terminals[old.terminal]):
                p.frauds.add(t, 1)
        f = {"amount": math.log1p(a), "cents": round(r.amount * 100) % 100, "hour": t % DAY / 3600,
             "weekday": int(t // DAY + 3) % 7, "foreign": int(r.currency != "EUR"),
             "no_device": int(r.device == ""), "no_ip": int(r.ip == "")}
        c = cards[r.card]
        card_features(c, r, t, a, f)
        place_features(merchants[r.merchant], r, t, a, f, "merchant")
        if r.terminal:
            place_features(terminals[r.terminal], r, t, a, f, "terminal")
            place_update(terminals[r.terminal], r, t, a)
        place_update(merchants[r.merchant], r, t, a)
        if r.device:
            device_cards[r.device].add(r.card)
            f["device_cards"] = len(device_cards[r.device])
        card_update(c, r, t, a)
        if r.fraud:
            heapq.heappush(waiting, (r.known, i, r))
        rows.append(f)
    x = pd.DataFrame(rows).fillna(-1.0).astype("float32")
    for k in ("type", "channel", "entry", "mcc", "country"):
        x["code_" + k] = pd.factorize(df[k], sort=True)[0]
    return x


def unordered(df):
    """What the card did around each event, as sets: up to 2 days after it (then a stolen number may be
    closed) and up to 30 days before."""
    parts = []
    for _, g in df.groupby("card", sort=False):
        t, a = g.t.values, np.log1p(g.eur.values)
        cash = (g.type.values == "cash").astype(float)
        small = (g.eur.values < 8).astype(float)
        sums = [np.concatenate([[0.0], np.cumsum(v)]) for v in (np.ones_like(a), a, a * a, cash, cash * a, small)]
        out = {}
        for name, span in (("6h", DAY / 4), ("2d", 2 * DAY), ("10d", 10 * DAY), ("30d", 30 * DAY)):
            lo, hi = np.searchsorted(t, t - span, "left"), np.searchsorted(t, t + min(span, 2 * DAY), "right")
            n, s, q, nc, sc, ns = (v[hi] - v[lo] for v in sums)
            out |= {"n" + name: n, "mean" + name: s / n, "sd" + name: np.sqrt(np.maximum(q / n - (s / n) ** 2, 0)),
                    "cash" + name: nc, "cashmean" + name: sc / np.maximum(nc, 1), "small" + name: ns,
                    "max" + name: [a[i:j].max() for i, j in zip(lo, hi)],
                    "min" + name: [a[i:j].min() for i, j in zip(lo, hi)]}
        parts.append(pd.DataFrame(out, index=g.index))
    return pd.concat(parts).sort_index()


def boost(x, y, rounds=250):
    m = xgboost.XGBClassifier(n_estimators=rounds, max_depth=6, learning_rate=.06, subsample=.8, tree_method="hist",
                              colsample_bytree=.6, min_child_weight=3, n_jobs=2, random_state=1)
    return m.fit(x, y)


def single_columns(x, df, train, test):
    """AUC of each column alone, either way round; categories by their fraud share in training."""
    y, best = df.fraud.values, {}
    for k in x.columns:
        v = x[k]
        if k.startswith("code_"):
            share = df.fraud[train].groupby(v[train]).mean()
            v = v.map(share).fillna(0)
        auc = roc_auc_score(y[test], v[test])
        best[k] = max(auc, 1 - auc)
    return sorted(best.items(), key=lambda kv: -kv[1])


def order_gain(x, df, train, test):
    """AP of each pattern against legitimate rows without and with the order of the card's events."""
    own = [k for k in x.columns if k.startswith("code_")] + ["amount", "cents", "hour", "weekday", "no_device", "no_ip"]
    ordered = [k for k in x.columns if k.startswith(("gap_", "past_", "cash_", "card_small", "card_max"))]
    bag = pd.concat([x[own], unordered(df)], axis=1)
    both = pd.concat([bag, x[ordered]], axis=1)
    rng = np.random.default_rng(1)
    out = {}
    for p in sorted(set(df.pattern) - {""}):
        keep = (df.pattern == p).values | ((df.pattern == "").values & (rng.random(len(df)) < .25))
        y = (df.pattern == p).values
        aps = []
        for z in (bag, both):
            m = boost(z[train & keep], y[train & keep], 150)
            aps.append(average_precision_score(y[test & keep], m.predict_proba(z[test & keep])[:, 1]))
        out[p] = aps
    return out


def simulate(args):
    return subprocess.run([args.fraudd, "simulate", f"--cards={args.cards}", f"--days={args.days}",
                           f"--seed={args.seed}"], check=True, stdout=subprocess.PIPE).stdout


def program_columns(args, text, n):
    """The 128 columns as `score` computes them, labels arriving when they became known."""
    with tempfile.TemporaryDirectory() as folder:
        rows, out = os.path.join(folder, "rows.csv"), os.path.join(folder, "columns.csv")
        with open(rows, "wb") as f:
            f.write(text)
        subprocess.run([args.fraudd, "backtest", f"--input={rows}", "--from=2000-01-01", "--to=2099-01-01",
                        f"--features={out}"], check=True, stderr=subprocess.DEVNULL)
        x = pd.read_csv(out, engine="c").drop(columns="tx_id").astype("float32")
    assert len(x) == n
    return x


def load(text):
    df = pd.read_csv(io.BytesIO(text), dtype={"mcc": str}, keep_default_na=False, na_values={"lat": "", "lon": ""})
    df.columns = [k.removesuffix("_id") for k in df.columns]
    df["t"] = pd.to_datetime(df.ts).astype("int64") / {"ns": 1e9, "us": 1e6, "ms": 1e3}[pd.to_datetime(df.ts).dt.unit]
    df["known"] = pd.to_datetime(df.label_ts, errors="coerce").dt.tz_localize(None).astype("datetime64[s]").astype(
        "int64")
    df["eur"] = df.amount / df.currency.map(PER_EUR)
    return df


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--fraudd", default="build/release/fraudd")
    p.add_argument("--cards", type=int, default=2500)
    p.add_argument("--days", type=int, default=180)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--skip-order", action="store_true", help="leave the last check out")
    p.add_argument("--program-columns", action="store_true", help="judge with the program's 128 columns")
    args = p.parse_args()
    text = simulate(args)
    df = load(text)
    assert df.t.is_monotonic_increasing
    own = None if args.program_columns and args.skip_order else features(df)
    x = program_columns(args, text, len(df)) if args.program_columns else own
    first = df.t.iloc[0]
    train = ((df.t >= first + .15 * args.days * DAY) & (df.t < first + .66 * args.days * DAY)).values
    test = (df.t >= first + .66 * args.days * DAY).values
    y = df.fraud.values
    share = y.mean()
    print(f"rows {len(df)}, per card and day {len(df) / args.cards / args.days:.3f}, fraud {100 * share:.3f} %")
    m = boost(x[train], y[train])
    score = m.predict_proba(x[test])[:, 1]
    ap = average_precision_score(y[test], score)
    print(f"XGBoost AP {ap:.3f} AUC {roc_auc_score(y[test], score):.3f}")
    cut = np.sort(score)[-int(y[test].sum())]
    for q, g in pd.DataFrame({"p": df.pattern[test], "s": score}).groupby("p"):
        print(f"  {q or 'legitimate':11} {len(g):7} caught {100 * (g.s >= cut).mean():.1f} %")
    hot = pd.concat([x] + [pd.get_dummies(x[k], prefix=k) for k in x.columns if k.startswith("code_")], axis=1)
    scaler = StandardScaler().fit(hot[train])
    line = LogisticRegression(max_iter=400, C=.1).fit(scaler.transform(hot[train]), y[train])
    ap_line = average_precision_score(y[test], line.predict_proba(scaler.transform(hot[test]))[:, 1])
    columns = single_columns(x, df, train, test)
    print(f"logistic regression AP {ap_line:.3f}")
    print("best columns alone:", ", ".join(f"{k} {v:.3f}" for k, v in columns[:6]))
    checks = {"fraud share": .001 <= share <= .01, "XGBoost AP": .4 <= ap <= .85,
              "logistic regression is worse": ap_line <= ap - .1, "no column alone": columns[0][1] <= .85}
    if not args.skip_order:
        gains = order_gain(own, df, train, test)
        for q, (bag, both) in gains.items():
            print(f"  {q:11} AP without order {bag:.3f} with {both:.3f}")
        checks["two patterns by order"] = sum(bag <= both * 2 / 3 and both > .05 for bag, both in gains.values()) >= 2
    for name, good in checks.items():
        print(f"{'ok ' if good else 'BAD'} {name}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
