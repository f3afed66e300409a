// The table of stuck invoices: who is stuck where, for how long, with how much money.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { count, duration, money } from "./format.js";
import { addUp, compareAmounts } from "./sums.js";
import { untracked } from "./glance.js";
import { by, Table } from "./table.js";
import { setTime, time } from "./time.js";

const text = (name) => ({ compare: by((row) => row[name]), cell: () => h("span"), update: (node, row) => setText(node, row[name] ?? "–") });

/** By currency first: amounts of different currencies have no order. */
function compareMoney(a, b) {
  if (a.invoice_amount === null || b.invoice_amount === null) return by((row) => row.invoice_amount)(a, b);
  if (a.currency !== b.currency) return (a.currency ?? "") < (b.currency ?? "") ? 1 : -1;
  return compareAmounts(a.invoice_amount, b.invoice_amount);
}

export class StuckTable {
  constructor(nowUs, open) {
    this.nowUs = nowUs;
    this.stage = null; // null: all
    this.list = { total: 0, invoices: [] };
    this.table = new Table("stuck", this.columns(open), {
      keyOf: (row) => row.invoice_id, sortBy: "stay", descending: true,
      nothing: () => this.nothing(),
    });
  }

  columns(open) {
    return [
      { name: "invoice", label: "Invoice", compare: by((row) => row.invoice_id), cell: (row) => link(row, open), update: () => {} },
      { name: "stage", label: "Stage", ...text("stage") },
      {
        name: "stay", label: "In stage for", numeric: true, compare: by((row) => -row.entered_us), cell: () => h("span"),
        update: (node, row) => setText(node, duration(this.nowUs() - row.entered_us)),
      },
      {
        name: "overdue", label: "Overdue since", numeric: true, compare: by((row) => row.stuck_since_us && -row.stuck_since_us),
        cell: () => time(), update: (node, row) => setTime(node, row.stuck_since_us),
      },
      {
        name: "amount", label: "Amount", numeric: true, compare: compareMoney, cell: () => h("span"),
        update: (node, row) => setText(node, money(row.invoice_amount, row.currency) || "–"),
      },
      { name: "due", label: "Due date", ...text("invoice_due_date") },
      { name: "payee", label: "Payee", ...text("payee_code") },
      { name: "entity", label: "Legal entity", ...text("legal_entity_id") },
    ];
  }

  nothing() {
    if (untracked(this.overview)) return "Not known: events are stored, but no invoice is tracked yet. Is bems worker tracker running?";
    return this.stage ? `Nothing is stuck in ${this.stage}.` : "Nothing is stuck: every open invoice is within its limit.";
  }

  show(list, overview) {
    this.list = list;
    this.overview = overview;
    this.draw();
  }

  filter(stage) {
    this.stage = stage;
    this.draw();
  }

  draw() {
    const rows = this.list.invoices.filter((row) => this.stage === null || row.stage === this.stage);
    this.table.show(rows);
    this.drawChips();
    const listed = this.list.total > this.list.invoices.length ? `the ${count(this.list.invoices.length)} longest of ${count(this.list.total)} · ` : "";
    setText(byId("stuck-note"), rows.length ? `${listed}${this.stage ?? "all stages"}: ${[count(rows.length), ...totals(rows)].join(" · ")}` : "");
  }

  drawChips() {
    const chips = [null, ...this.overview.stages.filter((stage) => !stage.final).map((stage) => stage.name)];
    keyed(byId("stuck-filter"), chips, (stage) => stage ?? "",
      (stage) => {
        const chip = h("button", { type: "button" }, stage ?? "All stages");
        chip.addEventListener("click", () => this.filter(stage));
        return chip;
      },
      (node, stage) => setAttribute(node, "aria-pressed", String(stage === this.stage)));
  }
}

function link(row, open) {
  const button = h("button", { type: "button", class: "link" }, row.invoice_id);
  button.addEventListener("click", () => open(row.invoice_id));
  return button;
}

const totals = (rows) =>
  addUp(rows.filter((row) => row.invoice_amount !== null && row.currency !== null).map((row) => [row.currency, row.invoice_amount]))
    .map(([currency, text]) => money(text, currency));
