"""Short seeded proofs on a whole cell, and proofs that a broken product does not pass."""
