"""`bems prove`: a cell under load and faults, and the judgement of what it promised."""
