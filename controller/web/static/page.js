// The page's only script: keeps [data-live] parts fresh, draws figures, runs actions, shows relative times.
// The server renders everything; a refresh fetches the same address again and swaps the parts that changed, so no
// part of the page is described twice.

const status = document.getElementById("link-state");
const toast = document.getElementById("toast");
const dialog = document.getElementById("confirm");

function setLink(state, text) {
  if (!status || status.dataset.state === state) return;
  status.dataset.state = state;
  status.textContent = text;
}

// ---- refresh -------------------------------------------------------------------------------------------------

const rendered = new Map(); // id -> the HTML as the server sent it, before times and figures are filled in
for (const part of document.querySelectorAll("[data-live]")) rendered.set(part.id, content(part));

// A part whose figures alone have news is not replaced: the figures stay and are drawn anew.
function content(part) {
  return part.innerHTML.replaceAll(/ data-key="[^"]*"/g, "");
}

const RETRY_MILLISECONDS = 3000;
let refreshing = false;
let wanted = false;
let ended = false; // the experiment has, so there is no more news

async function refresh() {
  if (refreshing) {
    wanted = true;
    return;
  }
  refreshing = true;
  try {
    const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (reply.redirected && new URL(reply.url).pathname === "/sign-in") {
      location.assign(reply.url);
      return;
    }
    if (reply.status === 404) {
      ended = true;
      setLink("deleted", "deleted");
      return;
    }
    if (!reply.ok) throw new Error(`HTTP ${reply.status}`);
    swap(new DOMParser().parseFromString(await reply.text(), "text/html"));
    drawFigures();
    setLink(ended ? "ended" : "live", ended ? "ended" : "live");
  } catch {
    setLink("lost", "connection lost, trying again");
    setTimeout(() => document.hidden || soon(), RETRY_MILLISECONDS);
  } finally {
    refreshing = false;
    if (wanted) {
      wanted = false;
      soon();
    }
  }
}

function swap(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (!next || rendered.get(part.id) === content(next)) continue;
    if (part.contains(document.getSelection()?.anchorNode) && !document.getSelection().isCollapsed) continue;
    rendered.set(part.id, content(next));
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const scrolled = [...part.querySelectorAll("[data-keep-scroll]")].map((box) => [box.scrollTop, box.scrollLeft]);
    const picks = new Map([...part.querySelectorAll("input[type=checkbox]")].map((box) => [box.id, box.checked]));
    part.replaceChildren(...next.childNodes);
    for (const box of part.querySelectorAll("input[type=checkbox]")) box.checked = picks.get(box.id) ?? box.checked;
    part.querySelectorAll("[data-keep-scroll]").forEach((box, number) => {
      [box.scrollTop, box.scrollLeft] = scrolled[number] ?? [0, 0];
    });
    if (focused) document.getElementById(focused)?.focus();
  }
  for (const figure of document.querySelectorAll("[data-figure]")) {
    const next = fresh.getElementById(figure.id);
    if (next) figure.dataset.key = next.dataset.key;
  }
  tellTimes();
}

let timer;
function soon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, 400);
}

const live = document.querySelector("main").dataset;
let source;

// Only while the page is seen: a browser has six connections to a server for all its tabs, and a stream takes one.
function listen() {
  source?.close();
  if (!live.events || ended || document.hidden) return;
  source = new EventSource(live.events);
  source.onopen = () => {
    setLink("live", "live");
    soon();
  };
  source.onerror = () => {
    setLink("lost", "connection lost, trying again");
    // After a refusal, of a proxy without a controller for instance, a browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MILLISECONDS);
  };
  source.onmessage = soon;
  source.addEventListener("progress", soon);
  source.addEventListener("end", () => {
    source.close();
    ended = true;
    setLink("ended", "ended");
    soon();
  });
}

listen();
if (live.pollSeconds) {
  setLink("live", "live");
  setInterval(() => document.hidden || refresh(), 1000 * Number(live.pollSeconds));
}
document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden) soon();
});

// ---- figures -------------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = new WeakMap(); // element -> text of the figure that it shows
const asked = new WeakMap(); // element -> address and key of that figure: with the same ones it is not asked for again
const drawing = new WeakSet(); // elements whose figure is on its way
const outdated = new WeakSet(); // those that were asked for again meanwhile

