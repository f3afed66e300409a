package peer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * All that is known of one invoice, and how one event changes it: what bems_streams/domain/state.py and fold.py do.
 * Every part is a maximum, a minimum, a sum over distinct events, or a set, so the order of arrival does not matter.
 * Public fields, so that it can be stored as JSON. Stages go by place, -1 is none.
 */
public final class InvoiceState {
    /** What has happened in one stage. */
    public static final class StageRecord {
        public int events;
        public long firstOccurredUs;
        public long lastOccurredUs;
        public long firstAcceptedUs;
    }

    /** One event of the current stay. */
    public static final class Step {
        public long occurredUs;
        public long digest;
        public long acceptedUs;
    }

    /** Field values that came with one event and that no later event has replaced. */
    public static final class Facts {
        public long occurredUs;
        public int stage;
        public long digest;
        public String[] values;
    }

    public int revision;
    /** Sorted digests of event ids, kept for the life of the invoice. */
    public long[] seen = {};
    public StageRecord[] stages;
    public int stage = -1;
    /** The events since the invoice last entered its stage, oldest first. */
    public List<Step> stay = new ArrayList<>(4);
    public long beforeUs;
    public int beforeStage = -1;
    public long beforeDigest;
    /** Newest first; no field twice. */
    public List<Facts> facts = new ArrayList<>(1);

    /** Apply an event; a copy of one that is in already changes nothing. */
    boolean fold(Event event, int stageCount) {
        long digest = event.digest();
        int place = Arrays.binarySearch(seen, digest);
        if (place >= 0) {
            return false;
        }
        insert(-place - 1, digest);
        if (stages == null) {
            stages = new StageRecord[stageCount];
        }
        count(event);
        Step step = new Step();
        step.occurredUs = event.occurredUs;
        step.digest = digest;
        step.acceptedUs = event.acceptedUs;
        move(event.stage, step);
        if (event.hasFacts) {
            learn(event, digest);
        }
        revision++;
        return true;
    }

    private void insert(int place, long digest) {
        long[] grown = new long[seen.length + 1];
        System.arraycopy(seen, 0, grown, 0, place);
        grown[place] = digest;
        System.arraycopy(seen, place, grown, place + 1, seen.length - place);
        seen = grown;
    }

    private void count(Event event) {
        StageRecord record = stages[event.stage];
        if (record == null) {
            record = stages[event.stage] = new StageRecord();
            record.firstOccurredUs = record.lastOccurredUs = event.occurredUs;
            record.firstAcceptedUs = event.acceptedUs;
        }
        record.events++;
        record.firstOccurredUs = Math.min(record.firstOccurredUs, event.occurredUs);
        record.lastOccurredUs = Math.max(record.lastOccurredUs, event.occurredUs);
        record.firstAcceptedUs = Math.min(record.firstAcceptedUs, event.acceptedUs);
    }

    /** Business order: time, stage, digest. */
    private static int order(long us, int stage, long digest, long otherUs, int otherStage, long otherDigest) {
        int byTime = Long.compare(us, otherUs);
        int byStage = byTime != 0 ? byTime : Integer.compare(stage, otherStage);
        return byStage != 0 ? byStage : Long.compareUnsigned(digest, otherDigest);
    }

    private void move(int code, Step step) {
        if (stay.isEmpty()) {
            enter(code, step);
            return;
        }
        Step newest = stay.get(stay.size() - 1);
        if (code != stage
                && order(step.occurredUs, code, step.digest, newest.occurredUs, stage, newest.digest) > 0) {
            before(newest, stage);
            enter(code, step);
            return;
        }
        if (beforeStage >= 0
                && order(step.occurredUs, code, step.digest, beforeUs, beforeStage, beforeDigest) < 0) {
            return;
        }
        if (code == stage) {
            int at = stay.size();
            while (at > 0 && order(step.occurredUs, code, step.digest,
                    stay.get(at - 1).occurredUs, code, stay.get(at - 1).digest) < 0) {
                at--;
            }
            stay.add(at, step);
        } else {
            before(step, code);
            stay.removeIf(kept ->
                    order(kept.occurredUs, stage, kept.digest, step.occurredUs, code, step.digest) <= 0);
        }
    }

    private void enter(int code, Step step) {
        stage = code;
        stay.clear();
        stay.add(step);
    }

    private void before(Step step, int code) {
        beforeUs = step.occurredUs;
        beforeStage = code;
        beforeDigest = step.digest;
    }

    /** Newest value per field wins; facts that lost all their values go. */
    private void learn(Event event, long digest) {
        Facts added = new Facts();
        added.occurredUs = event.occurredUs;
        added.stage = event.stage;
        added.digest = digest;
        added.values = event.values.clone();
        int place = 0;
        for (Facts known : facts) {
            if (order(known.occurredUs, known.stage, known.digest, event.occurredUs, event.stage, digest) > 0) {
                yieldTo(known.values, added.values);
                place++;
            } else {
                yieldTo(added.values, known.values);
            }
        }
        facts.add(place, added);
        facts.removeIf(known -> isEmpty(known.values));
    }

    private static void yieldTo(String[] newer, String[] older) {
        for (int place = 0; place < newer.length; place++) {
            if (newer[place] != null) {
                older[place] = null;
            }
        }
    }

    private static boolean isEmpty(String[] values) {
        for (String value : values) {
            if (value != null) {
                return false;
            }
        }
        return true;
    }

    long enteredUs() {
        long earliest = Long.MAX_VALUE;
        for (Step step : stay) {
            earliest = Math.min(earliest, step.acceptedUs);
        }
        return earliest;
    }
}
