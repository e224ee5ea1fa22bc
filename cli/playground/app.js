// Two clients of a tenant, each with a Socket.IO connection of its own, and a publisher. No framework, no build step.
"use strict";

const EVENTS_MAX = 200; // kept in a list
const SPARK_POINTS = 40;
const LATENCY_MAX_MS = 10_000;
const REFUSED_HELP = {
  "Authentication error": "clients are told nothing more; the log of carillon dev has the code",
  "Tenant suspended: tenant_suspended": "spec.suspended is true",
};
const DISCONNECT_HELP = {
  "io server disconnect": "the server ended it for good; clients don’t come back by themselves",
  "io client disconnect": "this page asked for it",
  "transport close": "the connection was closed; the client comes back by itself",
  "transport error": "the connection broke; the client comes back by itself",
  "ping timeout": "the server was not heard in time; the client comes back by itself",
};

const published = new Map(); // event and data -> when the button was pressed
const clients = [];

const $ = (selector, root = document) => root.querySelector(selector);
const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};
const clock = () => new Date().toLocaleTimeString("en-GB") + "." + String(Date.now() % 1000).padStart(3, "0");
const milliseconds = (since) => `${Math.max(0, performance.now() - since).toFixed(1)} ms`;
const sorted = (data) => Array.isArray(data) ? data.map(sorted)
  : data && typeof data === "object" ? Object.keys(data).sort().map((key) => [key, sorted(data[key])]) : data;
const identity = (event, data) => `${event} ${JSON.stringify(sorted(data))}`;

// What was sent long ago may as well have come from elsewhere.
const sentAt = (event, data) => {
  const at = published.get(identity(event, data));
  return at && performance.now() - at < LATENCY_MAX_MS ? at : undefined;
};

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`/playground/${path}`, options);
  const text = await response.text();
  let answer = {};
  try { answer = JSON.parse(text); } catch { answer = { error: text }; }
  if (!response.ok) throw new Error(answer.error || answer.detail || `${response.status} ${response.statusText}`);
  return answer;
}

function prepend(list, item) {
  $(".empty", list)?.remove();
  const atTop = list.scrollTop < 8;
  list.prepend(item);
  while (list.children.length > EVENTS_MAX) list.lastElementChild.remove();
  if (atTop) list.scrollTop = 0;
}

function emptied(list, text) {
  list.replaceChildren(element("li", { className: "empty", textContent: text }));
}

