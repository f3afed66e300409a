package peer;

/** One status change of one invoice, decoded and valid. `values` go by place in FACTS; null where it says nothing. */
final class Event {
    static final String[] FACTS = {
        "payee_code", "legal_entity_id", "invoice_date", "invoice_due_date", "invoice_amount", "currency",
        "matched_amount", "authorized_amount", "ppv", "pqv"
    };

    String eventId;
    String source;
    String invoiceId;
    int stage = -1;
    long occurredUs;
    long acceptedUs;
    boolean hasFacts;
    final String[] values = new String[FACTS.length];

    /**
     * 64 bits standing for the event id within its invoice: FNV-1a, then mixed. The tracker takes BLAKE2b, which costs
     * more; a collision is as unlikely here, and nobody attacks a benchmark.
     */
    long digest() {
        long hash = 0xcbf29ce484222325L;
        for (int at = 0; at < eventId.length(); at++) {
            hash = (hash ^ eventId.charAt(at)) * 0x100000001b3L;
        }
        hash ^= hash >>> 33;
        hash *= 0xff51afd7ed558ccdL;
        hash ^= hash >>> 33;
        hash *= 0xc4ceb9fe1a85ec53L;
        return hash ^ (hash >>> 33);
    }
}
