// The table of dead letters: what could not be handled, where it stands in the log, and why.

import { byId, h, setText } from "./dom.js";
import { count } from "./format.js";
import { by, Table } from "./table.js";
import { setTime, time } from "./time.js";

const place = ({ topic, partition, offset }) => `${topic} / ${partition} / ${offset}`;

export class DeadTable {
  constructor(open) {
    const text = (of) => ({ compare: by(of), cell: () => h("span"), update: (node, row) => setText(node, of(row) ?? "–") });
    this.table = new Table("dead", [
      { name: "time", label: "Accepted", compare: by((row) => row.accepted_us), cell: () => time(), update: (node, row) => setTime(node, row.accepted_us) },
      { name: "at", label: "Topic / partition / offset", ...text((row) => place(row.at)) },
      { name: "agent", label: "Agent", ...text((row) => row.agent) },
      { name: "code", label: "Code", ...text((row) => row.code) },
      { name: "reason", label: "Reason", ...text((row) => row.reason) },
      { name: "invoice", label: "Invoice", compare: by((row) => row.invoice_id), cell: (row) => invoice(row, open), update: () => {} },
    ], { keyOf: (row) => `${place(row.at)} ${row.agent}`, sortBy: "time", descending: true, nothing: () => "No dead letters: every record could be handled." });
  }

  show(list) {
    this.table.show(list.dead_letters);
    const listed = list.total > list.dead_letters.length ? `the ${count(list.dead_letters.length)} newest of ${count(list.total)}` : list.total ? count(list.total) : "";
    setText(byId("dead-note"), listed);
  }
}

function invoice(row, open) {
  if (row.invoice_id === null) return h("span", {}, "–");
  const button = h("button", { type: "button", class: "link" }, row.invoice_id);
  button.addEventListener("click", () => open(row.invoice_id));
  return button;
}
