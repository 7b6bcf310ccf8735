// Reads the page again when the service says that it has changed. Without this script the page is the same, and is read again by hand.
"use strict";
(() => {
  const source = document.body.dataset.live;
  const status = document.getElementById("status");
  if (!source || !window.EventSource) return;
  const LOST_MS = 30_000, AGAIN_MS = 10_000;
  let busy = false, stale = false, silence = 0, lost = false, failed = "", again = 0;
  const say = (text) => { status.textContent = text; };
  const time = () => new Date().toLocaleTimeString();
  const content = () => document.getElementById("content");
  const stream = new EventSource(source);

  // Nothing is put in place under somebody who types, chooses, or marks a text to copy it.
  const used = () => document.activeElement.matches("#content input, #content select") || !document.getSelection().isCollapsed;

  const path = (one) => one.id ? `#${CSS.escape(one.id)}` : one.tagName + ["href", "aria-label"].map((name) =>
    one.hasAttribute(name) ? `[${name}="${CSS.escape(one.getAttribute(name))}"]` : "").join("");
  const twin = (one, old, fresh) => {
    const place = [...old.querySelectorAll(path(one))].indexOf(one);
    return fresh.querySelectorAll(path(one))[place];
  };

  // The fresh content, with what the reader has opened, typed, scrolled to and focused in the old one.
  const put = (fresh) => {
    const old = content(), focused = document.activeElement;
    const focus = old !== focused && old.contains(focused) ? twin(focused, old, fresh) : null;
    const scrolled = [...old.querySelectorAll(".scroll")].map((one) => [twin(one, old, fresh), one.scrollLeft, one.scrollTop]);
    for (const one of old.querySelectorAll("details[open] > summary")) twin(one, old, fresh)?.parentElement.setAttribute("open", "");
    for (const one of old.querySelectorAll("input:not([type=hidden]), select")) {
      const same = twin(one, old, fresh);
      const changed = one.tagName === "SELECT" ? one.selectedOptions[0] && !one.selectedOptions[0].defaultSelected : one.value !== one.defaultValue;
      if (same && changed) same.value = one.value;
    }
    old.replaceWith(fresh);
    for (const [one, left, top] of scrolled) one?.scrollTo({ left, top, behavior: "instant" });
    focus?.focus({ preventScroll: true });
  };

  // The event that told of the change does not come again, so the page is asked for again, unless the service refuses it for good.
  const fail = (why, retry) => {
    failed ||= time();
    say(`Not updated since ${failed}: the service ${why}.`);
    clearTimeout(again);
    if (retry) again = setTimeout(read, AGAIN_MS);
  };

  const read = async () => {
    if (busy) { stale = true; return; }
    if (used()) { stale = true; say("Something has changed. It is shown when no field and no marked text is in use."); return; }
    busy = true;
    stale = false;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
      if (answer.redirected || answer.status === 401) { stream.close(); say("Not live any more: the session has ended. Load the page again to sign in."); return; }
      if (!answer.ok) { fail(`answers ${answer.status}`, answer.status === 429 || answer.status >= 500); return; }
      failed = "";
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("content");
      if (used()) { stale = true; return; }
      // A plan that somebody reads is not exchanged for another one under the button that carries it out.
      if (content().querySelector("#confirm")) {
        if (content().textContent !== fresh.textContent) say("This plan has changed. Load the page again before you decide.");
        return;
      }
      put(fresh);
      say(`Updated at ${time()}`);
    } catch {
      fail("does not answer", true);
    } finally {
      busy = false;
      if (stale && !used()) read();
    }
  };
  const later = () => setTimeout(() => { if (stale && !busy && !used()) read(); });

  stream.addEventListener("changed", read);
  stream.addEventListener("open", () => {
    clearTimeout(silence);
    silence = 0;
    if (lost) { lost = false; say(`Live again since ${time()}`); }
  });
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) say("Not live: the service refuses to tell of changes. Load the page again, or close other pages.");
    else silence ||= setTimeout((since) => { lost = true; say(`Not live since ${since}: the service does not answer.`); }, LOST_MS, time());
  });
  document.addEventListener("focusout", later);
  document.addEventListener("selectionchange", later);
})();
