"""What answers look like on a screen: values in, Rich renderables out. Asking for the values does not belong here."""
