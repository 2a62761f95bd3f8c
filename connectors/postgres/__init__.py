"""PostgreSQL (10 and later) by logical replication with pgoutput: snapshot, stream, probe, audit."""