class Client {
  constructor(user, transport) {
    this.root = $("#client-template").content.firstElementChild.cloneNode(true);
    this.form = $(".connect", this.root);
    this.fields = this.form.elements;
    this.fields.user.value = user;
    for (const radio of this.form.querySelectorAll("[name=transport]")) {
      radio.name = `transport-${user}`;
      radio.checked = radio.value === transport;
    }
    this.people = new Map();
    this.rooms = new Set();
    this.history = new Map();
    this.describe();
    this.show("idle", "Not connected");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.socket ? this.disconnect() : this.connect(); });
    this.fields.user.addEventListener("input", () => this.describe());
    this.fields.tenant.addEventListener("change", () => { this.describe(); advise(this); });
    $(".online", this.root).addEventListener("click", () => this.announce());
    $(".clear", this.root).addEventListener("click", () => emptied($(".events", this.root), "What arrives is shown here"));
    $(".burst", this.root).addEventListener("click", () => this.sendTooMuch());
    $(".join", this.root).addEventListener("submit", (event) => { event.preventDefault(); this.join(event.target.elements.room); });
  }

  get tenant() { return this.fields.tenant.value; }
  get user() { return this.fields.user.value.trim(); }
  get transport() { return this.form.querySelector("[type=radio]:checked").value; }

  describe() {
    $("h2", this.root).textContent = this.user || "Somebody";
    $(".avatar", this.root).textContent = (this.user || "?").slice(0, 1).toUpperCase();
    this.root.setAttribute("aria-label", `Client of user ${this.user}`);
  }

  show(state, text) {
    this.root.dataset.state = state;
    $(".state-text", this.root).textContent = text;
    const open = state === "connected";
    $(".toggle", this.root).textContent = this.socket ? "Disconnect" : "Connect";
    for (const button of this.root.querySelectorAll(".online, .burst, .join button")) button.disabled = !open;
    for (const field of [this.fields.tenant, this.fields.user, ...this.form.querySelectorAll("[type=radio]")]) field.disabled = !!this.socket;
  }

  connect() {
    const started = performance.now();
    const { tenant, user, transport } = this;
    const transports = transport === "default" ? {} : { transports: [transport] };
    // Asked anew for each attempt, so that a client that comes back has a fresh token.
    const auth = (send) => ask("token", { tenant, user }).then(send, (error) => { this.problem("No token", error.message); this.disconnect("refused"); });
    const socket = (this.socket = io({ auth, forceNew: true, ...transports }));
    this.show("connecting", "Connecting");
    const carried = () => this.show("connected", `Connected as ${user} of ${tenant} over ${socket.io.engine.transport.name}`);
    socket.on("connect", () => {
      carried();
      socket.io.engine.on("upgrade", carried);
      this.note("connected", `over ${socket.io.engine.transport.name}`, milliseconds(started));
      for (const room of this.rooms) this.enter(room);
      if (this.fields.announce.checked) this.announce();
    });
    socket.on("connect_error", (error) => {
      this.problem(error.message, REFUSED_HELP[error.message] || (socket.active ? "the client tries again" : "refused by the server"));
      if (socket.active) this.show("connecting", "Trying again");
      else this.disconnect("refused", error.message);
    });
    socket.on("disconnect", (reason) => {
      this.problem(reason, DISCONNECT_HELP[reason] || "", reason === "io client disconnect");
      if (socket.active) this.show("connecting", `Disconnected (${reason}), coming back`);
      else if (this.socket) this.disconnect("idle", `Disconnected: ${reason}`);
    });
    socket.onAny((event, data) => this.arrived(event, data));
  }

  disconnect(state = "idle", text = "Not connected") {
    const socket = this.socket;
    this.socket = null;
    socket?.disconnect();
    this.people.clear();
    this.showPeople();
    this.show(state, text);
  }

  refresh() {
    const { socket, tenant, user } = this;
    const told = ({ ok, error }) => ok || this.problem(error.code, error.message);
    ask("token", { tenant, user }).then((auth) => socket?.emit("rt:refresh", auth, told), (error) => this.problem("No token", error.message));
  }

  announce() {
    published.set(identity("user:status", { status: "online", user_id: this.user }), performance.now());
    this.socket?.emit("user:online");
  }

  sendTooMuch() {
    // Eighty at once have no one time of sending.
    published.delete(identity("user:status", { status: "online", user_id: this.user }));
    for (let count = 0; count < 80; count++) this.socket?.emit("user:online");
  }

  arrived(event, data) {
    const since = sentAt(event, data);
    if (event === "dashboard:update") return this.numbers(data);
    if (event === "rt:quota") this.problem(data.code, [data.message, data.retryAfterMs && `again in ${data.retryAfterMs} ms`].filter(Boolean).join("; "));
    if (event === "rt:expiring") this.refresh();
    if (event === "rt:draining") this.problem("rt:draining", `the server is going; come back within ${data.reconnectWithinMs} ms`, true);
    if (event === "user:status" && data) {
      const newcomer = data.status === "online" && this.people.get(String(data.user_id)) !== "online";
      this.people.set(String(data.user_id), data.status);
      this.showPeople();
      if (newcomer && this.fields.announce.checked && String(data.user_id) !== this.user) this.announce();
    }
    this.note(event, JSON.stringify(data), since && milliseconds(since));
  }

  note(event, detail, latency) {
    const head = element("div", { className: "event-head" }, element("b", { textContent: event }));
    if (latency) head.append(element("span", { className: "latency", textContent: latency, title: "since the button was pressed on this page" }));
    head.append(element("time", { textContent: clock() }));
    prepend($(".events", this.root), element("li", { className: "fresh" }, head, element("pre", { textContent: detail ?? "" })));
  }

  problem(what, help, mild = false) {
    const text = element("span", {}, element("b", { textContent: what }), help ? ` – ${help}` : "");
    const item = element("li", { className: mild ? "mild" : "" }, text, element("time", { textContent: clock() }));
    prepend($(".problems", this.root), item);
  }

  numbers(data) {
    for (const tile of this.root.querySelectorAll(".number")) {
      const value = data?.[tile.dataset.name];
      if (typeof value !== "number") continue;
      const past = this.history.get(tile.dataset.name) ?? [];
      past.push(value);
      if (past.length > SPARK_POINTS) past.shift();
      this.history.set(tile.dataset.name, past);
      $(".value", tile).textContent = value.toLocaleString("en");
      const [low, high] = [Math.min(...past), Math.max(...past)];
      const y = (value) => (high === low ? 26 : 26 - (24 * (value - low)) / (high - low));
      const points = past.length === 1 ? [...past, value] : past;
      $("polyline", tile).setAttribute("points", points.map((value, index) => `${((100 * index) / (points.length - 1)).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
    }
  }

  showPeople() {
    const list = $(".people", this.root);
    if (!this.people.size) return emptied(list, "Nobody heard of yet");
    list.replaceChildren(...[...this.people].map(([user, status]) => element("li", { className: status, title: `${user} is ${status}` },
      element("span", { className: "dot" }), element("span", { className: "name", textContent: user }), status === "online" ? "" : ` ${status}`)));
  }

  join(input) {
    const room = input.value.trim();
    if (!room) return;
    input.value = "";
    this.enter(room);
  }

  enter(room) {
    this.command("rt:join", room, () => this.rooms.add(room));
  }

  command(name, room, done) {
    const started = performance.now();
    this.socket?.timeout(5000).emit(name, { room }, (error, answer) => {
      if (error || !answer.ok) {
        this.rooms.delete(room);
        this.problem(answer?.error?.code ?? "no answer", `${name} ${room}: ${answer?.error?.message ?? "the server did not answer within 5 s"}`);
      } else {
        done();
        this.note(name, room, milliseconds(started));
      }
      this.showRooms();
    });
  }

  showRooms() {
    const list = $(".rooms", this.root);
    const leave = (room) => element("button", { type: "button", textContent: "×", ariaLabel: `Leave ${room}`,
      onclick: () => this.command("rt:leave", room, () => this.rooms.delete(room)) });
    if (this.rooms.size) list.replaceChildren(...[...this.rooms].map((room) => element("li", {}, element("span", { className: "name", textContent: room }), leave(room))));
    else emptied(list, "In no room");
    const all = new Set(clients.flatMap((client) => [...client.rooms]));
    $("#room-names").replaceChildren(...[...all].map((room) => element("option", { value: room })));
  }
}

let tenants = [];

function advise(client) {
  const tenant = tenants.find((tenant) => tenant.id === client.tenant);
  const advice = !tenant ? "" : tenant.suspended ? "This tenant is suspended: connections are refused."
    : !tenant.can_sign ? "This tenant’s Secret holds a public key, so no token can be made here: use carillon token --signing-key."
    : !tenant.origin_allowed ? `This tenant lets only its own origins in, and ${location.origin} is none of them.` : "";
  const place = $(".advice", client.root);
  place.textContent = advice;
  place.hidden = !advice;
}

async function refresh() {
  const state = $("#server-state");
  try {
    tenants = await ask("tenants");
    state.textContent = tenants.length === 1 ? "1 tenant in force" : `${tenants.length} tenants in force`;
  } catch (error) {
    state.textContent = `carillon dev does not answer: ${error.message}`;
    return;
  }
  for (const select of document.querySelectorAll("select[name=tenant]")) {
    const chosen = select.value;
    select.replaceChildren(...tenants.map(({ id }) => element("option", { value: id, textContent: id })));
    if (tenants.some(({ id }) => id === chosen)) select.value = chosen;
  }
  clients.forEach(advise);
  showPath();
}

const showPath = () => { $("#publish-path").textContent = $("#publish-form").elements.tenant.value || "…"; };

async function publish(times) {
  const { tenant, event, room, users, data } = $("#publish-form").elements;
  const result = $("#publish-result");
  const say = (kind, text) => { result.className = `result ${kind}`; result.textContent = text; };
  const to = {};
  if (room.value.trim()) to.room = room.value.trim();
  if (users.value.trim()) to.users = users.value.split(",").map((user) => user.trim()).filter(Boolean);
  let value;
  try { value = data.value.trim() ? JSON.parse(data.value) : null; } catch (error) { return say("bad", `Data is no JSON: ${error.message}`); }
  const started = performance.now();
  try {
    const answers = await Promise.all(Array.from({ length: times }, (_, index) => {
      const numbered = times > 1 && value && typeof value === "object" && !Array.isArray(value) ? { ...value, number: index + 1 } : value;
      published.set(identity(event.value, numbered), performance.now());
      return ask("publish", { tenant: tenant.value, event: event.value, data: numbered, ...to });
    }));
    say("good", `Published ${answers.reduce((sum, answer) => sum + (answer.published ?? 1), 0)} in ${milliseconds(started)}`);
  } catch (error) {
    say("bad", `Refused: ${error.message}`);
  }
}

for (const [user, transport] of [["ada", "default"], ["grace", "websocket"]]) {
  const client = new Client(user, transport);
  clients.push(client);
  $("#clients").append(client.root);
}
$("#publish-form").addEventListener("submit", (event) => { event.preventDefault(); publish(1); });
$("#publish-form").elements.tenant.addEventListener("change", showPath);
$("#publish-many").addEventListener("click", () => publish(10));
// Files may have changed meanwhile.
window.addEventListener("focus", refresh);
refresh();
