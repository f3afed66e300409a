// Puts the page together: data from the feed to its parts, keys and search to the drawer.

import { byId, setText } from "./dom.js";
import { zone } from "./format.js";
import { Feed } from "./feed.js";
import { showGlance, showNewest, showRoles } from "./glance.js";
import { showJourney } from "./journey.js";
import { DeadTable } from "./dead.js";
import { Drawer } from "./drawer.js";
import { StuckTable } from "./stuck.js";
import { showStatus } from "./status.js";

const TRUSTED = new Set(["live", "quiet", "empty", "degraded"]);

const feed = new Feed(show);
const drawer = new Drawer(() => feed.answer?.overview?.stages.map((stage) => stage.name) ?? []);
const open = (invoiceId) => drawer.open(invoiceId);
const stuck = new StuckTable(nowUs, open);
const dead = new DeadTable(open);

/** The server's time while the page is live; else the time of what is shown. */
function nowUs() {
  return TRUSTED.has(document.body.dataset.state) ? feed.nowUs() : feed.answer.overview.taken_us;
}

function show() {
  const { overview, roles } = feed.answer;
  showStatus(feed);
  showRoles(roles);
  if (!overview) return;
  showGlance(feed);
  showNewest(feed, TRUSTED.has(document.body.dataset.state));
  showJourney(overview, (stage) => {
    stuck.filter(stage);
    byId("stuck-title").scrollIntoView({ behavior: "smooth", block: "start" });
  });
  stuck.show(feed.lists.stuck, overview);
  dead.show(feed.lists.dead_letters);
}

function tick() {
  const state = showStatus(feed);
  if (feed.answer?.overview) showNewest(feed, TRUSTED.has(state));
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const invoiceId = byId("query").value.trim();
  if (invoiceId) open(invoiceId);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || byId("drawer").open) return;
  event.preventDefault();
  byId("query").focus();
  byId("query").select();
});

setText(byId("zone"), zone());
feed.start();
setInterval(tick, 500);
drawer.followAddress();
