// One alert: what it is, why, the card's history, and what was done to it.
import { $, ago, amount, chance, clock, count, date, el, fullDate, money } from "./dom.js";
import { KINDS, picture } from "./picture.js";

const pane = $("detail");
const ROWS = 8;

const row = (name, value) =>
  value === null || value === undefined || value === "" ? [] :
    [el("dt", {}, name), el("dd", {}, value)];

function headline(a) {
  const where = [a.merchant, a.mcc && `MCC ${a.mcc}`, a.country, a.channel, a.entry];
  return el("div.headline", {},
    el("div", {},
      el("h2", {}, amount(a.amount), " ",
         el(`span.badge.${a.outcome === "decline" ? "declined" : "review"}`, {},
            a.outcome === "decline" ? "declined" : "to review"),
         a.state === "resolved" && el(`span.badge.${a.verdict}`, {}, a.verdict),
         a.state === "claimed" && el("span.badge.claimed", {}, `claimed by ${a.claimed_by}`)),
      el("p", {}, where.filter(Boolean).join(" · "))),
    el("dl.figures", {},
      el("dt", {}, "Probability"), el("dd", {}, chance(a.score)),
      el("dt", {}, "Expected loss"), el("dd", {}, money(a.expected_loss)),
      el("dt", {}, "Payment"),
      el("dd", {}, el("time", { title: fullDate(a.event_time) }, ago(a.event_time)))));
}

const BUTTONS = [["claim", "Claim", "c"], ["fraud", "Fraud", "f"], ["legitimate", "Legitimate", "l"],
                 ["unsure", "Unsure", "u"], ["release", "Give back", "r"]];

function actions(a, me, act) {
  const mine = a.state === "claimed" && a.claimed_by === me.who;
  const free = a.state === "open";
  const done = a.state === "resolved";
  const allowed = { claim: free || mine, fraud: mine || done, legitimate: mine || done,
                    unsure: mine || done, release: mine };
  if (me.role !== "analyst") {
    return el("p.hint", {}, "You look only: deciding needs an analyst's token.");
  }
  let hint = null;
  if (free) hint = "Claim it first (c), so that nobody else works on it.";
  if (mine) hint = `Yours until ${clock(a.due)}.`;
  if (a.state === "claimed" && !mine) hint = `${a.claimed_by} works on it.`;
  if (done) hint = `Resolved by ${a.resolved_by}, ${date(a.resolved_at)}. Another verdict replaces this one.`;
  return el("div.actions", {},
    el("div.buttons", {}, ...BUTTONS
      .filter(([what]) => !(what === "claim" && (mine || done)) && !(what === "release" && !mine))
      .map(([what, text, key]) => el(`button.act.${what}`,
        { type: "button", "data-act": what, disabled: !allowed[what],
          "aria-pressed": done && a.verdict === what ? "true" : null,
          on: { click: () => act(what) } }, text, el("kbd", {}, key)))),
    (mine || done) && el("input", { id: "note", type: "text", maxlength: 250, autocomplete: "off",
      placeholder: "Note for those who look later (m)", "aria-label": "Note" }),
    hint && el("p.hint", {}, hint));
}

function reasons(list) {
  const most = Math.max(...list.map((r) => Math.abs(Number(r.weight) || 0)), 0.01);
  return el("section", {}, el("h3", {}, "Why"),
    list.length === 0 ? el("p.hint", {}, "No reason was given.") :
      el("ol.reasons", {}, ...list.map((r) => el("li", {},
        el("span.text", {}, r.text),
        el("meter", { min: 0, max: most, value: Math.abs(Number(r.weight) || 0),
                      title: `${r.group}: weight ${r.weight}`,
                      "aria-label": `weight ${r.weight}` }),
        el("small", {}, r.group)))));
}

const MARK = { fraud: "fraud", legitimate: "legitimate" };

function paymentRow(p) {
  const mark = p.verdict ? el(`span.badge.${MARK[p.verdict]}`, {}, p.verdict) :
    p.outcome === "decline" ? el("span.badge.declined", {}, "declined") :
      p.alert !== null ? el("span.badge.review", {}, "alerted") : null;
  return el(p.this ? "tr.this" : "tr", {},
    el("td", {}, el("time", { title: fullDate(p.event_time) }, date(p.event_time))),
    el("td.number", {}, amount(p.amount)), el("td", {}, p.merchant ?? "–"),
    el("td", {}, [p.country, p.channel].filter(Boolean).join(" · ")),
    el("td.number", {}, chance(p.score)), el("td", {}, mark));
}

function payments(list) {
  const body = el("tbody");
  const mine = list.findIndex((p) => p.this);
  const begin = Math.max(0, Math.min(mine - 2, list.length - ROWS));
  body.append(...list.slice(begin, begin + ROWS).map(paymentRow));
  const all = list.length > ROWS && el("button.link", { type: "button", on: { click: () => {
    body.replaceChildren(...list.map(paymentRow));
    all.remove();
  } } }, `show all ${count(list.length)}`);
  return el("section", {}, el("h3", {}, "The card's payments"), picture(list) ?? "",
    el("p.legend", {}, ...KINDS.map(([k, text]) => el(`span.key.${k}`, {}, text))),
    list.length === 0 ? el("p.hint", {}, "None is stored.") :
      el("table", {}, el("thead", {}, el("tr", {}, ...["When", "Amount", "Merchant", "Where",
                                                      "Fraud", ""].map((t, i) =>
        el(i === 1 || i === 4 ? "th.number" : "th", { scope: "col" }, t)))), body),
    all);
}

const DONE = { "case claim": "claimed it", "case release": "gave it back", "case wake": "it woke",
               "case snooze": "put it aside", "alert resolve": "resolved it", "case expire": "the lease ran out" };

function audit(history) {
  if (history.length === 0) return null;
  return el("section", {}, el("h3", {}, "What was done"),
    el("ul.audit", {}, ...history.map((h) => {
      const d = h.detail ?? {};
      const more = [d.verdict && `as ${d.verdict}`, d.before && `(before: ${d.before})`,
                    d.note && `“${d.note}”`].filter(Boolean).join(" ");
      return el("li", {}, el("time", { title: fullDate(h.at) }, date(h.at)), " ",
                el("b", {}, h.who), " ", DONE[h.what] ?? h.what, " ", more);
    })));
}

export function show(data, me, act) {
  const a = data.alert;
  pane.replaceChildren(
    headline(a), actions(a, me, act), reasons(data.reasons), payments(data.payments),
    el("section", {}, el("h3", {}, "Facts"),
      el("dl.facts", {}, ...row("Card", a.card), ...row("Transaction", a.tx_id),
        ...row("Time", fullDate(a.event_time)), ...row("Type", a.type),
        ...row("Terminal", a.terminal), ...row("Device", a.device), ...row("Address", a.ip),
        ...row("Amount to usual", a.amount_ratio && `× ${Number(a.amount_ratio).toFixed(1)}`),
        ...row("Threshold then", a.threshold && chance(Number(a.threshold))),
        ...row("Model", a.model), ...row("Alert", a.id), ...row("Note", a.note))),
    audit(data.history) ?? "");
  pane.scrollTop = 0;
}

export function clear(text = "") {
  pane.replaceChildren(el("p.empty", {}, text));
}
