// The page of the local service. Foreign text becomes text nodes, never markup.

const MOST_EVENTS = 10000; // as many as the service lists
const ROW = 28; // pixels, as page.css has it
const MOST_SHOWN = 20000; // characters of a view: laying out a mebibyte takes seconds
const SPARE = 6; // rows outside of what is visible

const $ = (id) => document.getElementById(id);
const list = $("list");

let epoch = null;
let events = []; // oldest first
let shown = []; // events that pass the filter
let arrived = []; // not in `events` yet: while paused, or until the next frame
let chosen = null; // the event in the side panel
let whole = null; // everything that the service knows about it
let matching = new Set(); // numbers of events that the pattern matches
let compared = 0;
let comparedTo = 0; // number of the last event that the pattern was tested against
let patternIsGood = false;
let isPaused = false;
let frame = 0;

// ---------------------------------------------------------------- calls

async function call(name, document) {
  const asked = document === undefined
    ? {}
    : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) };
  const answer = await fetch(`/_control/${name}`, asked);
  const found = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(found.message), { answer: found });
  return found;
}

function say(where, text, isError = false) {
  where.textContent = text;
  where.classList.toggle("error", isError);
}

async function attempt(where, text, action) {
  try {
    await action();
    say(where, text);
  } catch (error) {
    say(where, error.message, true);
  }
}

// ---------------------------------------------------------------- the stream

function listen() {
  const stream = new EventSource("/_control/stream");
  stream.addEventListener("hello", (message) => {
    const hello = JSON.parse(message.data);
    say($("connection"), "live");
    $("connection").classList.remove("lost");
    $("region").textContent = hello.region;
    if (hello.epoch !== epoch) {
      epoch = hello.epoch;
      reset();
    }
  });
  stream.addEventListener("events", (message) => {
    const told = JSON.parse(message.data);
    showCounters(told.counters);
    for (const event of told.events) arrived.push(event);
    if (arrived.length > MOST_EVENTS) arrived.splice(0, arrived.length - MOST_EVENTS);
    soon();
  });
  stream.addEventListener("state", (message) => {
    const state = JSON.parse(message.data);
    showSources(state.sources);
    showFaults(state);
  });
  stream.addEventListener("error", () => {
    say($("connection"), "connection lost; reconnecting…");
    $("connection").classList.add("lost");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

function reset() {
  events = [];
  shown = [];
  arrived = [];
  matching = new Set();
  compared = comparedTo = 0;
  choose(null);
  list.scrollTop = 0;
  soon();
  comparePattern();
}

function soon() {
  if (!frame) frame = requestAnimationFrame(draw);
}

function takeArrived() {
  if (isPaused || !arrived.length) return;
  const wasAtTop = list.scrollTop < ROW;
  let added = 0;
  for (const event of arrived) {
    events.push(event);
    if (passes(event)) {
      shown.push(event);
      added += 1;
    }
  }
  arrived = [];
  if (events.length > MOST_EVENTS) {
    events.splice(0, events.length - MOST_EVENTS);
    const oldest = events[0].id;
    let gone = 0;
    while (gone < shown.length && shown[gone].id < oldest) gone += 1;
    shown.splice(0, gone);
  }
  if (!wasAtTop) {
    sizeSpace();
    list.scrollTop += added * ROW; // keep the visible rows in place
  }
  compareSoon();
}

// ---------------------------------------------------------------- the list

const rows = [];

function newRow() {
  const row = document.createElement("div");
  row.className = "row";
  row.setAttribute("role", "option");
  for (const name of ["time", "outcome", "type", "source", "code", "request"]) {
    const cell = document.createElement("span");
    cell.className = name;
    row.append(cell);
  }
  row.addEventListener("click", () => choose(row.event));
  list.append(row);
  return row;
}

function sizeSpace() {
  $("space").style.height = `${shown.length * ROW}px`;
}

function draw() {
  frame = 0;
  takeArrived();
  sizeSpace();
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const wanted = Math.min(shown.length - first, Math.ceil(list.clientHeight / ROW) + 2 * SPARE);
  for (let place = 0; place < Math.max(wanted, rows.length); place += 1) {
    if (place >= rows.length) rows.push(newRow());
    const row = rows[place];
    row.hidden = place >= wanted;
    if (place < wanted) fill(row, first + place);
  }
  list.setAttribute("aria-activedescendant", chosen ? `event-${chosen.id}` : "");
  $("nothing").hidden = shown.length > 0;
  const waiting = isPaused && arrived.length ? `, ${arrived.length.toLocaleString()} waiting` : "";
  $("shown").textContent =
    `${shown.length.toLocaleString()} of ${events.length.toLocaleString()}${waiting}`;
}

function fill(row, place) {
  const event = shown[shown.length - 1 - place];
  row.style.top = `${place * ROW}px`;
  row.setAttribute("aria-selected", String(chosen !== null && chosen.id === event.id));
  row.classList.toggle("match", matching.has(event.id));
  if (row.event === event) return;
  row.event = event;
  row.id = `event-${event.id}`;
  const [time, outcome, type, source, code, request] = row.children;
  time.textContent = clock(event.received_at);
  outcome.textContent = event.outcome;
  outcome.className = `outcome ${event.outcome}`;
  type.textContent = event.detail_type ?? "—";
  source.textContent = event.source?.replace(/^aws\.partner\/[^/]+\//, "") ?? "—";
  code.textContent = event.code ?? "";
  request.textContent = `#${event.request}`;
}

function clock(seconds) {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? "—" : time.toISOString().slice(11, 19);
}

function step(by) {
  if (!shown.length) return;
  const at = chosen ? shown.findLastIndex((event) => event.id === chosen.id) : -1;
  const place = at < 0 ? 0 : Math.min(Math.max(shown.length - 1 - at + by, 0), shown.length - 1);
  choose(shown[shown.length - 1 - place]);
  const top = place * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}

list.addEventListener("scroll", soon);
list.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const steps = {
    ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length,
  };
  if (event.key in steps) {
    event.preventDefault();
    step(steps[event.key]);
  } else if (event.key === "Escape") {
    choose(null);
  }
});
addEventListener("resize", soon);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
    event.preventDefault();
    $("text").focus();
  }
});

