// A sortable table that keeps its rows, focus and order while data flows in.

import { byId, h, keyed, setText } from "./dom.js";
import { count } from "./format.js";

const FIRST_ROWS = matchMedia("(max-width: 760px)").matches ? 6 : 20;

/** `columns`: {name, label, compare(a, b), cell(row) -> Node, update(cell, row), numeric}. */
export class Table {
  constructor(id, columns, { keyOf, sortBy, descending, nothing }) {
    Object.assign(this, { id, columns, keyOf, sortBy, descending, nothing, rows: [], limit: FIRST_ROWS });
    this.body = byId(id).tBodies[0];
    const head = byId(id).tHead.rows[0];
    this.heads = columns.map((column) => this.head(column));
    head.append(...this.heads);
    byId(`${id}-more`).addEventListener("click", () => {
      this.limit = this.limit === FIRST_ROWS ? Infinity : FIRST_ROWS;
      this.draw();
    });
    this.markHeads();
  }

  head(column) {
    const button = h("button", { type: "button", title: `Sort by ${column.label.toLowerCase()}` }, column.label);
    button.addEventListener("click", () => this.sort(column.name));
    return h("th", { role: "columnheader", scope: "col", class: column.numeric && "number", "data-column": column.name }, button);
  }

  sort(name) {
    this.descending = this.sortBy === name ? !this.descending : this.columns.find((c) => c.name === name).numeric === true;
    this.sortBy = name;
    this.markHeads();
    this.draw();
  }

  markHeads() {
    for (const [i, column] of this.columns.entries()) {
      const order = this.descending ? "descending" : "ascending";
      this.heads[i].setAttribute("aria-sort", column.name === this.sortBy ? order : "none");
    }
  }

  show(rows) {
    this.rows = rows;
    this.draw();
  }

  draw() {
    const { compare } = this.columns.find((column) => column.name === this.sortBy);
    const sign = this.descending ? -1 : 1;
    const sorted = [...this.rows].sort((a, b) => sign * compare(a, b) || (this.keyOf(a) < this.keyOf(b) ? -1 : 1));
    keyed(this.body, sorted.slice(0, this.limit), this.keyOf, (row) => this.create(row), (node, row) => this.update(node, row));
    const none = byId(`${this.id}-none`);
    none.hidden = sorted.length > 0;
    setText(none, this.nothing());
    byId(this.id).hidden = sorted.length === 0;
    const more = byId(`${this.id}-more`);
    more.hidden = sorted.length <= FIRST_ROWS;
    setText(more, this.limit === FIRST_ROWS ? `Show all ${count(sorted.length)}` : `Show the first ${FIRST_ROWS}`);
  }

  create(row) {
    return h("tr", { role: "row" }, ...this.columns.map((column) =>
      h("td", { role: "cell", class: column.numeric && "number", "data-label": column.label, "data-column": column.name }, column.cell(row))));
  }

  update(node, row) {
    for (const [i, column] of this.columns.entries()) column.update(node.cells[i].firstChild, row);
  }
}

const missingLast = (a, b) => (a === null) - (b === null);

/** Order by a field: numbers by size, texts by letters, nulls after everything. */
export function by(field) {
  return (a, b) => {
    const [x, y] = [field(a), field(b)];
    if (x === null || y === null) return missingLast(x, y);
    return x < y ? -1 : Number(x > y);
  };
}
