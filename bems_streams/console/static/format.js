// Numbers, money, durations and times for people. Money is text in and text out: it never becomes a float.

const group = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

export const count = (n) => (n < 0 ? "−" : "") + group(String(Math.abs(n)));

/** "1234.5" becomes "1,234.50": grouped, at least two decimals where there are any, none lost. */
export function amount(text) {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (!match) return text;
  const [, sign, whole, decimals = ""] = match;
  const kept = decimals.replace(/0+$/, "");
  const shown = decimals ? `.${kept.padEnd(2, "0")}` : "";
  return `${sign ? "−" : ""}${group(whole)}${shown}`;
}

export const money = (text, currency) => (text === null ? "" : `${currency ?? ""} ${amount(text)}`.trim());

export const values = (byCurrency) => Object.entries(byCurrency).map(([currency, text]) => money(text, currency));

/** Exact order of two decimal texts. */
export function compareAmounts(a, b) {
  const scaled = (text) => {
    const [whole, decimals = ""] = text.split(".");
    return BigInt(whole + decimals.padEnd(12, "0").slice(0, 12));
  };
  const [x, y] = [scaled(a), scaled(b)];
  return x < y ? -1 : Number(x > y);
}

/** Exact sum of amounts per currency, in order of currency. */
export function sums(rows) {
  const totals = new Map();
  for (const { invoice_amount: text, currency } of rows) {
    if (text === null || currency === null) continue;
    const [whole, decimals = ""] = text.split(".");
    const known = totals.get(currency) ?? { units: 0n, places: 0 };
    known.units += BigInt(whole + decimals.padEnd(12, "0"));
    known.places = Math.max(known.places, decimals.length);
    totals.set(currency, known);
  }
  return [...totals].sort().map(([currency, { units, places }]) => {
    const digits = String(units < 0n ? -units : units).padStart(13, "0");
    const decimals = digits.slice(-12).slice(0, places);
    const text = `${units < 0n ? "-" : ""}${digits.slice(0, -12)}${decimals ? `.${decimals}` : ""}`;
    return money(text, currency);
  });
}

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
const day = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", year: "numeric" });

export const date = (us) => new Date(us / 1000);
export const clockTime = (us) => clock.format(date(us));
export const dayOf = (us) => day.format(date(us));
export const fullTime = (us) => `${dayOf(us)}, ${clockTime(us)}`;
export const utc = (us) => `${date(us).toISOString().replace("T", " ").replace("Z", "")} UTC`;
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;
