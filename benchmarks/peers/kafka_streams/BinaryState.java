package peer;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/** An invoice's state in a compact form written by hand: the tuned case. One thread. */
final class BinaryState {
    private ByteBuffer out = ByteBuffer.allocate(4096);

    private BinaryState() {}

    static Serde<InvoiceState> serde() {
        BinaryState form = new BinaryState();
        Serializer<InvoiceState> write = (topic, state) -> state == null ? null : form.write(state);
        Deserializer<InvoiceState> read = (topic, raw) -> raw == null ? null : read(ByteBuffer.wrap(raw));
        return Serdes.serdeFrom(write, read);
    }

    private byte[] write(InvoiceState state) {
        int most = 64 + 8 * state.seen.length + 40 * (state.stages == null ? 0 : state.stages.length)
                + 24 * state.stay.size() + 3100 * state.facts.size();
        if (out.capacity() < most) {
            out = ByteBuffer.allocate(2 * most);
        }
        out.clear();
        out.putInt(state.revision).putShort((short) state.seen.length);
        for (long digest : state.seen) {
            out.putLong(digest);
        }
        out.put((byte) (state.stages == null ? 0 : state.stages.length));
        for (int place = 0; state.stages != null && place < state.stages.length; place++) {
            stage(state.stages[place]);
        }
        out.put((byte) state.stage).putShort((short) state.stay.size());
        for (InvoiceState.Step step : state.stay) {
            out.putLong(step.occurredUs).putLong(step.digest).putLong(step.acceptedUs);
        }
        out.putLong(state.beforeUs).put((byte) state.beforeStage).putLong(state.beforeDigest);
        out.put((byte) state.facts.size());
        for (InvoiceState.Facts facts : state.facts) {
            out.putLong(facts.occurredUs).put((byte) facts.stage).putLong(facts.digest);
            for (String value : facts.values) {
                text(value);
            }
        }
        return Arrays.copyOf(out.array(), out.position());
    }

    private void stage(InvoiceState.StageRecord record) {
        out.putInt(record == null ? 0 : record.events);
        if (record != null) {
            out.putLong(record.firstOccurredUs).putLong(record.lastOccurredUs).putLong(record.firstAcceptedUs);
        }
    }

    private void text(String value) {
        if (value == null) {
            out.putShort((short) -1);
            return;
        }
        byte[] raw = value.getBytes(StandardCharsets.UTF_8);
        out.putShort((short) raw.length).put(raw);
    }

    private static InvoiceState read(ByteBuffer in) {
        InvoiceState state = new InvoiceState();
        state.revision = in.getInt();
        state.seen = new long[in.getShort()];
        for (int at = 0; at < state.seen.length; at++) {
            state.seen[at] = in.getLong();
        }
        int stages = in.get();
        state.stages = stages == 0 ? null : new InvoiceState.StageRecord[stages];
        for (int place = 0; place < stages; place++) {
            state.stages[place] = readStage(in);
        }
        state.stage = in.get();
        for (int left = in.getShort(); left > 0; left--) {
            InvoiceState.Step step = new InvoiceState.Step();
            step.occurredUs = in.getLong();
            step.digest = in.getLong();
            step.acceptedUs = in.getLong();
            state.stay.add(step);
        }
        state.beforeUs = in.getLong();
        state.beforeStage = in.get();
        state.beforeDigest = in.getLong();
        for (int left = in.get(); left > 0; left--) {
            InvoiceState.Facts facts = new InvoiceState.Facts();
            facts.occurredUs = in.getLong();
            facts.stage = in.get();
            facts.digest = in.getLong();
            facts.values = new String[Event.FACTS.length];
            for (int place = 0; place < facts.values.length; place++) {
                facts.values[place] = readText(in);
            }
            state.facts.add(facts);
        }
        return state;
    }

    private static InvoiceState.StageRecord readStage(ByteBuffer in) {
        int events = in.getInt();
        if (events == 0) {
            return null;
        }
        InvoiceState.StageRecord record = new InvoiceState.StageRecord();
        record.events = events;
        record.firstOccurredUs = in.getLong();
        record.lastOccurredUs = in.getLong();
        record.firstAcceptedUs = in.getLong();
        return record;
    }

    private static String readText(ByteBuffer in) {
        int length = in.getShort();
        if (length < 0) {
            return null;
        }
        String value = new String(in.array(), in.position(), length, StandardCharsets.UTF_8);
        in.position(in.position() + length);
        return value;
    }
}
