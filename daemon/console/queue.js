// The list of alerts: pages by keyset, one row selected.
import { get } from "./api.js";
import { $, ago, amount, chance, count, el, fullDate } from "./dom.js";

const list = $("list");
const note = $("list-note");
let rows = []; // {alert, node}
let selected = -1;
let name = "open";
let find = "";
let more = false;
let loading = null;
let generation = 0; // of the list; an answer for an earlier one is dropped
let onSelect = () => {};

export const current = () => rows[selected]?.alert ?? null;
export const listName = () => name;
export const whenSelected = (f) => { onSelect = f; };

function heat(score) {
  if (score === null) return "unknown";
  return score >= 0.8 ? "high" : score >= 0.4 ? "middle" : "low";
}

function badge(a) {
  if (a.state === "resolved") return el(`span.badge.${a.verdict}`, {}, a.verdict);
  if (a.state === "claimed") return el("span.badge.claimed", {}, a.claimed_by);
  return a.outcome === "decline" ? el("span.badge.declined", {}, "declined") : null;
}

function fill(node, a) {
  node.replaceChildren(
    el(`span.score.${heat(a.score)}`, { title: "probability of fraud" }, chance(a.score)),
    el("span.amount", {}, amount(a.amount)),
    el("span.place", {},
       el("b", {}, a.merchant ?? "no merchant"),
       el("small", {}, [a.country, a.channel].filter(Boolean).join(" · "))),
    el("span.reason", {}, a.reason ?? "–"),
    el("span.state", {}, badge(a)),
    el("time", { datetime: a.event_time, title: fullDate(a.event_time) }, ago(a.event_time)));
}

function add(a) {
  const index = rows.length;
  const node = el("div.row", { role: "option", id: `row-${index}`, "aria-selected": "false" });
  fill(node, a);
  node.addEventListener("click", () => select(rows.findIndex((r) => r.node === node)));
  rows.push({ alert: a, node });
  list.append(node);
}

const EMPTY = { open: "No alert is open. Well done.", mine: "You have claimed none. Press 1, then c.",
                claimed: "Nobody has claimed any.", resolved: "None was resolved yet.",
                find: "No alert of this card or transaction." };

function tell(text = null) {
  note.textContent = text ?? (rows.length === 0 ? EMPTY[name] : more ? "" :
    `${count(rows.length)} ${rows.length === 1 ? "alert" : "alerts"}, no more.`);
}

export function select(index, show = true) {
  if (rows.length === 0) {
    selected = -1;
    list.removeAttribute("aria-activedescendant");
    if (show) onSelect(null);
    return;
  }
  rows[selected]?.node.setAttribute("aria-selected", "false");
  selected = Math.max(0, Math.min(index, rows.length - 1));
  const { node, alert } = rows[selected];
  node.setAttribute("aria-selected", "true");
  node.scrollIntoView({ block: "nearest" });
  list.setAttribute("aria-activedescendant", node.id);
  if (show) onSelect(alert);
  if (selected > rows.length - 15) loadMore();
}

export const move = (by) => select(selected + by);

async function fetchPage(after) {
  const params = { list: name };
  if (name === "find") params.find = find;
  if (after) Object.assign(params, { key: after.key, id: after.id });
  return get("queue", params);
}

export async function loadMore() {
  if (!more || loading) return;
  const of = generation;
  loading = fetchPage(rows.at(-1).alert);
  try {
    const page = await loading;
    if (of !== generation) return;
    const known = new Set(rows.map((r) => r.alert.id));
    page.alerts.filter((a) => !known.has(a.id)).forEach(add);
    more = page.more;
    tell();
  } finally {
    loading = null;
  }
}

// Shows a list from its beginning; keeps the selected alert where it is still on the first page.
export async function load(which, what = "", keep = false) {
  const before = keep ? current()?.id : null;
  const place = selected;
  const of = ++generation;
  name = which;
  find = what;
  if (!keep) list.setAttribute("aria-busy", "true");
  const page = await fetchPage(null).finally(() => list.removeAttribute("aria-busy"));
  if (of !== generation) return;
  const top = list.scrollTop;
  rows = [];
  list.replaceChildren();
  page.alerts.forEach(add);
  more = page.more;
  tell();
  selected = -1;
  const again = before ? rows.findIndex((r) => r.alert.id === before) : -1;
  select(again >= 0 ? again : keep ? place : 0, again < 0);
  if (again >= 0) list.scrollTop = top;
}

// A refresh in the background would undo the pages that were scrolled to, so it waits for the top.
export async function refresh() {
  if (rows.length <= 50 && list.scrollTop < 400) await load(name, find, true);
  for (const r of rows) r.node.querySelector("time").textContent = ago(r.alert.event_time);
}

// An alert changed: its row shows it.
export function update(a) {
  const row = rows.find((r) => r.alert.id === a.id);
  if (!row) return;
  Object.assign(row.alert, a);
  fill(row.node, row.alert);
}

// Goes on to the next alert that is not done.
export function next() {
  for (let i = selected + 1; i < rows.length; i++) {
    if (rows[i].alert.state !== "resolved") {
      select(i);
      return;
    }
  }
  select(selected);
}

list.addEventListener("scroll", () => {
  if (list.scrollTop + list.clientHeight > list.scrollHeight - 600) loadMore().catch(() => {});
});
