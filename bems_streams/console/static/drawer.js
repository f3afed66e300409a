// The drawer: one invoice with its facts, its picture and all its events; stays fresh while open.

import { byId, h, setText } from "./dom.js";
import { amount, duration, latency, money } from "./format.js";
import { lookUp } from "./feed.js";
import { picture } from "./picture.js";
import { timeOf } from "./time.js";

const PERIOD_MS = 2000;
const PREFIX = "#invoice/";

export class Drawer {
  constructor(stagesOf) {
    this.stagesOf = stagesOf;
    this.dialog = byId("drawer");
    this.axis = "occurred_us";
    byId("drawer-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.closed());
    window.addEventListener("hashchange", () => this.followAddress());
    window.addEventListener("resize", () => this.found && this.draw());
  }

  /** Open what the address names, so that a link to an invoice can be shared. */
  followAddress() {
    if (!location.hash.startsWith(PREFIX)) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    this.show(decoded(location.hash.slice(PREFIX.length)));
  }

  open(invoiceId) {
    const address = PREFIX + encodeURIComponent(invoiceId);
    if (location.hash === address) this.show(invoiceId);
    else location.hash = address;
  }

  show(invoiceId) {
    this.invoiceId = invoiceId;
    this.found = null;
    this.shown = null;
    setText(byId("drawer-title"), invoiceId);
    setText(byId("drawer-message"), "Searching …");
    byId("drawer-body").replaceChildren();
    if (!this.dialog.open) this.dialog.showModal();
    byId("drawer-title").focus();
    this.refresh();
  }

  closed() {
    clearTimeout(this.timer);
    this.invoiceId = null;
    this.found = null;
    if (location.hash.startsWith(PREFIX)) history.pushState(null, "", location.pathname);
  }

  async refresh() {
    clearTimeout(this.timer);
    const asked = this.invoiceId;
    const { status, body } = await lookUp(asked);
    if (asked !== this.invoiceId) return;
    this.timer = setTimeout(() => this.refresh(), PERIOD_MS);
    if (status !== 200) {
      const old = this.found ? " What is shown below is old." : "";
      setText(byId("drawer-message"), body.error + old);
      this.dialog.classList.toggle("old", this.found !== null);
      return;
    }
    this.dialog.classList.remove("old");
    setText(byId("drawer-message"), "");
    this.found = body;
    const { now_us: _, ...facts } = body;
    const version = JSON.stringify(facts);
    if (version !== this.shown) this.draw();
    else this.drawPicture();
    this.shown = version;
  }

  draw() {
    this.figure = h("div", { class: "picture" });
    byId("drawer-body").replaceChildren(
      facts(this.found),
      h("div", { class: "panel-head" }, h("h3", {}, "Journey"), this.axisChoice()),
      this.figure,
      ...alerts(this.found),
      h("h3", {}, `Events (${this.found.events.length})`),
      events(this.found.events),
      ...others(this.found));
    this.drawPicture();
  }

  drawPicture() {
    this.figure.replaceChildren(picture(this.found, this.stagesOf(), this.axis, this.figure.clientWidth));
  }

  axisChoice() {
    const choice = (axis, label) => {
      const button = h("button", { type: "button", "aria-pressed": String(this.axis === axis) }, label);
      button.addEventListener("click", () => {
        this.axis = axis;
        for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
        this.drawPicture();
      });
      return button;
    };
    const group = h("div", { class: "chips", role: "group", "aria-label": "Place events by" },
      choice("occurred_us", "When it happened"), choice("accepted_us", "When it reached us"));
    return group;
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a hand-typed address with a stray percent sign: search for it as it stands
  }
}

/** The newest value of a field among the events, which are in business order. */
const newest = (events, field) => events.findLast((event) => event[field] !== null)?.[field] ?? null;

function facts({ invoice, events, now_us: nowUs }) {
  const last = (field) => invoice?.[field] ?? newest(events, field);
  const currency = last("currency");
  const open = invoice && invoice.status !== "closed";
  const rows = [
    ["Status", status(invoice)],
    ["Stage", last("stage")],
    ["In stage for", open ? duration(nowUs - invoice.entered_us) : null],
    ["Stuck since", invoice?.stuck_since_us ? timeOf(invoice.stuck_since_us) : null],
    ["Limit reached", open && !invoice.stuck_since_us && invoice.deadline_us ? timeOf(invoice.deadline_us) : null],
    ["Amount", money(last("invoice_amount"), currency)],
    ["Matched", money(last("matched_amount"), currency)],
    ["Authorised", money(last("authorized_amount"), currency)],
    ["Price variance", money(last("ppv"), currency)],
    ["Quantity variance", last("pqv") === null ? null : amount(last("pqv"))],
    ["Payee", last("payee_code")],
    ["Legal entity", last("legal_entity_id")],
    ["Invoice date", last("invoice_date")],
    ["Due date", last("invoice_due_date")],
  ];
  return h("dl", { class: "facts" }, ...rows.filter(([, value]) => value)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "figure" }, value))));
}

function status(invoice) {
  if (!invoice) return h("span", { class: "status" }, "not tracked yet");
  const stuck = invoice.stuck_since_us !== null;
  return h("span", { class: `status ${stuck ? "stuck" : invoice.status}` }, stuck ? "stuck" : invoice.status);
}

function alerts({ alerts: rows }) {
  if (!rows.length) return [];
  return [h("h3", {}, `Alerts (${rows.length})`), h("ul", { class: "alerts" }, ...rows.map((row) =>
    h("li", {}, timeOf(row.raised_us), h("strong", {}, ` ${row.kind} `), `in ${row.stage}${row.reason ? `: ${row.reason}` : ""}`)))];
}

function events(rows) {
  return listing("Events in business order", ["Happened", "Stage", "Activity", "Source", "Amount", "Visible after", "Log position"],
    rows.map((row) => [
      timeOf(row.occurred_us), row.stage, row.activity ?? "–", row.source, money(row.invoice_amount, row.currency) || "–",
      latency((row.stored_us - row.accepted_us) / 1000), position(row.at)]));
}

function others({ duplicates, dead_letters: dead }) {
  const parts = [];
  if (duplicates.length) {
    parts.push(h("h3", {}, `Duplicates (${duplicates.length})`), listing("Records whose event was stored already", ["Accepted", "Event", "Log position"],
      duplicates.map((row) => [timeOf(row.accepted_us), row.event_id, position(row.at)])));
  }
  if (dead.length) {
    parts.push(h("h3", {}, `Dead letters (${dead.length})`), listing("Records that could not be handled", ["Accepted", "Agent", "Code", "Reason", "Log position"],
      dead.map((row) => [timeOf(row.accepted_us), row.agent, row.code, row.reason, position(row.at)])));
  }
  return parts;
}

const position = ({ topic, partition, offset }) => `${topic} / ${partition} / ${offset}`;

function listing(caption, heads, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", {},
    h("caption", { class: "hidden-label" }, caption),
    h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell)))))));
}
