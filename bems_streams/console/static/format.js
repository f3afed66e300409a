// Numbers, money, durations and times for people. Money is text in and text out: it never becomes a float.

const group = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

export const count = (n) => (n < 0 ? "−" : "") + group(String(Math.abs(n)));

/** "1234.5" becomes "1,234.50": grouped, at least `places` decimals, none lost but trailing zeros. */
export function amount(text, places = 0) {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (!match) return text;
  const [, sign, whole, decimals = ""] = match;
  const kept = decimals.replace(/0+$/, "").padEnd(places, "0");
  return `${sign ? "−" : ""}${group(whole)}${kept ? `.${kept}` : ""}`;
}

const minorPlaces = new Map();

/** Decimals that a currency is written with: 2 for EUR, 0 for JPY. */
function placesOf(currency) {
  if (!minorPlaces.has(currency)) {
    const format = new Intl.NumberFormat("en", { style: "currency", currency });
    minorPlaces.set(currency, format.resolvedOptions().maximumFractionDigits);
  }
  return minorPlaces.get(currency);
}

export const figures = (text, currency) => amount(text, /^[A-Z]{3}$/.test(currency ?? "") ? placesOf(currency) : 2);

export const money = (text, currency) => (text === null ? "" : `${currency ?? ""}\u00a0${figures(text, currency)}`.trim());

export const rate = (perSecond) =>
  perSecond >= 100 ? count(Math.round(perSecond)) : perSecond.toFixed(1);

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** The two largest neighbouring units: "3 d 4 h", "12 s". */
export function duration(us) {
  const seconds = Math.max(0, Math.floor(us / 1e6));
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  let rest = seconds;
  const parts = [];
  for (const [unit, size] of UNITS.slice(first, first + 2)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n) parts.push(`${n} ${unit}`);
  }
  return parts.join(" ");
}

export function latency(ms) {
  if (ms === null) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 10000 ? `${(ms / 1000).toFixed(2)} s` : duration(ms * 1000);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", year: "numeric" });

export const date = (us) => new Date(us / 1000);
export const clockTime = (us) => clock.format(date(us));
/** Without the year when it is the present one. */
export const dayOf = (us) => (date(us).getFullYear() === new Date().getFullYear() ? day : dayAndYear).format(date(us));
export const fullTime = (us) => `${dayOf(us)}, ${clockTime(us)}`;
export const utc = (us) => `${date(us).toISOString().replace("T", " ").replace("Z", "")} UTC`;
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;
