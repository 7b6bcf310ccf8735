"""Private libvirt hosts for trying and testing, with a real or a synthetic topology. Nothing else imports this."""
