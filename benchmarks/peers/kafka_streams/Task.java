package peer;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** What this peer is asked to do: the JSON file that task.py describes, with the journey's stages by place. */
public record Task(
        String bootstrap,
        List<String> topics,
        int partitions,
        long events,
        String group,
        String status_topic,
        String folder,
        String marks,
        List<List<Object>> journey,
        String cell,
        String region) {

    static Task read(String path) throws IOException {
        return new ObjectMapper().readValue(Path.of(path).toFile(), Task.class);
    }

    Journey stages() {
        return new Journey(journey);
    }
}
