"""BEMS Streams: business event monitoring for invoices."""
