"""What a laptop needs: embedded Kafka, simulator, one-machine cell."""
