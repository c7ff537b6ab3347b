// The page: login, the day's figures, keys, and what verdicts do.
import * as api from "./api.js";
import * as detail from "./detail.js";
import { $, chance, count, el, fullDate, money, percent } from "./dom.js";
import * as queue from "./queue.js";

const KEYS = [["j  k", "next, previous alert (also arrows)"], ["c", "claim this alert"],
              ["n", "claim the most urgent open one"], ["f", "fraud"], ["l", "legitimate"],
              ["u", "unsure"], ["r", "give it back"], ["m", "write a note"],
              ["z", "back to the latest one I resolved"],
              ["1 – 4", "open, mine, all claimed, resolved"], ["/", "find a card or transaction"],
              ["Esc", "leave a field"], ["?", "this help"]];
const REFRESH_MS = 20000;

let me = null;
let shown = null;    // what the pane shows
let wanted = null;   // the alert that is being fetched
let latest = null;   // the alert that was resolved last
let busy = false;    // a change is under way

function toast(text, kind = "") {
  const node = el(`p.toast${kind && "." + kind}`, {}, text);
  $("toasts").append(node);
  setTimeout(() => node.remove(), kind === "bad" ? 7000 : 4000);
}

const report = (e) => { if (e.status !== 401) toast(e.message, "bad"); };

async function open(id) {
  wanted = id;
  if (id === null) {
    shown = null;
    detail.clear(queue.current() === null ? "Nothing selected." : "");
    return;
  }
  const data = await api.get("alert", { id });
  if (wanted !== id) return;
  shown = data.alert;
  detail.show(data, me, act);
  queue.update(listed(data.alert));
}

// What a row of the list shows of an alert.
const listed = ({ id, state, claimed_by, due, verdict, resolved_by }) =>
  ({ id, state, claimed_by, due, verdict, resolved_by });

// Keys held down pass many alerts: only the one that is rested on is fetched.
let resting = 0;
queue.whenSelected((a) => {
  clearTimeout(resting);
  wanted = a?.id ?? null;
  resting = setTimeout(() => open(a?.id ?? null).catch(report), 60);
});

function figure(name, value, title) {
  return el("div", { title }, el("dt", {}, name), el("dd", {}, ...[value].flat()));
}

async function showToday() {
  const { budget, today: t, models } = await api.get("today");
  const judged = t.fraud + t.legitimate;
  const week = t.week_fraud + t.week_legitimate;
  const champion = models.find((m) => m.state === "champion");
  const others = models.filter((m) => m !== champion && m.alerts > 0);
  $("count-open").textContent = count(t.open);
  $("count-claimed").textContent = count(t.claimed);
  $("count-resolved").textContent = count(judged + t.unsure);
  $("today").replaceChildren(
    figure("Alerts today", [`${count(t.alerts)} of ${count(budget)}`,
      el("meter", { min: 0, max: Math.max(budget, 1), value: t.alerts, high: budget,
                    "aria-label": "alerts of the day's budget" })],
      `${t.alerts} alerts of a budget of ${budget} since ${fullDate(t.day)}; ${t.declined} declined besides`),
    figure("Precision", judged > 0 ? percent(t.fraud / judged) : week > 0 ?
      percent(t.week_fraud / week) : "–",
      `frauds among verdicts: today ${t.fraud} of ${judged}, seven days ${t.week_fraud} of ${week}`),
    figure("Fraud found", money(Number(t.value)), "value of today's frauds, in the reference currency"),
    figure("Model", [champion?.version ?? "none is champion",
                     others.length > 0 ? el("small", {}, ` +${others.length}`) : ""],
      [champion && `champion since ${champion.promoted ? fullDate(champion.promoted) : "?"}` +
         (champion.ap !== null ? `, average precision ${chance(champion.ap)}` : ""),
       ...others.map((m) => `${m.version}: ${m.alerts} alerts today`)].filter(Boolean).join("\n")));
}

async function showList(name, find = "") {
  for (const b of $("tabs").children) {
    b.setAttribute("aria-current", b.dataset.list === name ? "page" : "false");
  }
  if (name !== "find") $("find").value = "";
  await queue.load(name, find);
}

async function afterChange(id) {
  await Promise.all([wanted === id ? open(id) : null, showToday()]);
}

async function claim(id) {
  await api.post("claim", { id });
  queue.update({ id, state: "claimed", claimed_by: me.who });
  await afterChange(id);
}

async function claimNext() {
  const { alerts } = await api.post("claim");
  if (alerts.length === 0) {
    toast("No alert is open.");
    return;
  }
  await showList("mine");
  wanted = alerts[0].id;
  await Promise.all([open(wanted), showToday()]);
}

