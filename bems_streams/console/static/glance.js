// The first row: ledger, pace, visibility, stuck. And the empty state and the strip of processes.

import { byId, h, keyed, setText } from "./dom.js";
import { count, duration, latency, rate } from "./format.js";
import { addUp, sumList } from "./sums.js";

const TARGET_MS = 2000;
const PROMISE_MS = 120000;

export function showGlance(feed) {
  const { overview } = feed.answer;
  setText(byId("cell"), overview.cell);
  showLedger(overview.ledger);
  setText(byId("per-second"), rate(overview.stages.reduce((sum, stage) => sum + stage.per_second, 0)));
  showVisibility(overview);
  showStuck(overview);
  byId("empty").hidden = overview.ledger.accepted > 0;
  const hint = byId("empty-command");
  if (!hint.textContent) setText(hint, command(feed.answer.gateway_url, overview.stages[0].name));
}

/** Once a second, also without a new answer. */
export function showNewest(feed, live) {
  const newest = feed.answer.overview.newest_stored_us;
  const now = live ? feed.nowUs() : feed.answer.overview.taken_us;
  setText(byId("newest"), newest === null ? "no event yet" : `newest stored ${duration(now - newest)} ago`);
}

function showLedger(ledger) {
  setText(byId("accepted"), count(ledger.accepted));
  setText(byId("stored"), count(ledger.stored));
  setText(byId("duplicates"), count(ledger.duplicates));
  setText(byId("dead-lettered"), count(ledger.dead_lettered));
  byId("dead-figure").classList.toggle("bad", ledger.dead_lettered > 0);
  setText(byId("retrying"), count(ledger.retrying));
  for (const id of ["retrying-operator", "retrying-figure"]) byId(id).hidden = ledger.retrying === 0;
}

function showVisibility({ visibility, visibility_window_seconds: seconds }) {
  const { p50_ms: p50, p99_ms: p99, events } = visibility;
  const node = byId("p99");
  setText(node, latency(p99));
  node.className = p99 === null ? "" : p99 <= TARGET_MS ? "ok" : p99 <= PROMISE_MS ? "warn" : "bad";
  const verdict = p99 <= TARGET_MS ? "within the 2 s target" : p99 <= PROMISE_MS ? "over the 2 s target" : "over the 120 s promise";
  setText(byId("visibility"), p99 === null
    ? `no events in the last ${seconds} s`
    : `p50 ${latency(p50)} · ${verdict} · ${count(events)} events in ${seconds} s`);
}

/** Events without invoices: nobody judges who is stuck, and a zero would be false comfort. */
export const untracked = ({ invoices, ledger }) => invoices === 0 && ledger.stored > 0;

function showStuck(overview) {
  const { stuck, stages } = overview;
  const unknown = untracked(overview);
  setText(byId("stuck-count"), unknown ? "–" : count(stuck));
  byId("stuck-panel").classList.toggle("warn-panel", stuck > 0);
  const values = addUp(stages.flatMap((stage) => Object.entries(stage.stuck_value)));
  sumList(byId("stuck-value"), values.length ? values : [["", remark(stuck, unknown)]]);
}

function remark(stuck, unknown) {
  if (unknown) return "not known: no invoice is tracked yet; is bems worker tracker running?";
  return stuck ? "no amount known" : "every open invoice is on time";
}

export function showRoles(roles) {
  byId("roles-section").hidden = roles.length === 0;
  keyed(byId("roles"), roles, (role) => role.url,
    () => h("li", {}, h("span", { class: "dot", "aria-hidden": "true" }), h("strong"), h("span", { class: "muted" })),
    (node, role) => {
      node.className = role.ready ? "ready" : "unready";
      node.title = role.url;
      setText(node.children[1], role.role);
      setText(node.children[2], role.ready ? (role.role === "ledger" ? "closed" : "ready") : `not ready: ${role.reason}`);
    });
}

function command(gatewayUrl, stage) {
  const event = {
    event_id: "first-1", source: "me", invoice_id: "INV-1", stage,
    occurred_at: new Date().toISOString(), invoice_amount: "100.00", currency: "EUR",
  };
  return `curl -X POST ${gatewayUrl}/v1/${stage}/events -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(event)}'`;
}
