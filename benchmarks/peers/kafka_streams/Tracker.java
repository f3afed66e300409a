package peer;

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Kafka Streams doing the tracker's work: decode and validate an event, drop repeated event ids, fold the rest into
 * the invoice's state (RocksDB with a changelog topic), publish its new status. At least once, one thread, the four
 * topics as one source; an aggregation in the DSL, whose cache coalesces both the changelog and the statuses.
 *
 * <p>`java peer.Tracker TASK default`: everything as it comes, the state as JSON. `java peer.Tracker TASK tuned`: a
 * binary state, a record cache of 128 MB, linger of 100 ms.
 */
public final class Tracker {
    private static final long CACHE_BYTES = 128L << 20;
    private static final int LINGER_MS = 100;
    private static final Duration CLOSE = Duration.ofSeconds(120);

    private Tracker() {}

    public static void main(String[] arguments) throws Exception {
        Task task = Task.read(arguments[0]);
        boolean tuned = arguments[1].equals("tuned");
        Marks marks = new Marks(task);
        Topology topology = topology(task, marks, tuned ? BinaryState.serde() : JsonState.serde());
        KafkaStreams streams = new KafkaStreams(topology, settings(task, tuned));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(70);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        marks.awaitLast();
        if (!streams.close(CLOSE)) {
            throw new IllegalStateException("not closed within " + CLOSE);
        }
        marks.write("durable");
    }

    private static Properties settings(Task task, boolean tuned) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, task.group());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, task.bootstrap());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, task.folder());
        if (tuned) {
            settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES);
            settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), LINGER_MS);
        }
        return settings;
    }

    private static Topology topology(Task task, Marks marks, Serde<InvoiceState> stateForm) {
        Journey journey = task.stages();
        int stages = journey.names.length;
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, InvoiceState> invoices = builder
                .stream(task.topics(), Consumed.with(Serdes.String(), Serdes.ByteArray()))
                .processValues(() -> new Decoding(new EventParser(journey), marks))
                .groupByKey(Grouped.with(Serdes.String(), null))
                .aggregate(
                        InvoiceState::new,
                        (invoiceId, event, state) -> {
                            state.fold(event, stages);
                            marks.after();
                            return state;
                        },
                        Materialized.<String, InvoiceState, KeyValueStore<Bytes, byte[]>>as("invoices")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(stateForm));
        if (task.status_topic() != null) {
            StatusDocument document = new StatusDocument(journey, task);
            invoices.toStream()
                    .mapValues((id, state) -> document.of(id, state, System.currentTimeMillis() * 1000))
                    .to(task.status_topic(), Produced.with(Serdes.String(), Serdes.ByteArray()));
        }
        return builder.build();
    }

    /** From bytes to an event that knows when the broker accepted it. */
    private static final class Decoding extends ContextualFixedKeyProcessor<String, byte[], Event> {
        private final EventParser parser;
        private final Marks marks;

        Decoding(EventParser parser, Marks marks) {
            this.parser = parser;
            this.marks = marks;
        }

        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            marks.before();
            context().forward(record.withValue(parser.parse(record.value(), record.timestamp() * 1000)));
        }
    }
}