// ---------------------------------------------------------------- the filter

const FILTERS = ["text", "source", "outcome", "code", "rule"];
let filter = {};

function passes(event) {
  if (filter.outcome && event.outcome !== filter.outcome) return false;
  if (filter.source && !(event.source ?? "").toLowerCase().includes(filter.source)) return false;
  if (filter.code && !(event.code ?? "").toLowerCase().includes(filter.code)) return false;
  if (filter.rule && (matching.has(event.id) !== (filter.rule === "match") || !isSeen(event))) return false;
  if (!filter.text) return true;
  event.searched ??= [event.detail_type, event.source, event.event_id, event.code, event.detail]
    .join("\n").toLowerCase();
  return event.searched.includes(filter.text);
}

function isSeen(event) {
  return event.outcome === "accepted" || event.outcome === "dropped"; // else no rule sees it
}

function applyFilter() {
  filter = Object.fromEntries(
    FILTERS.map((name) => [name, name === "outcome" ? $(name).value : $(name).value.toLowerCase()]),
  );
  shown = events.filter(passes);
  list.scrollTop = 0;
  soon();
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of [...FILTERS, "pattern"]) $(name).value = given.get(name) ?? "";
  applyFilter();
  comparePattern(true);
}

function writeAddress() {
  const given = new URLSearchParams();
  for (const name of [...FILTERS, "pattern"]) if ($(name).value) given.set(name, $(name).value);
  history.replaceState(null, "", `#${given}`);
}

