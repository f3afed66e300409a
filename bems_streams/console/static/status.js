// Says whether what is shown is live, and if not, why and how old it is.

import { byId, setText } from "./dom.js";
import { clockTime, duration, fullTime } from "./format.js";

const LOST_AFTER_US = 3.5e6;
const SLOW_AFTER_US = 15e6;
const QUIET_AFTER_US = 60e6;

/** {state, pill, title, text, age}: live, quiet, empty, degraded are current; connecting, lost, away, slow are not live. */
export function judge(feed) {
  const silence = feed.silenceUs();
  const overview = feed.answer?.overview;
  const asOf = overview ? `Shown as of ${fullTime(overview.taken_us)}` : "Nothing to show yet";
  if (silence > LOST_AFTER_US) {
    return {
      state: "lost", pill: "Not live", title: "The console server does not answer.",
      text: "Figures below are old. This page tries again every second; check that bems console runs.",
      age: overview ? `${asOf} · ${duration(silence + feed.answer.age_us)} old` : asOf,
    };
  }
  if (!feed.answer) return { state: "connecting", pill: "Connecting" };
  const age = overview ? feed.answer.age_us + silence : 0;
  if (feed.answer.trouble) {
    return {
      state: "away", pill: "Not live", title: "The store cannot be read.", text: feed.answer.trouble.message,
      age: overview ? `${asOf} · ${duration(age)} old` : asOf,
    };
  }
  if (!overview) return { state: "connecting", pill: "Reading the store" };
  if (age > SLOW_AFTER_US) {
    return {
      state: "slow", pill: "Not live", title: "The store answers slowly.",
      text: "Figures below are old. Check the load and the disk of the store.", age: `${asOf} · ${duration(age)} old`,
    };
  }
  const unready = feed.answer.roles.filter((role) => !role.ready);
  const ledger = unready.find((role) => role.role === "ledger");
  if (ledger) {
    return {
      state: "degraded", pill: "Live · ledger not closed",
      title: "Not every event is accounted for.", text: unready.map((role) => `${role.role}: ${role.reason}`).join(" "),
      age: "The figures are live, but accepted events may be missing from them.",
    };
  }
  if (unready.length) {
    return {
      state: "degraded", pill: `Live · ${unready.length} not ready`,
      title: "Not everything runs.", text: unready.map((role) => `${role.role}: ${role.reason}`).join(" "),
      age: "The figures are live, but what these processes do may be missing from them.",
    };
  }
  if (overview.newest_stored_us === null) return { state: "empty", pill: "Live · waiting" };
  const quiet = feed.nowUs() - overview.newest_stored_us;
  if (quiet > QUIET_AFTER_US) {
    return {
      state: "quiet", pill: "Live · quiet", title: "No new events.",
      text: "The page is live, but nothing is being stored. If events should flow, check the gateway and the sink.",
      age: `Newest event stored ${duration(quiet)} ago, ${fullTime(overview.newest_stored_us)}`,
    };
  }
  return { state: "live", pill: `Live · ${clockTime(overview.taken_us)}` };
}

export function showStatus(feed) {
  const verdict = judge(feed);
  document.body.dataset.state = verdict.state;
  setText(byId("pill-text"), verdict.pill);
  byId("notice").hidden = !verdict.title;
  setText(byId("notice-title"), verdict.title ?? "");
  setText(byId("notice-text"), verdict.text ?? "");
  setText(byId("notice-age"), verdict.age ?? "");
  const stuck = feed.answer?.overview?.stuck;
  const dead = ["lost", "away", "slow"].includes(verdict.state);
  document.title = dead ? "⚠ not live · BEMS" : stuck ? `(${stuck} stuck) BEMS` : "BEMS console";
  return verdict.state;
}
