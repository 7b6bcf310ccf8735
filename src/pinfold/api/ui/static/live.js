// Reads the page again when the service says that it has changed. Without this script the page is the same, and is read again by hand.
"use strict";
const source = document.body.dataset.live;
if (source && window.EventSource) {
  let busy = false;
  new EventSource(source).addEventListener("changed", async () => {
    const typing = document.activeElement && document.activeElement.matches("input");
    if (busy || typing) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = document.activeElement && document.activeElement.id;
      document.getElementById("content").replaceWith(fresh.getElementById("content"));
      const again = focused && document.getElementById(focused);
      if (again) again.focus();
      document.getElementById("status").textContent = "Updated at " + new Date().toLocaleTimeString();
    } finally {
      busy = false;
    }
  });
}
