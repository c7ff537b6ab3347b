// Elements and texts.  Whatever comes from outside becomes a text node or an attribute that is no
// address and no script; nothing is ever parsed as markup.

export const $ = (id) => document.getElementById(id);

// el("p.note", {title: "..", on: {click: f}}, "text", child, ..): null children are left out.
export function el(what, props = {}, ...children) {
  return build(document.createElement(what.split(".")[0]), what, props, children);
}

export function svg(what, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", what.split(".")[0]);
  return build(node, what, props, children);
}

function build(node, what, props, children) {
  const classes = what.split(".").slice(1).join(" ");
  if (classes) node.setAttribute("class", classes);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const COUNT = new Intl.NumberFormat("en");
const MONEY = new Intl.NumberFormat("en", { maximumFractionDigits: 2, minimumFractionDigits: 2 });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => COUNT.format(n);
export const money = (v) => (Math.abs(v) < 100 ? MONEY : WHOLE).format(v);

// "1234.50 EUR" of the database with groups of thousands, digits untouched otherwise.
export function amount(text) {
  const [number, currency] = text.split(" ");
  const [whole, part] = number.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return grouped + (part ? "." + part : "") + (currency ? "\u00a0" + currency : "");
}

export function percent(p, digits = 0) {
  if (p === null || p === undefined) return "–";
  return (100 * p).toFixed(digits) + "\u00a0%";
}

// A probability: what is near 0 or 1 does not become 0 % or 100 %.
export function chance(p) {
  if (p === null || p === undefined) return "–";
  if (p < 0.001) return "<\u200a0.1\u00a0%";
  if (p > 0.999) return ">\u200a99.9\u00a0%";
  return percent(p, p < 0.1 || p > 0.95 ? 1 : 0);
}

const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit",
                                                minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short",
                                                year: "numeric", hour: "2-digit",
                                                minute: "2-digit", second: "2-digit" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const date = (t) => DATE.format(new Date(t));
export const day = (t) => DAY.format(new Date(t));
export const fullDate = (t) => FULL.format(new Date(t));
export const clock = (t) => CLOCK.format(new Date(t));

export function ago(t, now = Date.now()) {
  const s = (now - new Date(t)) / 1000;
  const sign = s < -60 ? "in " : "";
  const a = Math.abs(s);
  if (a < 60) return "now";
  if (a < 3600) return sign + Math.floor(a / 60) + " min";
  if (a < 86400) return sign + Math.floor(a / 3600) + " h";
  return sign + Math.floor(a / 86400) + " d";
}
