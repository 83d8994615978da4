"use strict";
// Keys, times in the browser's zone, countdowns, and parts of a page that refresh themselves.
const OVERDUE_AFTER_S = 10; // an orchestrator that is alive takes what is due within this time
const ANNOUNCE_AFTER_MS = 300; // a screen reader says only what changes in a region that it knows
let paused = false;
let aheadMs = 0; // how far this clock is ahead of the one that the page's times are from

// htmx notes the page's address when it is loaded, for a history that no page here uses. It may be a search for a person.
sessionStorage.removeItem("htmx-current-path-for-history");

function each(selector, work, root = document) {
  root.querySelectorAll(selector).forEach(work);
}

function showTimes(root = document) {
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  each("time[datetime]:not([data-shown])", (time) => {
    time.dataset.shown = "";
    time.title = time.textContent;
    time.textContent = zone.format(new Date(time.dateTime));
  }, root);
  countDown();
  makeScrollable();
}

// A table that is wider than the screen can be scrolled with the keyboard, too.
function makeScrollable() {
  each(".scroll", (part) => {
    if (part.scrollWidth <= part.clientWidth) return part.removeAttribute("tabindex");
    const heading = part.closest("section")?.querySelector("h2") || document.querySelector("h1");
    part.tabIndex = 0;
    part.setAttribute("role", "region");
    part.setAttribute("aria-label", `${heading ? heading.textContent.trim() : "Table"}, scrolls sideways`);
  });
}

function countDown() {
  each("[data-countdown]", (place) => {
    const seconds = Math.round((new Date(place.dataset.countdown) - (Date.now() - aheadMs)) / 1000);
    if (seconds > 0) place.textContent = `due in ${duration(seconds)}`;
    else if (seconds > -OVERDUE_AFTER_S) place.textContent = "due now";
    else place.textContent = `overdue for ${duration(-seconds)}${place.dataset.overdue ?? ""}`;
  });
}

function duration(seconds) {
  if (seconds <= 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this page only */ }
}

function setPaused(value) {
  paused = value;
  document.body.classList.toggle("paused", paused);
  each("[data-pause]", (button) => {
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Resume" : "Pause";
  });
}

// A part with a `data-live` in it, or on it, refreshes after so many seconds. What has ended has none any more.
function refresh() {
  if (paused || document.hidden || document.querySelector("dialog[open]")) return;
  each("[data-live]", (mark) => {
    const part = mark.closest("[hx-get]");
    const isRead = isInUse(part);
    each("[data-as-of]", (place) => place.classList.toggle("waits", isRead));
    part.dataset.due ??= String(Date.now() + Number(mark.dataset.live) * 1000);
    if (isRead || Date.now() < Number(part.dataset.due)) return;
    delete part.dataset.due;
    htmx.trigger(part, "refresh");
  });
}

// Somebody is in it: with the keyboard, with a selection, or reading details. Drawing it again would throw them out.
function isInUse(part) {
  const selection = getSelection();
  if (part.contains(document.activeElement)) return true;
  if (!selection.isCollapsed && selection.rangeCount && selection.getRangeAt(0).intersectsNode(part)) return true;
  return [...part.querySelectorAll("details[open]")].some((details) => !details.closest("[hx-preserve]"));
}

// Say to a screen reader what a part tells now.
function announce(text) {
  const place = document.getElementById("announcer");
  if (text && place.textContent !== text) place.textContent = text;
}

function announced(part) {
  return part.querySelector("[data-announced]")?.textContent.replace(/\s+/g, " ").trim();
}

// A form that was refused is opened again, with what was typed and with the reason.
function openRefused() {
  const card = document.querySelector("[data-refused]");
  const form = card && [...document.querySelectorAll("dialog form")]
    .find((each) => each.getAttribute("action") === card.dataset.refused && fits(each, card));
  if (!form) return;
  each("input", (typed) => refill(form, typed.name, typed.value), card);
  const told = document.createElement("div");
  told.setAttribute("role", "alert");
  each(":scope > :not(form)", (part) => told.append(part.cloneNode(true)), card);
  form.prepend(told);
  form.closest("dialog").showModal();
  form.dispatchEvent(new Event("input", { bubbles: true })); // a refund's effect is shown
}

// Two forms of a page may have one address, such as that for adding and that for correcting stock.
function fits(form, card) {
  return [...card.querySelectorAll("select, input")].every(({ name, value }) => {
    const field = form.elements[name];
    return field && (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value));
  });
}