async function release(id) {
  await api.post("release", { id });
  queue.update({ id, state: "open", claimed_by: null });
  await afterChange(id);
}

function confirmed(a, verdict) {
  $("confirm-text").textContent = `${a.resolved_by} said ${a.verdict}. It becomes ${verdict}.`;
  $("confirm").returnValue = "no";
  $("confirm").showModal();
  return new Promise((done) => $("confirm").addEventListener("close", () =>
    done($("confirm").returnValue === "yes"), { once: true }));
}

async function resolve(a, verdict) {
  const change = a.state === "resolved";
  if (!change && a.claimed_by !== me.who) {
    toast(a.state === "open" ? "Claim it first: c." : `${a.claimed_by} works on it.`, "bad");
    return;
  }
  if (change && (a.verdict === verdict || !await confirmed(a, verdict))) return;
  const note = $("note")?.value ?? "";
  await api.post("resolve", { id: a.id, verdict, note, change: change ? "yes" : "no" });
  latest = a.id;
  queue.update({ id: a.id, state: "resolved", verdict, claimed_by: null, resolved_by: me.who });
  toast(`${verdict === "fraud" ? "Fraud" : verdict === "legitimate" ? "Legitimate" : "Unsure"}. z goes back to it.`,
        verdict);
  if (!change && queue.current()?.id === a.id) {
    queue.next();
    await showToday();
  } else {
    await afterChange(a.id);
  }
}

async function act(what) {
  const a = shown;
  if (a === null || busy || me.role !== "analyst" || wanted !== a.id) return;
  busy = true;
  try {
    if (what === "claim") await claim(a.id);
    else if (what === "release") await release(a.id);
    else await resolve(a, what);
  } catch (e) {
    report(e);
    await open(a.id).catch(report); // somebody else was faster: show how it is
  } finally {
    busy = false;
  }
}

function askLogin() {
  me = null;
  document.body.classList.remove("in");
  detail.clear();
  if (!$("login").open) $("login").showModal();
  $("token").focus();
}

async function begin(session) {
  me = session;
  $("who").textContent = me.role === "viewer" ? `${me.who} (viewer)` : me.who;
  $("who").title = `until ${fullDate(me.until)}`;
  document.body.classList.add("in");
  $("login").close();
  await Promise.all([showList("open"), showToday()]);
  $("list").focus();
}

$("login").addEventListener("cancel", (e) => e.preventDefault());
$("login-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  $("login-error").textContent = "";
  try {
    const session = await api.login($("token").value.trim());
    $("token").value = "";
    await begin(session);
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});
$("logout").addEventListener("click", () => api.post("logout").then(askLogin, report));
$("help-button").addEventListener("click", () => $("help").showModal());
$("keys").append(...KEYS.flatMap(([key, text]) =>
  [el("dt", {}, ...key.split("  ").map((k) => el("kbd", {}, k))), el("dd", {}, text)]));
$("tabs").addEventListener("click", (e) => {
  const b = e.target.closest("button");
  if (b) showList(b.dataset.list).catch(report);
});
$("search").addEventListener("submit", (e) => {
  e.preventDefault();
  const text = $("find").value.trim();
  showList(text ? "find" : "open", text).then(() => $("list").focus(), report);
});

const LISTS = { 1: "open", 2: "mine", 3: "claimed", 4: "resolved" };
const ACTS = { c: "claim", f: "fraud", l: "legitimate", u: "unsure", r: "release" };

function onKey(key) {
  if (key === "j" || key === "ArrowDown") queue.move(1);
  else if (key === "k" || key === "ArrowUp") queue.move(-1);
  else if (key === "PageDown") queue.move(10);
  else if (key === "PageUp") queue.move(-10);
  else if (key === "?") $("help").showModal();
  else if (key === "/") $("find").focus();
  else if (key === "m") $("note")?.focus();
  else if (key === "n") claimNext().catch(report);
  else if (key === "z") { if (latest !== null) open(latest).catch(report); }
  else if (LISTS[key]) showList(LISTS[key]).catch(report);
  else if (ACTS[key]) act(ACTS[key]);
  else return false;
  return true;
}

document.addEventListener("keydown", (e) => {
  if (me === null || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
  if (e.target.closest("input")) {
    if (e.key === "Escape") e.target.blur();
    return;
  }
  if (e.repeat && !["j", "k", "ArrowDown", "ArrowUp"].includes(e.key)) return;
  if (onKey(e.key)) e.preventDefault();
});

setInterval(() => {
  if (me === null || document.hidden || busy) return;
  Promise.all([showToday(), queue.refresh()]).catch(report);
}, REFRESH_MS);

api.whenLoginNeeded(askLogin);
api.session().then(begin, (e) => { if (e.status !== 401) toast(e.message, "bad"); });
