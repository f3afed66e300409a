// The picture of one invoice: a lane per stage on a time axis, stays as bars, events as dots, overdue time in amber.

import { svg } from "./dom.js";
import { clockTime, date, dayOf, duration, fullTime } from "./format.js";

const LANE = 38;
const TOP = 8;
const AXIS = 34;
const SECOND = 1e6;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600,
  604800, 1209600, 2592000, 5184000, 7776000, 15552000, 31536000].map((seconds) => seconds * SECOND);

export function picture(found, stages, axis, width) {
  const lanes = laneNames(found, stages);
  const stays = staysOf(found, stages, axis);
  const overdue = overdueOf(found);
  const scale = scaleOf(found, stays, overdue, axis, width);
  const height = TOP + lanes.length * LANE + AXIS;
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary(found, stays) });
  const y = (stage) => TOP + lanes.indexOf(stage) * LANE;
  lanes.forEach((lane, i) => root.append(...laneParts(lane, i, width)));
  root.append(...ticks(scale, width, height));
  for (const stay of stays) root.append(bar("stay", stay, scale, y(stay.stage), `${stay.stage}: ${duration(stay.until - stay.from)}`));
  for (const span of overdue) root.append(bar("overdue", span, scale, y(span.stage), `overdue for ${duration(span.until - span.from)}`));
  for (const event of found.events) root.append(dot(event, axis, scale, y(event.stage)));
  if (isOpen(found)) root.append(...nowLine(scale, found.now_us, height));
  return root;
}

const isOpen = ({ invoice }) => invoice !== null && invoice.status !== "closed";

function laneNames({ events }, stages) {
  const others = events.map((event) => event.stage).filter((stage) => !stages.includes(stage));
  return [...stages, ...new Set(others)];
}

/** Runs of events of one stage, in the order of the axis; an open invoice's newest stay lasts until now. */
function staysOf(found, stages, axis) {
  const events = [...found.events].sort((a, b) => a[axis] - b[axis] || stages.indexOf(a.stage) - stages.indexOf(b.stage));
  const stays = [];
  for (const event of events) {
    const last = stays.at(-1);
    if (last) last.until = event[axis];
    if (!last || last.stage !== event.stage) stays.push({ stage: event.stage, from: event[axis], until: event[axis] });
  }
  if (stays.length && isOpen(found)) stays.at(-1).until = Math.max(found.now_us, stays.at(-1).until);
  return stays;
}

/** From every deadline that passed to the alert that cleared it, or until now. */
function overdueOf({ alerts, invoice, now_us: nowUs }) {
  const spans = new Map();
  for (const alert of alerts) {
    const key = `${alert.stage} ${alert.deadline_us}`;
    const span = spans.get(key) ?? { stage: alert.stage, from: alert.deadline_us, until: nowUs };
    if (alert.kind === "cleared") span.until = alert.raised_us;
    spans.set(key, span);
  }
  if (invoice?.stuck_since_us && invoice.deadline_us) {
    spans.set(`${invoice.stage} ${invoice.deadline_us}`, { stage: invoice.stage, from: invoice.deadline_us, until: nowUs });
  }
  return [...spans.values()].filter((span) => span.until > span.from);
}

function scaleOf(found, stays, overdue, axis, width) {
  const moments = [...found.events.map((event) => event[axis]), ...stays.map((stay) => stay.until), ...overdue.map((span) => span.until)];
  const from = moments.length ? Math.min(...moments) : found.now_us;
  const until = Math.max(from + SECOND, ...moments);
  const [left, right] = [width < 520 ? 12 : 120, width - 16];
  return { from, until, left, right, x: (us) => left + ((Math.min(Math.max(us, from), until) - from) / (until - from)) * (right - left) };
}

function laneParts(name, i, width) {
  const top = TOP + i * LANE;
  const narrow = width < 520;
  return [
    svg("rect", { class: i % 2 ? "lane odd" : "lane", x: 0, y: top, width, height: LANE }),
    svg("text", { class: "lane-name", x: narrow ? 12 : 10, y: top + (narrow ? 11 : LANE / 2 + 4) }, name),
  ];
}

function bar(kind, span, scale, top, label) {
  const [x, until] = [scale.x(span.from), scale.x(span.until)];
  return svg("rect", { class: kind, x, y: top + 14, width: Math.max(2, until - x), height: LANE - 22, rx: 4 }, svg("title", {}, label));
}

function dot(event, axis, scale, top) {
  const label = `${event.activity ?? event.stage}, ${fullTime(event[axis])}, from ${event.source}`;
  return svg("circle", { class: "event", cx: scale.x(event[axis]), cy: top + 14 + (LANE - 22) / 2, r: 4.5 }, svg("title", {}, label));
}

function ticks(scale, width, height) {
  const room = Math.max(2, Math.floor((scale.right - scale.left) / 110));
  const span = scale.until - scale.from;
  const step = STEPS.find((size) => span / size <= room) ?? span;
  const shift = date(scale.from).getTimezoneOffset() * 60 * SECOND;
  const parts = [];
  for (let us = Math.ceil((scale.from - shift) / step) * step + shift; us <= scale.until; us += step) {
    const x = scale.x(us);
    parts.push(svg("line", { class: "tick", x1: x, x2: x, y1: TOP, y2: height - AXIS + 4 }));
    const at = Math.min(Math.max(x, scale.left + 30), scale.right - 30);
    const clock = clockTime(us);
    if (step < 86400 * SECOND) parts.push(svg("text", { class: "tick-text", x: at, y: height - AXIS + 17 }, step < 60 * SECOND ? clock : clock.slice(0, 5)));
    if (step >= 86400 * SECOND || parts.length === 2) parts.push(svg("text", { class: "tick-text", x: at, y: height - AXIS + (step < 86400 * SECOND ? 30 : 17) }, dayOf(us)));
  }
  return parts;
}

function nowLine(scale, nowUs, height) {
  const x = scale.x(nowUs);
  return [svg("line", { class: "now", x1: x, x2: x, y1: TOP - 4, y2: height - AXIS + 4 }, svg("title", {}, "now"))];
}

function summary({ events }, stays) {
  return `${events.length} events. ${stays.map((stay) => `${stay.stage} for ${duration(stay.until - stay.from)}`).join(", then ")}. The events are listed below.`;
}