$("filters").addEventListener("input", () => {
  writeAddress();
  applyFilter();
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("source").addEventListener("focus", () => {
  const seen = new Set(events.map((event) => event.source));
  $("sources-seen").replaceChildren(
    ...[...seen].filter(Boolean).sort().slice(0, 200).map((name) => {
      const option = document.createElement("option");
      option.value = name;
      return option;
    }),
  );
});
addEventListener("hashchange", readAddress);

// ---------------------------------------------------------------- one event

let view = "customer";
let viewText = "";

async function choose(event) {
  chosen = event;
  whole = null;
  soon();
  $("choose").hidden = event !== null;
  $("chosen").hidden = event === null;
  say($("done"), "");
  explain();
  if (event === null) return;
  openPanel("event", false);
  $("event-title").textContent = event.detail_type ?? "request that could not be read";
  $("event-line").textContent = [event.outcome, event.code, event.source].filter(Boolean).join(" · ");
  $("view").textContent = "…";
  try {
    const found = await call(`events?after=${event.id - 1}&limit=1`);
    if (chosen !== event) return;
    if (found.events[0]?.id !== event.id) throw new Error("The service has forgotten this event.");
    [whole] = found.events;
    if (whole.dropped_for.length) {
      $("event-line").textContent += ` · dropped: PENDING in account ${whole.dropped_for.join(", ")}`;
    }
    showView();
  } catch (error) {
    if (chosen === event) $("view").textContent = error.message;
  }
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function showView() {
  if (!whole) return;
  const entry = whole.entry_as_sent;
  const texts = {
    customer: () => whole.customer_event
      ? pretty(whole.customer_event)
      : `No rule sees this event: it was ${whole.outcome}.\n${whole.code ?? ""} ${whole.message ?? ""}`,
    entry: () => (entry ? pretty(entry) : "The entries of this request could not be read."),
    request: () => pretty({ number: whole.request, entry: whole.entry, ...whole.sent_in }),
  };
  viewText = texts[view]();
  const more = viewText.length - MOST_SHOWN;
  $("view").textContent = more > 0
    ? `${viewText.slice(0, MOST_SHOWN)}\n… and ${more.toLocaleString()} more characters: copy the JSON to see them`
    : viewText;
  $("copy-aws").disabled = $("copy-pytest").disabled = !whole.customer_event;
  $("resend").disabled = !entry;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say($("done"), "copied");
  } catch {
    getSelection().selectAllChildren($("view"));
    say($("done"), "The browser does not allow copying; the text is selected instead.", true);
  }
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  const members = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${python(inner)}`);
  return `{${members.join(", ")}}`;
}

$("copy-json").addEventListener("click", () => copy(viewText));
$("copy-aws").addEventListener("click", () => {
  const pattern = $("pattern").value || '{"source": [{"prefix": "aws.partner/"}]}';
  const event = quoted(JSON.stringify(whole.customer_event));
  copy(`aws events test-event-pattern --event-pattern ${quoted(pattern)} --event ${event}`);
});
$("copy-pytest").addEventListener("click", () => {
  const { source, "detail-type": type, detail } = whole.customer_event;
  copy(
    `assert_accepted(\n    eventbridge,\n    source=${python(source)},\n`
    + `    detail_type=${python(type)},\n    detail=${python(detail)},\n)`,
  );
});
$("resend").addEventListener("click", () =>
  attempt($("done"), "sent again", () => call("resend", { event: chosen.id })));

// ---------------------------------------------------------------- the pattern

let compareTimer = 0;

function compareSoon() {
  compareTimer ||= setTimeout(() => {
    compareTimer = 0;
    comparePattern();
  }, 300);
}

async function comparePattern(isNew = false) {
  const text = $("pattern").value;
  if (isNew) {
    matching = new Set();
    compared = comparedTo = 0;
    patternIsGood = text.trim() !== "";
    say($("pattern-count"), "");
    if (filter.rule) applyFilter();
    soon();
    explain();
  }
  if (!patternIsGood) return;
  const asked = epoch;
  const after = comparedTo;
  try {
    const found = await call("match", { pattern: text, after });
    if (asked !== epoch || text !== $("pattern").value) return;
    if (after !== comparedTo) { // another answer has counted these events, or some of them
      if (found.after > comparedTo) comparePattern();
      return;
    }
    for (const number of found.matching) matching.add(number);
    compared += found.compared;
    comparedTo = found.after;
    const [many, all] = [matching.size, compared].map((count) => count.toLocaleString());
    say($("pattern-count"), `matches ${many} of ${all} accepted events`);
    if (filter.rule && found.compared) {
      shown = events.filter(passes);
    }
    soon();
  } catch (error) {
    if (text !== $("pattern").value) return;
    patternIsGood = false;
    say($("pattern-count"), error.message, true);
  }
}

async function explain() {
  const asked = chosen;
  const text = $("pattern").value;
  const show = (...texts) => {
    if (asked !== chosen || text !== $("pattern").value) return;
    $("mismatches").replaceChildren(...texts.map((words) => {
      const item = document.createElement("li");
      item.textContent = words;
      return item;
    }));
  };
  if (!asked || !text.trim()) return show(asked ? "Write a pattern first." : "Choose an event first.");
  try {
    const found = await call("match", { pattern: text, event: asked.id });
    if (found.matches) return show("The pattern matches.");
    return show(...found.mismatches.map((one) => `${one.path} is ${one.found}; wanted: ${one.wanted}`));
  } catch (error) {
    return show(error.message);
  }
}

let typing = 0;
$("pattern").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    writeAddress();
    comparePattern(true);
  }, 150);
});

// ---------------------------------------------------------------- sources, faults, counters

function showSources(sources) {
  $("no-sources").hidden = sources.length > 0;
  $("sources").replaceChildren(...sources.slice(0, 500).map((source) => {
    const item = document.createElement("li");
    const name = document.createElement("code");
    name.textContent = source.name;
    const state = document.createElement("b");
    state.textContent = ` ${source.state} `;
    state.className = { ACTIVE: "accepted", PENDING: "dropped" }[source.state] ?? "failed";
    const whose = document.createElement("small");
    whose.textContent = `account ${source.account}, ${source.has_bus ? "with" : "without"} a bus`;
    const actions = document.createElement("p");
    actions.className = "actions";
    for (const action of ["associate", "deactivate", "activate", "delete-bus", "expire"]) {
      const button = document.createElement("button");
      button.textContent = action.replace("-", " ");
      button.disabled = !source.actions.includes(action);
      button.addEventListener("click", () => attempt($("source-done"), `${action}: done`, () =>
        call(`sources/${action}`, { name: source.name, account: source.account })));
      actions.append(button);
    }
    item.append(name, state, whose, actions);
    return item;
  }));
}

const SLIDERS = ["throttle", "fail", "lose", "slow"];

function showFaults(state) {
  for (const name of SLIDERS) {
    if (document.activeElement !== $(name)) $(name).value = state.standing[name];
    $(name).nextElementSibling.textContent = state.standing[name];
  }
  $("faults").replaceChildren(...state.faults.map((fault) => {
    const item = document.createElement("li");
    const code = document.createElement("code");
    code.textContent = JSON.stringify(fault);
    item.append(code);
    return item;
  }));
}

for (const name of SLIDERS) {
  $(name).addEventListener("change", () => attempt($("fault-done"), "", async () =>
    showFaults(await call("faults", { standing: { [name]: $(name).valueAsNumber } }))));
}
$("play").addEventListener("click", () => attempt($("fault-done"), "playing", async () =>
  showFaults(await call("faults", { play: JSON.parse($("script").value) }))));
$("clear-faults").addEventListener("click", () => attempt($("fault-done"), "stopped", async () =>
  showFaults(await call("faults", { clear: true }))));

function showCounters(counters) {
  $("counters").replaceChildren(...Object.entries(counters).map(([name, count]) => {
    const pair = document.createElement("div");
    const [term, number] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    number.textContent = count.toLocaleString();
    pair.append(term, number);
    return pair;
  }));
}

$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  soon();
});
$("forget").addEventListener("click", () => attempt($("connection"), "live", () => call("forget", {})));

// ---------------------------------------------------------------- tabs

function openTab(tabs, tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
}

function openPanel(name, isWanted = true) {
  const tabs = [...$("panels").children];
  // Choosing an event must not hide the pattern that it is tested against.
  if (!isWanted && $("tab-pattern").getAttribute("aria-selected") === "true") return;
  openTab(tabs, $(`tab-${name}`));
  for (const tab of tabs) $(tab.getAttribute("aria-controls")).hidden = tab.id !== `tab-${name}`;
}

function openView(name) {
  view = name;
  openTab([...$("views").children], $(`tab-${name}`));
  $("view").setAttribute("aria-labelledby", `tab-${name}`);
  showView();
}

for (const [tablist, open] of [[$("panels"), openPanel], [$("views"), openView]]) {
  const tabs = [...tablist.children];
  const nameOf = (tab) => tab.id.replace("tab-", "");
  tablist.addEventListener("click", (event) => {
    if (tabs.includes(event.target)) open(nameOf(event.target));
  });
  tablist.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = tabs[(tabs.indexOf(event.target) + by + tabs.length) % tabs.length];
    next.focus();
    open(nameOf(next));
  });
}

openPanel("event");
openView("customer");
readAddress();
listen();