function drawFigures() {
  if (!window.Plotly) return;
  for (const box of document.querySelectorAll("[data-figure]")) {
    if (drawing.has(box)) {
      outdated.add(box);
      continue;
    }
    drawing.add(box);
    drawFigure(box)
      .catch(() => {}) // the refresh itself tells of a lost connection
      .finally(() => {
        drawing.delete(box);
        if (outdated.delete(box)) drawFigures();
      });
  }
}

async function drawFigure(box) {
  const address = new URL(box.dataset.figure, location.href);
  address.searchParams.set("theme", dark.matches ? "dark" : "light");
  if (box.dataset.columnWidth) {
    const columns = Math.floor(box.clientWidth / Number(box.dataset.columnWidth));
    address.searchParams.set("columns", String(Math.min(5, Math.max(1, columns))));
  }
  const question = `${address} ${box.dataset.key}`;
  if (asked.get(box) === question) return;
  const reply = await fetch(address);
  if (reply.status === 404) showEmpty(box, "There is nothing to draw yet.");
  if (!reply.ok) return;
  asked.set(box, question);
  const text = await reply.text();
  if (drawn.get(box) === text) return;
  drawn.set(box, text);
  const figure = JSON.parse(text);
  if (box.classList.contains("empty")) {
    box.classList.remove("empty");
    box.textContent = "";
  }
  const options = { displayModeBar: false, responsive: true };
  await window.Plotly.react(box, figure.data, { ...figure.layout, uirevision: "kept" }, options);
  if (!box.dataset.clickable) {
    box.dataset.clickable = "yes";
    box.on("plotly_click", (event) => {
      const trial = event.points[0]?.customdata;
      if (trial) location.assign(`/trials/${encodeURIComponent(trial)}`);
    });
  }
}

function showEmpty(box, text) {
  if (drawn.has(box)) return;
  box.textContent = text;
  box.classList.add("empty");
}

dark.addEventListener("change", drawFigures);
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(drawFigures, 250);
});

// ---- times ---------------------------------------------------------------------------------------------------

const STEPS = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86400, 3600, "hour"],
  [86400 * 30, 86400, "day"],
  [86400 * 365, 86400 * 30, "month"],
  [Infinity, 86400 * 365, "year"],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

function tellTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const seconds = (moment - Date.now()) / 1000;
    const [, size, unit] = STEPS.find(([limit]) => Math.abs(seconds) < limit);
    const count = Math.round(seconds / size);
    time.textContent = Math.abs(seconds) < 5 ? "now" : relative.format(count, unit);
    time.title = moment.toLocaleString();
  }
}

// ---- actions -------------------------------------------------------------------------------------------------

let toastTimer;
function say(text) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.hidden = true), 8000);
}

function confirmed(button) {
  if (!button.dataset.confirm) return Promise.resolve(true);
  dialog.querySelector("h2").textContent = `${button.textContent.trim()}?`;
  dialog.querySelector("p").textContent = button.dataset.confirm;
  const yes = dialog.querySelector("[value=yes]");
  yes.textContent = button.textContent.trim();
  yes.className = button.classList.contains("danger") ? "danger" : "primary";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button || !(await confirmed(button))) return;
  button.disabled = true;
  try {
    const reply = await fetch(button.dataset.action, { method: button.dataset.method ?? "POST" });
    if (!reply.ok) say((await reply.json()).detail);
    else if (button.dataset.then) location.assign(button.dataset.then);
  } catch {
    say("The controller did not answer. What has become of this shows here once it does.");
  } finally {
    button.disabled = false;
    soon();
  }
});

// ---- one-time sign-in ----------------------------------------------------------------------------------------
// The code travels in the fragment, which no server log and no Referer header ever sees.

const code = document.getElementById("code");
const fragment = new URLSearchParams(location.hash.slice(1));
if (code && fragment.has("code")) {
  code.value = fragment.get("code");
  history.replaceState(null, "", location.pathname + location.search);
  code.form.submit();
}

tellTimes();
setInterval(tellTimes, 5000);
drawFigures();
document.getElementById("plotly")?.addEventListener("load", drawFigures); // it is large, and nothing else waits for it
