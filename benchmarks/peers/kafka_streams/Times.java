package peer;

import java.time.LocalDate;

/** Times as they come (RFC 3339 with an offset) and go (RFC 3339 in UTC), in microseconds since 1970. */
final class Times {
    private static final long DAY_US = 86_400_000_000L;
    private static final int FIRST_YEAR = 1970;
    private static final int LAST_YEAR = 2199;

    private Times() {}

    static long parse(String text) {
        int length = text.length();
        if (length < 20 || (text.charAt(10) != 'T' && text.charAt(10) != 't')) {
            throw new BadEvent("occurred_at: not RFC 3339: " + text);
        }
        int year = number(text, 0, 4);
        if (year < FIRST_YEAR || year > LAST_YEAR) {
            throw new BadEvent("occurred_at: the year must be 1970 to 2199");
        }
        long day = LocalDate.of(year, number(text, 5, 7), number(text, 8, 10)).toEpochDay();
        int hour = number(text, 11, 13), minute = number(text, 14, 16), second = number(text, 17, 19);
        if (hour > 23 || minute > 59 || second > 59) {
            throw new BadEvent("occurred_at: no such time: " + text);
        }
        int at = 19;
        long fractionUs = 0;
        if (text.charAt(at) == '.') {
            long unitUs = 100_000;
            for (at++; at < length && Character.isDigit(text.charAt(at)); at++, unitUs /= 10) {
                fractionUs += (text.charAt(at) - '0') * unitUs;
            }
        }
        long timeUs = day * DAY_US + (hour * 3600L + minute * 60L + second) * 1_000_000L + fractionUs;
        return timeUs - offsetUs(text, at);
    }

    private static long offsetUs(String text, int at) {
        char sign = at < text.length() ? text.charAt(at) : ' ';
        if ((sign == 'Z' || sign == 'z') && text.length() == at + 1) {
            return 0;
        }
        if ((sign != '+' && sign != '-') || text.length() != at + 6) {
            throw new BadEvent("occurred_at: no offset: " + text);
        }
        long offsetUs = (number(text, at + 1, at + 3) * 60L + number(text, at + 4, at + 6)) * 60_000_000L;
        return sign == '-' ? -offsetUs : offsetUs;
    }

    private static int number(String text, int from, int to) {
        int value = 0;
        for (int at = from; at < to; at++) {
            int digit = text.charAt(at) - '0';
            if (digit < 0 || digit > 9) {
                throw new BadEvent("occurred_at: no digit at " + at + ": " + text);
            }
            value = value * 10 + digit;
        }
        return value;
    }

    static void write(StringBuilder out, long us) {
        LocalDate day = LocalDate.ofEpochDay(Math.floorDiv(us, DAY_US));
        long restUs = Math.floorMod(us, DAY_US);
        int seconds = (int) (restUs / 1_000_000);
        out.append(day).append('T');
        pad(out, seconds / 3600, 2).append(':');
        pad(out, seconds / 60 % 60, 2).append(':');
        pad(out, seconds % 60, 2);
        if (restUs % 1_000_000 != 0) {
            pad(out.append('.'), (int) (restUs % 1_000_000), 6);
        }
        out.append('Z');
    }

    private static StringBuilder pad(StringBuilder out, int value, int digits) {
        for (int bound = digits == 6 ? 100_000 : 10; bound > value && bound > 1; bound /= 10) {
            out.append('0');
        }
        return out.append(value);
    }
}
