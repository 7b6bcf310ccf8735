"""What Prometheus and Grafana are given: alert rules and dashboards. `python -m monitoring.generate` writes them."""
