"""The business itself, pure: events, invoice state, deadlines. No await, clock, environment, logs, metrics or I/O."""
