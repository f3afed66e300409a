package peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.time.DateTimeException;
import java.time.LocalDate;

/**
 * Decodes and validates one event with Jackson's streaming parser, by the rules of bems_streams/domain/event.py: no
 * unknown field, required fields, lengths, visible identifiers, a time with an offset, dates, exact decimals of 15 and
 * 6 digits, a currency where there is money. Amounts in scientific notation are refused here.
 */
final class EventParser {
    private static final int MAX_EVENT_BYTES = 64 * 1024;
    private static final int MAX_ATTRIBUTES = 32;
    private static final int CURRENCY = 5;

    private final JsonFactory factory = new JsonFactory();
    private final Journey journey;

    EventParser(Journey journey) {
        this.journey = journey;
    }

    Event parse(byte[] raw, long acceptedUs) {
        if (raw.length > MAX_EVENT_BYTES) {
            throw new BadEvent("too large");
        }
        Event event = new Event();
        event.acceptedUs = acceptedUs;
        try (JsonParser json = factory.createParser(raw)) {
            if (json.nextToken() != JsonToken.START_OBJECT) {
                throw new BadEvent("must be one JSON object");
            }
            boolean timed = false;
            while (json.nextToken() != JsonToken.END_OBJECT) {
                String name = json.currentName();
                json.nextToken();
                timed |= read(event, name, json);
            }
            if (json.nextToken() != null || !timed) {
                throw new BadEvent("one object with occurred_at is needed");
            }
        } catch (IOException | DateTimeException error) {
            throw new BadEvent(error.toString());
        }
        check(event);
        return event;
    }

    /** True for the time. */
    private boolean read(Event event, String name, JsonParser json) throws IOException {
        switch (name) {
            case "event_id" -> event.eventId = identifier(json);
            case "source" -> event.source = identifier(json);
            case "invoice_id" -> event.invoiceId = identifier(json);
            case "stage" -> event.stage = journey.place(identifier(json));
            case "occurred_at" -> {
                event.occurredUs = Times.parse(text(json, 64));
                return true;
            }
            case "activity" -> optional(json, 256);
            case "attributes" -> attributes(json);
            default -> fact(event, name, json);
        }
        return false;
    }

    private static void fact(Event event, String name, JsonParser json) throws IOException {
        for (int place = 0; place < Event.FACTS.length; place++) {
            if (Event.FACTS[place].equals(name)) {
                String value = place > CURRENCY || place == CURRENCY - 1 ? amount(json) : optional(json, 256);
                if (value != null && (place == 2 || place == 3)) {
                    LocalDate.parse(value);
                }
                event.values[place] = value;
                event.hasFacts |= value != null;
                return;
            }
        }
        throw new BadEvent(name + ": unknown field");
    }

    private static void check(Event event) {
        if (event.eventId == null || event.source == null || event.invoiceId == null || event.stage < 0) {
            throw new BadEvent("a required field is missing");
        }
        String currency = event.values[CURRENCY];
        if (currency != null) {
            if (currency.length() != 3 || !currency.chars().allMatch(c -> c >= 'A' && c <= 'Z')) {
                throw new BadEvent("currency: not a currency code");
            }
        } else if (event.values[4] != null || event.values[6] != null || event.values[7] != null
                || event.values[8] != null) {
            throw new BadEvent("currency: required with money");
        }
    }

    private static void attributes(JsonParser json) throws IOException {
        if (json.currentToken() == JsonToken.VALUE_NULL) {
            return;
        }
        if (json.currentToken() != JsonToken.START_OBJECT) {
            throw new BadEvent("attributes: must be an object");
        }
        int count = 0;
        while (json.nextToken() != JsonToken.END_OBJECT) {
            int length = json.currentName().length();
            if (length < 1 || length > 64 || ++count > MAX_ATTRIBUTES) {
                throw new BadEvent("attributes: too many, or a name too long");
            }
            if (json.nextToken() != JsonToken.VALUE_STRING || json.getTextLength() > 512) {
                throw new BadEvent("attributes: must be texts of at most 512 characters");
            }
        }
    }

    private static String identifier(JsonParser json) throws IOException {
        String found = text(json, 128);
        for (int at = 0; at < found.length(); at++) {
            char c = found.charAt(at);
            if (c < ' ' || (c >= 0x7f && (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT))) {
                throw new BadEvent("an identifier holds an invisible character");
            }
        }
        return found;
    }

    private static String optional(JsonParser json, int most) throws IOException {
        return json.currentToken() == JsonToken.VALUE_NULL ? null : text(json, most);
    }

    private static String text(JsonParser json, int most) throws IOException {
        if (json.currentToken() != JsonToken.VALUE_STRING) {
            throw new BadEvent(json.currentName() + ": must be a text");
        }
        String found = json.getText();
        if (found.isEmpty() || found.length() > most) {
            throw new BadEvent(json.currentName() + ": must have 1 to " + most + " characters");
        }
        return found;
    }

    /** An exact decimal, as a text in plain digits. */
    private static String amount(JsonParser json) throws IOException {
        if (json.currentToken() == JsonToken.VALUE_NULL) {
            return null;
        }
        String found = json.getText();
        int length = found.length(), at = length > 0 && found.charAt(0) == '-' ? 1 : 0;
        int whole = digits(found, at);
        boolean leadingZero = whole > 1 && found.charAt(at) == '0';
        at += whole;
        int places = at < length && found.charAt(at) == '.' ? digits(found, at + 1) : -1;
        at += places < 0 ? 0 : places + 1;
        if (at != length || whole < 1 || whole > 15 || leadingZero || places == 0 || places > 6) {
            throw new BadEvent(json.currentName() + ": must be a decimal such as 1234.56");
        }
        return found;
    }

    private static int digits(String text, int from) {
        int at = from;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        return at - from;
    }
}
