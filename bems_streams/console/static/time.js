// A moment on the page: the viewer's zone as text, UTC on hover, ISO 8601 for machines.

import { h, setAttribute, setText } from "./dom.js";
import { clockTime, date, dayOf, fullTime, utc } from "./format.js";

export const time = () => h("time");

export function setTime(node, us) {
  if (us === null || us === undefined) {
    setText(node, "–");
    return;
  }
  const today = dayOf(Date.now() * 1000) === dayOf(us);
  setText(node, today ? clockTime(us) : fullTime(us));
  setAttribute(node, "datetime", date(us).toISOString());
  setAttribute(node, "title", utc(us));
}

export function timeOf(us) {
  const node = time();
  setTime(node, us);
  return node;
}