function refill(form, name, value) {
  const given = form.elements[name];
  const fields = given instanceof RadioNodeList ? [...given] : [given];
  fields.forEach((field) => {
    if (field.type === "radio" || field.type === "checkbox") field.checked ||= field.value === value;
    else if (field.type !== "hidden") field.value = value;
  });
}

function wire() {
  aheadMs = Date.now() - new Date(document.body.dataset.now);
  each("[data-theme-toggle]", (button) => button.addEventListener("click", toggleTheme));
  each("[data-pause]", (button) => button.addEventListener("click", () => setPaused(!paused)));
  showTimes();
  openRefused();
  setTimeout(() => announce(document.querySelector("[data-notice]")?.textContent), ANNOUNCE_AFTER_MS);
  setInterval(() => { if (!paused && !document.hidden) countDown(); }, 1000);
  setInterval(refresh, 500);
}

// A form that changes something asks once, in a dialog that names the effect. The parts may be drawn again meanwhile.
function onClick(event) {
  const button = event.target.closest("[data-opens], [data-closes]");
  if (button?.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  else if (button) button.closest("dialog").close();
}

function onSubmit(event) {
  if (event.target.method !== "post") return;
  each("button", (button) => setTimeout(() => { button.disabled = true; button.dataset.sent = ""; }), event.target);
}

// Back in a page that the browser has kept, its forms can be sent again: they carry their key.
function onShow() {
  each("button[data-sent]", (button) => { button.disabled = false; delete button.dataset.sent; });
}

// What is typed belongs to a choice, which is then made.
function onInput(event) {
  const { chooses } = event.target.dataset;
  if (chooses && event.target.value.trim()) document.getElementById(chooses).checked = true;
}

let waitsForPage = false;
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (document.querySelector("dialog[open]")) return;
  if (waitsForPage) {
    waitsForPage = false;
    document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  const search = document.getElementById("search");
  if (event.key === "/" && search) { event.preventDefault(); search.focus(); search.select(); }
  else if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "t") toggleTheme();
  else if (event.key === "p") setPaused(!paused);
  else if (event.key === "g") { waitsForPage = true; setTimeout(() => { waitsForPage = false; }, 1500); }
}

document.addEventListener("DOMContentLoaded", wire);
document.addEventListener("click", onClick);
document.addEventListener("submit", onSubmit);
document.addEventListener("input", onInput, true); // before the refund's effect is asked for
window.addEventListener("pageshow", onShow);
document.addEventListener("keydown", onKey);
window.addEventListener("resize", makeScrollable);
document.addEventListener("visibilitychange", refresh);
// The server says with 304 that nothing has changed: then nothing is drawn again. Nor is a part whose dialog was opened
// while the request was under way.
const etags = new Map();
document.addEventListener("htmx:configRequest", (event) => {
  const tag = etags.get(event.detail.path);
  if (tag && event.detail.verb === "get") event.detail.headers["If-None-Match"] = tag;
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 304 || event.target.querySelector("dialog[open]")) event.detail.shouldSwap = false;
  const tag = event.detail.xhr.getResponseHeader("ETag");
  if (tag && event.detail.shouldSwap) etags.set(event.detail.requestConfig.path, tag);
  if (event.detail.xhr.status === 401) location.reload();
});
// Also an answer without a change says how things are now.
document.addEventListener("htmx:afterRequest", (event) => {
  const answered = event.detail.xhr.status;
  if (answered !== 200 && answered !== 304) return;
  each("[data-as-of]", (place) => {
    const now = new Date(event.detail.xhr.getResponseHeader("Date") ?? Date.now());
    const time = document.createElement("time");
    time.dateTime = now.toISOString();
    time.textContent = now.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
    place.replaceChildren("as of ", time);
    showTimes(place);
  });
});
document.addEventListener("htmx:beforeSwap", ({ target }) => { target.dataset.told = announced(target) ?? ""; });
document.addEventListener("htmx:afterSwap", ({ target }) => {
  showTimes(target);
  if (announced(target) !== target.dataset.told) announce(announced(target));
});

// Inputs for a time: the page has them in UTC, people write them in the zone of their browser, and UTC is sent.
function localInput(time) {
  return new Date(time - time.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function wireTimeInputs() {
  each("input[data-local]", (input) => {
    if (input.defaultValue) input.value = localInput(new Date(`${input.defaultValue}Z`));
    each("[data-zone]", (zone) => zone.remove(), input.closest("label"));
  });
}

document.addEventListener("DOMContentLoaded", wireTimeInputs);
document.addEventListener("formdata", (event) => {
  each("input[data-local]", (input) => {
    if (input.value) event.formData.set(input.name, new Date(input.value).toISOString());
  }, event.target);
});
