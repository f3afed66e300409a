package peer;

/** An event that breaks a rule. The feed holds none, so one of these ends the run. */
public final class BadEvent extends RuntimeException {
    BadEvent(String reason) {
        super(reason);
    }
}
