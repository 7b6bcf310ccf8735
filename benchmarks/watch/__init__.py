"""What `pinfold watch` costs a host with many real guests."""
