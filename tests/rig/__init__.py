"""The service to test: its databases, its application in this process, and a fleet of real processes on lab hosts."""
