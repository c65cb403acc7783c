"""A real Apache Kafka on this machine, from Maven's jars: for tests, and for users without Docker."""
