package peer;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/** An invoice's state as JSON by Jackson: what most applications start with. */
final class JsonState {
    private JsonState() {}

    static Serde<InvoiceState> serde() {
        ObjectMapper mapper = new ObjectMapper();
        Serializer<InvoiceState> write = (topic, state) -> {
            try {
                return state == null ? null : mapper.writeValueAsBytes(state);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        Deserializer<InvoiceState> read = (topic, raw) -> {
            try {
                return raw == null ? null : mapper.readValue(raw, InvoiceState.class);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        return Serdes.serdeFrom(write, read);
    }
}
