package peer;

import java.util.List;

/** The stages an invoice passes, in order. A stage is known by its place, which is also its rank. */
public final class Journey {
    private static final long NO_LIMIT = -1;

    final String[] names;
    private final long[] stuckAfterUs;

    Journey(List<List<Object>> stages) {
        names = new String[stages.size()];
        stuckAfterUs = new long[stages.size()];
        for (int place = 0; place < names.length; place++) {
            Object limitUs = stages.get(place).get(2);
            names[place] = (String) stages.get(place).get(0);
            stuckAfterUs[place] = limitUs == null ? NO_LIMIT : ((Number) limitUs).longValue();
        }
    }

    /** The place of a stage; an event of an unknown one is refused. */
    int place(String name) {
        for (int place = 0; place < names.length; place++) {
            if (names[place].equals(name)) {
                return place;
            }
        }
        throw new BadEvent("stage: no stage is called " + name);
    }

    boolean isFinal(int place) {
        return place == names.length - 1;
    }

    /** When an invoice in that stage counts as stuck; 0 for never. */
    long deadlineUs(int place, long enteredUs) {
        return isFinal(place) || stuckAfterUs[place] == NO_LIMIT ? 0 : enteredUs + stuckAfterUs[place];
    }
}
