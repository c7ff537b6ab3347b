#!/usr/bin/python3
"""Alert rules and dashboard name metrics that the daemons have, with labels that they have."""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALWAYS = {"job", "instance", "le"}


def metrics():
    """Name: labels, of every series."""
    text = (ROOT / "daemon" / "metrics.def").read_text()
    found = {}
    for name, kind, labels in re.findall(r'METRIC\(\w+, "(\w+)", (\w+),\s*"([^"]*)"', text):
        names = [name] if kind in ("COUNTER", "GAUGE") else [name + end for end in ("_bucket", "_sum", "_count")]
        for series in names:
            found[series] = ALWAYS | set(filter(None, labels.split(",")))
    return found


def expressions():
    rules = (ROOT / "etc" / "prometheus" / "fraudd.rules.yml").read_text()
    for expr in re.findall(r"^ *expr: (.*)$", rules, re.M):
        yield "rules", expr
    dashboard = json.loads((ROOT / "etc" / "grafana" / "fraudd.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f'panel "{panel["title"]}"', target["expr"]
    for query in dashboard["annotations"]["list"]:
        yield "annotation", query["expr"]
    for variable in dashboard["templating"]["list"][1:]:
        yield "variable", variable["definition"]


def wrong(known, expr):
    names = re.findall(r"\b(?:fraudd|process)_\w+", expr)
    if not names and "up{" not in expr:
        yield "names no metric"
    for name in names:
        if name not in known:
            yield f"no metric {name}"
    labels = set(re.findall(r"(\w+)=~?\"", expr))
    for by in re.findall(r"by \(([^)]*)\)", expr):
        labels |= {label.strip() for label in by.split(",")}
    allowed = set().union(*(known.get(name, set()) for name in names)) | ALWAYS
    for label in labels - allowed:
        yield f"no label {label} of {', '.join(names)}"


known = metrics()
assert len(known) > 60, "metrics.def was not read"
assert list(wrong(known, "rate(fraudd_no_such_total[5m])")) and list(wrong(known, 'fraudd_ready{reason="x"}'))
count = 0
bad = []
for where, expr in expressions():
    count += 1
    bad += [f"{where}: {expr}: {why}" for why in wrong(known, expr)]
assert count > 60, f"{count} expressions"
print("\n".join(bad) or f"{count} expressions name {len(known)} series rightly")
sys.exit(1 if bad else 0)
