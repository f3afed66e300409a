// Values per currency, one line each; and their exact sums. Never across currencies.

import { h, keyed, setText } from "./dom.js";
import { figures } from "./format.js";

const DECIMALS = 12;

/** Show [currency, amount] rows; a row without a currency is a remark. */
export function sumList(parent, rows) {
  const tag = parent.tagName === "UL" ? "li" : "span";
  keyed(parent, rows, ([currency]) => currency,
    ([currency]) => h(tag, { class: "sum" }, h("span", { class: "currency" }, currency), h("span")),
    (node, [currency, text]) => setText(node.lastChild, currency ? figures(text, currency) : text));
}

/** [currency, sum] of [currency, amount] pairs, in order of currency. */
export function addUp(pairs) {
  const totals = new Map();
  for (const [currency, text] of pairs) totals.set(currency, (totals.get(currency) ?? 0n) + units(text));
  return [...totals].sort(([a], [b]) => (a < b ? -1 : 1)).map(([currency, total]) => [currency, textOf(total)]);
}

/** Exact order of two amounts. */
export function compareAmounts(a, b) {
  const [x, y] = [units(a), units(b)];
  return x < y ? -1 : Number(x > y);
}

function units(text) {
  const [whole, decimals = ""] = text.split(".");
  return BigInt(whole + decimals.padEnd(DECIMALS, "0").slice(0, DECIMALS));
}

function textOf(total) {
  const digits = String(total < 0n ? -total : total).padStart(DECIMALS + 1, "0");
  return `${total < 0n ? "-" : ""}${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`;
}
