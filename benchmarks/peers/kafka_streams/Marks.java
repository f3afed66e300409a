package peer;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;

/** Counts events and says how far this peer is, as task.py does; CPU is that of all threads, compilers and GC too. */
final class Marks {
    private final OperatingSystemMXBean process =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final CountDownLatch done = new CountDownLatch(1);
    private final Path path;
    private final long wanted;
    private long events;

    Marks(Task task) {
        path = Path.of(task.marks());
        wanted = task.events();
    }

    /** Called as each event comes, by one thread. */
    void before() {
        if (events == 0) {
            write("first");
        }
    }

    /** Called as each event was folded. */
    void after() {
        events++;
        if (events == (wanted + 1) / 2) {
            write("half");
        }
        if (events == wanted) {
            write("last");
            done.countDown();
        }
    }

    void awaitLast() throws InterruptedException {
        done.await();
    }

    void write(String name) {
        String line = String.format(Locale.ROOT, "{\"name\":\"%s\",\"events\":%d,\"seconds\":%.6f,\"cpu_seconds\":%.6f}%n",
                name, events, System.nanoTime() / 1e9, process.getProcessCpuTime() / 1e9);
        try {
            Files.writeString(path, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
