// The picture of the journey: one card per stage, left to right, with its pace, its invoices and their value.

import { byId, h, keyed, setAttribute, setText, svg } from "./dom.js";
import { count, duration, rate } from "./format.js";
import { sumList } from "./sums.js";

const SHOWN_CURRENCIES = 5;
const WIDTH = 240;
const HEIGHT = 44;

export function showJourney(overview, onStuckOf) {
  const top = Math.max(1, ...overview.stages.flatMap((stage) => stage.spark));
  byId("journey").style.setProperty("--stages", overview.stages.length);
  keyed(byId("journey"), overview.stages, (stage) => stage.name,
    (stage) => card(stage, onStuckOf),
    (node, stage) => update(node, stage, top, overview.spark_bucket_seconds));
}

function card(stage, onStuckOf) {
  const stuck = h("button", { class: "stuck-badge", type: "button" }, h("strong"), h("span", { class: "value" }));
  stuck.addEventListener("click", () => onStuckOf(stage.name));
  return h("li", { class: "stage" },
    h("div", { class: "stage-head" }, h("h3", {}, stage.name), h("span", { class: "limit muted" })),
    h("p", { class: "pace" }, h("span", { class: "big figure" }), h("span", { class: "unit" }, "events/s")),
    svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      svg("path", { class: "area" }), svg("path", { class: "line" })),
    h("p", { class: "invoices" }, h("span", { class: "figure" }), h("span", { class: "muted" })),
    h("ul", { class: "value figure" }),
    h("details", { hidden: true }, h("summary"), h("ul", { class: "value figure" })),
    stuck);
}

function update(node, stage, top, bucketSeconds) {
  const [head, pace, spark, invoices, value, more, stuck] = node.children;
  setText(head.children[1], limit(stage));
  setText(pace.firstChild, rate(stage.per_second));
  node.classList.toggle("flowing", stage.per_second > 0);
  draw(spark, stage, top, bucketSeconds);
  setText(invoices.children[0], count(stage.invoices));
  setText(invoices.children[1], ` ${stage.invoices === 1 ? "invoice" : "invoices"} ${stage.final ? "closed" : "here now"}`);
  const rows = Object.entries(stage.value);
  if (stage.unvalued) rows.push(["", `${count(stage.unvalued)} without an amount`]);
  sumList(value, rows.slice(0, SHOWN_CURRENCIES));
  more.hidden = rows.length <= SHOWN_CURRENCIES;
  setText(more.firstChild, `${rows.length - SHOWN_CURRENCIES} more`);
  sumList(more.lastChild, rows.slice(SHOWN_CURRENCIES));
  badge(stuck, stage);
}

function limit(stage) {
  if (!stage.in_catalogue) return "not in the catalogue";
  if (stage.final) return "closes the invoice";
  return stage.stuck_after_us === null ? "no time limit" : `limit ${duration(stage.stuck_after_us)}`;
}

function badge(node, stage) {
  node.disabled = stage.stuck === 0;
  node.hidden = stage.final && stage.stuck === 0;
  setText(node.firstChild, stage.stuck ? `${count(stage.stuck)} stuck` : "none stuck");
  sumList(node.lastChild, Object.entries(stage.stuck_value));
}

function draw(spark, stage, top, bucketSeconds) {
  const step = WIDTH / Math.max(1, stage.spark.length - 1);
  const points = stage.spark.map((n, i) => `${(i * step).toFixed(1)},${(HEIGHT - 2 - (n / top) * (HEIGHT - 6)).toFixed(1)}`);
  const line = `M${points.join("L")}`;
  setAttribute(spark.children[0], "d", `${line}L${WIDTH},${HEIGHT}L0,${HEIGHT}Z`);
  setAttribute(spark.children[1], "d", line);
  const peak = rate(Math.max(0, ...stage.spark) / bucketSeconds);
  setAttribute(spark, "aria-label", `${stage.name}: ${rate(stage.per_second)} events per second, peak ${peak} in the last 3 minutes`);
}
