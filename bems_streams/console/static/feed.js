// Keeps asking the console server and remembers what it said and when; polling reconnects by itself.
// Not here: what the page makes of it (main.js), words for a lost connection (status.js).

const PERIOD_MS = 1000;
const TIMEOUT_MS = 4000;

export class Feed {
  constructor(onAnswer) {
    this.onAnswer = onAnswer;
    this.answer = null; // the newest /api/overview
    this.answeredAt = null; // when it came, on this machine's clocks
    this.startedAt = stamp();
    this.lists = { stuck: null, dead_letters: null };
    this.versions = {};
  }

  start() {
    this.poll();
    document.addEventListener("visibilitychange", () => document.hidden || this.poll());
  }

  /** Microseconds since the newest answer (since the start, without one). A sleeping laptop stops one of the clocks. */
  silenceUs() {
    const since = this.answeredAt ?? this.startedAt;
    const now = stamp();
    return Math.max(now.steady - since.steady, now.wall - since.wall, 0) * 1000;
  }

  /** The server's time now. */
  nowUs() {
    return this.answer.now_us + this.silenceUs();
  }

  async poll() {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const answer = await this.ask().catch(() => null); // silence: status.js says how long it lasts
      if (answer && turn === this.turn) this.accept(answer);
    } finally {
      if (turn === this.turn) this.timer = setTimeout(() => this.poll(), PERIOD_MS);
    }
  }

  async ask() {
    const answer = await get("/api/overview");
    if (answer.versions) {
      await Promise.all([
        this.list("stuck", "/api/stuck", answer.versions.stuck),
        this.list("dead_letters", "/api/dead-letters", answer.versions.dead_letters),
      ]);
    }
    return answer;
  }

  /** What cannot be drawn does not count as heard: the page then says that it is not live. */
  accept(answer) {
    const before = [this.answer, this.answeredAt];
    [this.answer, this.answeredAt] = [answer, stamp()];
    try {
      this.onAnswer(this);
    } catch (error) {
      [this.answer, this.answeredAt] = before;
      throw error;
    }
  }

  async list(name, path, version) {
    if (this.versions[name] === version) return;
    this.lists[name] = await get(path);
    this.versions[name] = version;
  }
}

const stamp = () => ({ steady: performance.now(), wall: Date.now() });

async function get(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

/** One invoice: {status, body}; status 0 when the server could not be reached. */
export async function lookUp(invoiceId) {
  try {
    const response = await fetch(`/api/invoices/${encodeURIComponent(invoiceId)}`, {
      signal: AbortSignal.timeout(8000),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return { status: 0, body: { error: "The console server did not answer. Is it running? Trying again." } };
  }
}
