"use strict";
/* What the page does more where scripts run: it changes by itself. The server has made all that is shown; this asks for
   the same page again, and puts what is new of it in place. Lines of a log come by Server-Sent Events. */

const SOON = 2000; // milliseconds between two looks while something is under way
const SELDOM = 15000; // and while nothing is
const SHARE = 20; // a look that takes long is followed by a pause so many times as long
const LINES = 2000; // of a log that are kept

const pulse = document.getElementById("pulse");
const news = document.getElementById("news");
const log = document.getElementById("log");

/* As page/text.py has it. */
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;
const HIDDEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g;
const clean = (text) =>
  text.replace(ESCAPES, "").replace(HIDDEN, (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"));
const shownLine = (text) => clean(text.replace(/\r+$/, "").replace(/^[^]*\r/, ""));

function age(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(since)) / 1000));
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60]]) {
    if (seconds >= 2 * length) return Math.floor(seconds / length) + unit;
  }
  return seconds + "s";
}

/* Make what is there into what is new, touching no more than what differs: the focus and a selection stay. */
function become(old, next) {
  if (old.isEqualNode(next)) return;
  const same = old.nodeType === Node.ELEMENT_NODE && old.nodeName === next.nodeName && old.id === next.id;
  if (!same || old.childNodes.length !== next.childNodes.length) {
    old.replaceWith(document.importNode(next, true));
    return;
  }
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) old.setAttribute(name, value);
  const pairs = [...old.childNodes].map((child, index) => [child, next.childNodes[index]]);
  for (const [child, other] of pairs) become(child, other);
}

const states = () =>
  new Map([...document.querySelectorAll("[data-state]")].map((each) => [each.id, each.dataset.state]));

function tell(before) {
  const changed = [...states()].filter(([id, state]) => before.get(id) !== state);
  const words = changed.map(([id, state]) => id.replace(/^[a-z]+-/, "") + ": " + state);
  if (words.length) news.textContent = words.slice(0, 3).join(", ");
}

function place(next) {
  const before = states();
  const held = document.activeElement && document.activeElement.getAttribute("href");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = next.getElementById(part.id);
    if (other) become(part, other);
  }
  if (held && document.activeElement === document.body) {
    const link = document.querySelector(`main a[href="${CSS.escape(held)}"]`);
    if (link) link.focus({ preventScroll: true });
  }
  document.title = next.title;
  tell(before);
}

function say(word, isWell) {
  pulse.hidden = false;
  pulse.className = isWell ? "well" : "unwell";
  if (pulse.textContent !== word) pulse.textContent = word;
}

async function look() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) throw new Error(String(answer.status));
  place(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

let waiting;
async function watch() {
  clearTimeout(waiting);
  const began = performance.now();
  let pause = document.querySelector(".state.busy") ? SOON : SELDOM;
  if (!document.hidden) {
    try {
      await look();
      say("Live", true);
      pause = document.querySelector(".state.busy") ? SOON : SELDOM;
    } catch {
      say("Not connected", false);
      pause = 2 * SOON;
    }
  }
  clearTimeout(waiting);
  waiting = setTimeout(watch, Math.max(pause, SHARE * (performance.now() - began)));
}

function follow() {
  const events = new EventSource(log.dataset.events);
  const add = (text, kind) => {
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const line = document.createElement("div");
    line.textContent = text;
    line.className = kind;
    log.append(line);
    while (log.childElementCount > LINES) log.firstElementChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  };
  events.addEventListener("log", (event) => add(shownLine(JSON.parse(event.data).line), ""));
  events.addEventListener("gap", (event) => add(clean(JSON.parse(event.data).message), "gap"));
  events.addEventListener("build", watch);
  events.addEventListener("end", () => {
    events.close();
    watch();
  });
}

document.documentElement.classList.add("scripted");
if (pulse) {
  say("Live", true);
  waiting = setTimeout(watch, SOON);
  document.addEventListener("visibilitychange", () => document.hidden || watch());
  setInterval(() => {
    for (const each of document.querySelectorAll("time")) {
      const now = age(each.dateTime);
      if (each.textContent !== now) each.textContent = now;
    }
  }, 1000);
}
if (log) {
  log.scrollTop = log.scrollHeight;
  if (log.dataset.events) follow();
}
if (navigator.clipboard) {
  document.documentElement.classList.add("copies");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    if (news) news.textContent = "Copied";
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  });
}
