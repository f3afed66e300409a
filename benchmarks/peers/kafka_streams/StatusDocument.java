package peer;

import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.nio.charset.StandardCharsets;

/** Where an invoice is and all that is known of it, as bems_streams/domain/views.py writes it. Not thread-safe. */
final class StatusDocument {
    private final StringBuilder out = new StringBuilder(1024);
    private final JsonStringEncoder escape = JsonStringEncoder.getInstance();
    private final Journey journey;
    private final Task task;

    StatusDocument(Journey journey, Task task) {
        this.journey = journey;
        this.task = task;
    }

    byte[] of(String invoiceId, InvoiceState state, long updatedUs) {
        long enteredUs = state.enteredUs();
        long deadlineUs = journey.deadlineUs(state.stage, enteredUs);
        out.setLength(0);
        text("{\"invoice_id\":", invoiceId);
        out.append(",\"revision\":").append(state.revision);
        out.append(",\"status\":\"").append(status(state));
        out.append("\",\"stage\":\"").append(journey.names[state.stage]).append('"');
        time(",\"stage_entered_at\":", enteredUs);
        if (deadlineUs == 0) {
            out.append(",\"deadline\":null");
        } else {
            time(",\"deadline\":", deadlineUs);
        }
        out.append(",\"stuck_since\":null");
        time(",\"last_occurred_at\":", state.stay.get(state.stay.size() - 1).occurredUs);
        time(",\"updated_at\":", updatedUs);
        out.append(",\"events\":").append(state.seen.length);
        skipped(state);
        stages(state);
        for (InvoiceState.Facts facts : state.facts) {
            for (int place = 0; place < facts.values.length; place++) {
                if (facts.values[place] != null) {
                    out.append(",\"").append(Event.FACTS[place]);
                    text("\":", facts.values[place]);
                }
            }
        }
        text(",\"cell\":", task.cell());
        text(",\"region\":", task.region());
        return out.append('}').toString().getBytes(StandardCharsets.UTF_8);
    }

    private String status(InvoiceState state) {
        if (journey.isFinal(state.stage)) {
            return "closed";
        }
        return state.stages[state.stages.length - 1] == null ? "open" : "reopened";
    }

    private void skipped(InvoiceState state) {
        out.append(",\"skipped_stages\":[");
        for (int place = 0; place < state.stage; place++) {
            if (state.stages[place] == null) {
                comma().append('"').append(journey.names[place]).append('"');
            }
        }
        out.append(']');
    }

    private void stages(InvoiceState state) {
        out.append(",\"stages\":{");
        for (int place = 0; place < state.stages.length; place++) {
            InvoiceState.StageRecord record = state.stages[place];
            if (record != null) {
                comma().append('"').append(journey.names[place]).append("\":{\"events\":").append(record.events);
                time(",\"first_occurred_at\":", record.firstOccurredUs);
                time(",\"last_occurred_at\":", record.lastOccurredUs);
                time(",\"first_accepted_at\":", record.firstAcceptedUs);
                out.append('}');
            }
        }
        out.append('}');
    }

    private StringBuilder comma() {
        char last = out.charAt(out.length() - 1);
        return last == '[' || last == '{' ? out : out.append(',');
    }

    private void text(String before, String value) {
        out.append(before).append('"');
        escape.quoteAsString(value, out);
        out.append('"');
    }

    private void time(String before, long us) {
        Times.write(out.append(before).append('"'), us);
        out.append('"');
    }
}
