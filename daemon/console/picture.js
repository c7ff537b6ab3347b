// The card's history as a picture: amounts over 60 days, and the last day by the hour beside it.
import { amount, clock, day, fullDate, money, svg } from "./dom.js";

const HEIGHT = 232;
const TOP = 22;
const BOTTOM = 206;
const LEFT = 46;
const WIDE = { from: LEFT, to: 520 };
const NARROW = { from: 556, to: 748 };
const DAY_MS = 86400000;

const kind = (p) => p.this ? "this" : p.verdict === "fraud" ? "fraud" :
  p.outcome === "decline" ? "declined" : p.alert !== null ? "alerted" : "plain";
const ORDER = ["plain", "alerted", "declined", "fraud", "this"]; // what lies above

export const KINDS = [["this", "this payment"], ["fraud", "known fraud"], ["declined", "declined"],
                      ["alerted", "alerted"], ["plain", "other"]];

function logAxis(values) {
  const positive = values.filter((v) => v > 0);
  const low = Math.log10(Math.max(Math.min(...positive, 1e9), 0.01));
  const high = Math.log10(Math.max(...positive, 1));
  const from = Math.floor(low * 2) / 2 - 0.1;
  const to = Math.max(Math.ceil(high * 2) / 2, from + 1) + 0.1;
  const y = (v) => BOTTOM - (BOTTOM - TOP) * (Math.log10(Math.max(v, 0.01)) - from) / (to - from);
  const ticks = [];
  for (let k = Math.ceil(from); k <= Math.floor(to); k++) ticks.push(10 ** k);
  return { y, ticks };
}

function median(values) {
  const v = [...values].sort((a, b) => a - b);
  return v.length ? (v[(v.length - 1) >> 1] + v[v.length >> 1]) / 2 : null;
}

function frame(panel, title) {
  return [svg("rect.frame", { x: panel.from, y: TOP, width: panel.to - panel.from,
                              height: BOTTOM - TOP, rx: 4 }),
          svg("text.title", { x: panel.from, y: TOP - 8 }, title)];
}

function dots(payments, x, y) {
  return [...payments]
    .sort((a, b) => ORDER.indexOf(kind(a)) - ORDER.indexOf(kind(b)))
    .map((p) => {
      const k = kind(p);
      const what = [amount(p.amount), p.merchant, p.country, p.channel, fullDate(p.event_time)];
      const at = { cx: x(p.time).toFixed(1), cy: y(Number(p.value)).toFixed(1) };
      return svg(`circle.dot.${k}`, { ...at, r: k === "this" ? 6 : k === "plain" ? 3.2 : 4.2 },
                 svg("title", {}, what.filter(Boolean).join(" · ")));
    });
}

function ticksX(panel, from, to, step, label) {
  const out = [];
  const offset = new Date(to).getTimezoneOffset() * 60000;
  for (let t = Math.ceil((from - offset) / step) * step + offset; t <= to; t += step) {
    const x = panel.from + (panel.to - panel.from) * (t - from) / (to - from);
    out.push(svg("line.grid", { x1: x, x2: x, y1: TOP, y2: BOTTOM }));
    if (x > panel.from + 14 && x < panel.to - 14) {
      out.push(svg("text.tick", { x, y: BOTTOM + 15, "text-anchor": "middle" }, label(t)));
    }
  }
  return out;
}

export function picture(rows) {
  const payments = rows.map((p) => ({ ...p, time: new Date(p.event_time).getTime() }));
  const mine = payments.find((p) => p.this);
  if (!mine) return null;
  const end = Math.max(mine.time, ...payments.map((p) => p.time));
  const first = Math.min(...payments.map((p) => p.time));
  const start = Math.min(first, end - 7 * DAY_MS) - DAY_MS / 2;
  const { y, ticks } = logAxis(payments.map((p) => Number(p.value)));
  const usual = median(payments.filter((p) => !p.this).map((p) => Number(p.value)));
  const lastDay = payments.filter((p) => p.time >= mine.time - DAY_MS);
  const pad = (end - start) * 0.015;
  const scale = (panel, from, to) => (t) =>
    panel.from + (panel.to - panel.from) * (t - from) / (to - from);
  const dayFrom = mine.time - DAY_MS;
  const dayTo = end + (end - dayFrom) * 0.04;
  const days = (end - start) / DAY_MS;
  const hours = Math.round((end - dayFrom) / 3600000); // a day before it, and what came after
  const parts = [
    ...frame(WIDE, `Amounts, ${Math.round(days)} days`), ...frame(NARROW, `${hours} hours`),
    ...ticksX(WIDE, start, end + pad, (days > 20 ? 7 : days > 8 ? 2 : 1) * DAY_MS, day),
    ...ticksX(NARROW, dayFrom, dayTo, hours > 30 ? DAY_MS / 2 : DAY_MS / 4, clock)];
  for (const v of ticks) {
    for (const p of [WIDE, NARROW]) {
      parts.push(svg("line.grid", { x1: p.from, x2: p.to, y1: y(v), y2: y(v) }));
    }
    parts.push(svg("text.tick", { x: LEFT - 7, y: y(v) + 4, "text-anchor": "end" },
                   v >= 1 ? money(v).replace(/\.00$/, "") : String(v)));
  }
  if (usual > 0) {
    for (const p of [WIDE, NARROW]) {
      parts.push(svg("line.usual", { x1: p.from, x2: p.to, y1: y(usual), y2: y(usual) }));
    }
    parts.push(svg("text.usual", { x: LEFT + 5, y: y(usual) - 4 }, `usual ${money(usual)}`));
  }
  parts.push(...dots(payments, scale(WIDE, start, end + pad), y),
             ...dots(lastDay, scale(NARROW, dayFrom, dayTo), y));
  const frauds = payments.filter((p) => p.verdict === "fraud").length;
  const text = `${payments.length} payments in ${Math.round(days)} days, ${frauds} known frauds, ` +
    `${lastDay.length} in the day of this payment; usual amount ${usual ? money(usual) : "unknown"}`;
  return svg("svg.picture", { viewBox: `0 0 760 ${HEIGHT}`, role: "img", "aria-label": text },
             ...parts);
}
