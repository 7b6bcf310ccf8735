"""The agent of one host: it registers the host, sends heartbeats, carries out the service's orders and reports what it sees."""
