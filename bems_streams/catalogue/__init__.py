"""How topics.yaml is read and checked. Everything public is in bems_streams.topics. Not here: any broker."""
